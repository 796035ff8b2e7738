//! Samples of sources and plugins over time.

use super::*;
use crate::series::{COUNTS, Increment, OwnerKind, SeriesOwner, Spread};
use crate::store::{MAX_SAMPLES, StoredSample};

fn owner(name: Option<&str>) -> SeriesOwner {
    SeriesOwner { kind: OwnerKind::Plugin, name: name.map(Into::into) }
}

fn increment(owner: SeriesOwner, n: u32) -> Increment {
    let mut counts = [0; COUNTS];
    counts[0] = n;
    Increment { owner, counts, durations: Spread::from_pairs(vec![(3, n), (40, 1)]).unwrap() }
}

pub(in crate::store) async fn what_was_kept_of_an_owner_is_read_in_order_also_after_a_crash(
    harness: impl Harness,
) {
    let store = harness.open().await;
    let (audit, all) = (owner(Some("audit")), owner(None));
    store
        .keep_samples(100, vec![increment(audit.clone(), 1), increment(all.clone(), 4)])
        .await
        .unwrap();
    store.keep_samples(400, vec![increment(all.clone(), 5)]).await.unwrap();
    // A clock that was set back changes nothing of the order.
    store.keep_samples(300, vec![increment(audit.clone(), 2)]).await.unwrap();
    drop(store);
    let store = harness.open().await;
    let seen = |found: Vec<StoredSample>| -> Vec<(i64, u32)> {
        found.iter().map(|sample| (sample.at_ms, sample.counts[0])).collect()
    };
    assert_eq!(seen(store.samples(audit.clone(), 10).await.unwrap()), [(100, 1), (300, 2)]);
    assert_eq!(seen(store.samples(all.clone(), 10).await.unwrap()), [(100, 4), (400, 5)]);
    assert_eq!(seen(store.samples(all, 1).await.unwrap()), [(400, 5)], "the newest");
    let first = &store.samples(audit, 10).await.unwrap()[0];
    assert_eq!(first.durations, Spread::from_pairs(vec![(3, 1), (40, 1)]).unwrap());
    let source = SeriesOwner { kind: OwnerKind::Source, name: Some("audit".into()) };
    assert_eq!(store.samples(source, 10).await.unwrap(), []);
}

pub(in crate::store) async fn of_samples_the_last_fourteen_days_are_kept(harness: impl Harness) {
    let store = harness.open().await;
    let all = owner(None);
    let kept: Vec<_> = (1..=i64::from(MAX_SAMPLES) + 2)
        .map(|n| store.keep_samples(n, vec![increment(all.clone(), 1)]))
        .collect();
    for answer in kept {
        answer.await.unwrap();
    }
    let found = store.samples(all, MAX_SAMPLES + 2).await.unwrap();
    assert_eq!(found.len(), MAX_SAMPLES as usize);
    assert_eq!(found[0].at_ms, 3);
}
