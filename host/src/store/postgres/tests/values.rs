//! Values and gatherings that several hosts change at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::hosts::{another, event, lease};
use super::*;
use crate::event::{
    Counted, DeliveryId, EventId, GatheringKind, GatheringTerms, Key, NewEvent, NewMember, State,
};
use crate::store::{
    Count, GatheringFilter, KvTransaction, Lease, LeaseQueue, Next, Queue, Read, Settled,
    Settlement,
};

fn done_with(kv: KvTransaction) -> Settlement {
    Settlement { next: Next::Done { emitted: Vec::new(), kv }, record: None }
}

fn number(value: &[u8]) -> i64 {
    i64::from_le_bytes(value.try_into().unwrap())
}

/// Counts twice by each delivery that it can lease: by an addition, and by what it has read.
async fn count_all(store: &Postgres, deliveries: u64) {
    while store.stats().await.unwrap().deliveries(State::Done) < deliveries {
        let Some(lease) = lease(store, 1).await.leases.pop() else { continue };
        let seen = store.kv_get("audit".into(), "read".to_owned()).await.unwrap();
        let sum = seen.as_ref().map_or(0, |seen| number(&seen.value)) + 1;
        let kv = KvTransaction {
            reads: vec![("read".to_owned(), seen.map(|seen| seen.version))],
            writes: vec![("read".to_owned(), Some(sum.to_le_bytes().to_vec()))],
            adds: vec![("added".to_owned(), 1)],
            ..KvTransaction::default()
        };
        let settled = store.settle(lease, done_with(kv)).await.unwrap();
        assert!(matches!(settled, Settled::Kept | Settled::Conflict), "{settled:?}");
    }
}

#[tokio::test]
async fn two_hosts_that_count_at_once_count_each_event_once() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    for _ in 0..40 {
        first.append(event(None)).await.unwrap();
    }
    tokio::join!(count_all(&first, 40), count_all(&second, 40));
    for key in ["read", "added"] {
        let found = second.kv_get("audit".into(), key.to_owned()).await.unwrap().unwrap();
        assert_eq!(number(&found.value), 40, "{key}");
    }
    let bytes = "read".len() + "added".len() + 2 * 8;
    assert_eq!(second.kv_bytes("audit").await.unwrap(), bytes as u64);
}

#[tokio::test]
async fn of_two_hosts_of_which_each_writes_what_the_other_has_not_found_one_has_a_conflict() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    for pair in 0..20 {
        let settle = async |store: &Postgres, read: &str, write: &str| {
            store.append(event(None)).await.unwrap();
            let lease = lease(store, 1).await.leases.pop().unwrap();
            let kv = KvTransaction {
                reads: vec![(format!("{read}{pair}"), None)],
                writes: vec![(format!("{write}{pair}"), Some(b"1".to_vec()))],
                ..KvTransaction::default()
            };
            (lease, done_with(kv))
        };
        let (mine, theirs) = (settle(&first, "a", "b").await, settle(&second, "b", "a").await);
        let (mine, theirs) =
            tokio::join!(first.settle(mine.0, mine.1), second.settle(theirs.0, theirs.1));
        let both = [mine.unwrap(), theirs.unwrap()];
        assert!(both.contains(&Settled::Kept) && both.contains(&Settled::Conflict), "{both:?}");
        let again = lease(&first, 1).await.leases.pop().unwrap();
        first.settle(again, done_with(KvTransaction::default())).await.unwrap();
    }
}

#[tokio::test]
async fn of_settlements_of_one_batch_that_have_read_the_same_one_is_kept() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    for _ in 0..30 {
        store.append(event(None)).await.unwrap();
    }
    let leases = lease(&store, 30).await.leases;
    // All are sent before the first is answered.
    let calls: Vec<_> = leases
        .into_iter()
        .map(|lease| {
            let kv = KvTransaction {
                reads: vec![("n".to_owned(), None)],
                writes: vec![("n".to_owned(), Some(b"1".to_vec()))],
                adds: vec![("kept".to_owned(), 1)],
                ..KvTransaction::default()
            };
            store.settle(lease, done_with(kv))
        })
        .collect();
    let mut kept = 0;
    for call in calls {
        match call.await.unwrap() {
            Settled::Kept => kept += 1,
            settled => assert_eq!(settled, Settled::Conflict),
        }
    }
    assert_eq!(kept, 1);
    let sum = store.kv_get("audit".into(), "kept".to_owned()).await.unwrap().unwrap();
    assert_eq!(number(&sum.value), 1, "a conflict writes nothing");
    assert_eq!(store.stats().await.unwrap().deliveries(State::Ready), 29);
}

pub(super) fn member(kind: GatheringKind, need: u32, key: &str) -> NewEvent {
    let plugin = match kind {
        GatheringKind::Join => "joins/pair",
        GatheringKind::Batch => "batches/few",
    };
    let terms = Arc::new(GatheringTerms {
        plugin: plugin.into(),
        kind,
        within: Duration::from_secs(3_600),
        quiet: None,
        need: Some(need),
        types: 0,
    });
    let (key, counted) = (Key::Text(key.into()), Counted::Event);
    let member = NewMember { terms, key, counted, need: None, seen: 0, closes: false };
    NewEvent { members: vec![member], deliveries: Vec::new(), ..event(None) }
}

async fn lease_all(store: &Postgres, plugin: &str) -> Vec<Lease> {
    let permits = Arc::new(Semaphore::new(99)).try_acquire_many_owned(99).unwrap();
    store.lease(LeaseQueue::Plugin(plugin.into()), permits).await.unwrap().leases
}

/// The members of each gathering, of which there are to be so many each.
async fn members(store: &Postgres, leases: Vec<Lease>, each: usize) -> Vec<EventId> {
    let mut all = Vec::new();
    for lease in leases {
        let view = store.gathering(lease.delivery).await.unwrap().unwrap();
        assert_eq!((view.members.len(), view.complete), (each, true), "{view:?}");
        assert_eq!(view.members[0].id, lease.event.id, "it belongs to its first member");
        all.extend(view.members.iter().map(|member| member.id));
    }
    all
}

#[tokio::test]
async fn a_join_of_which_two_hosts_append_a_member_each_ends_once_with_both() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    let mut came = BTreeSet::new();
    for key in 0..30 {
        let new = || member(GatheringKind::Join, 2, &format!("{key}\0"));
        let (mine, theirs) = tokio::join!(first.append(new()), second.append(new()));
        came.extend([mine.unwrap().id, theirs.unwrap().id]);
    }
    let (mine, theirs) =
        tokio::join!(lease_all(&first, "joins/pair"), lease_all(&second, "joins/pair"));
    let rest = lease_all(&first, "joins/pair").await;
    let leases: Vec<_> = mine.into_iter().chain(theirs).chain(rest).collect();
    let deliveries: BTreeSet<DeliveryId> = leases.iter().map(|lease| lease.delivery).collect();
    assert_eq!((leases.len(), deliveries.len()), (30, 30));
    let all = members(&first, leases, 2).await;
    assert_eq!((all.len(), all.into_iter().collect::<BTreeSet<_>>()), (60, came));
}

#[tokio::test]
async fn each_event_that_two_hosts_append_to_batches_is_in_exactly_one() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    let mut came = BTreeSet::new();
    for _ in 0..10 {
        // Three of each host at once, which are a batch of its writer or several.
        let new = || member(GatheringKind::Batch, 3, "k");
        let calls = [&first, &second, &first, &second, &first, &second].map(|it| it.append(new()));
        for call in calls {
            came.insert(call.await.unwrap().id);
        }
    }
    let leases = lease_all(&second, "batches/few").await;
    assert_eq!(leases.len(), 20);
    let all = members(&first, leases, 3).await;
    assert_eq!((all.len(), all.into_iter().collect::<BTreeSet<_>>()), (60, came));
}

#[tokio::test]
async fn every_open_join_has_the_time_limit_that_one_of_two_hosts_has_set_last() {
    let Some(case) = one_postgres() else { return };
    let first = case.open_postgres().await;
    let (second, _folder) = another(&case).await;
    let open = async |store: &Postgres, from: u32| {
        for part in 0..10 {
            let keys = (0..20).map(|key| from + 20 * part + key);
            let calls: Vec<_> = keys
                .map(|key| store.append(member(GatheringKind::Join, 2, &key.to_string())))
                .collect();
            for call in calls {
                call.await.unwrap();
            }
        }
    };
    // Each host has another configuration, and takes it again and again.
    let limit = async |store: &Postgres, hours: u64| {
        for n in 0..5 {
            let within = Duration::from_secs(3_600 * hours + n);
            store.set_time_limits(vec![("joins/pair".into(), within)]).await.unwrap();
        }
    };
    tokio::join!(open(&first, 0), open(&second, 1_000), limit(&first, 2), limit(&second, 3));
    let (found, _) = second.gatherings(GatheringFilter::default(), 1_000, None).await.unwrap();
    let times: BTreeSet<i64> = found.iter().map(|open| open.until_ms - open.since_ms).collect();
    assert_eq!((found.len(), times.len()), (400, 1), "{times:?}");
    let last_of_one = [2, 3].map(|hours| 1_000 * (3_600 * hours + 4));
    assert!(last_of_one.iter().any(|ms| times.contains(ms)), "{times:?}");
}
