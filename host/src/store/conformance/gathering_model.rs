//! Gatherings as lists of members, and random calls made on the lists and the store.

use std::collections::BTreeMap;

use super::failures::every_group_is_counted;
use super::gatherings::{BATCH, HOUR_MS, JOIN, batch, end, join, member, video};
use super::policies::PolicyHarness;
use super::seeing::every_wait_is_named;
use super::*;
use crate::event::{Counted, GatheringKind, GatheringTerms};
use crate::store::GatheringView;

/// A random call. Keys and names of members are small numbers.
#[derive(Debug, Clone)]
pub(super) enum GatherOp {
    Join {
        key: u8,
        name: Option<u8>,
        need: Option<u32>,
    },
    Batch {
        key: u8,
    },
    /// Ends whatever is due, and kills the host while it does if so asked.
    End {
        crash: bool,
    },
    Pass {
        ms: i64,
    },
    /// Gives joins or batches another time limit.
    Limit {
        of_joins: bool,
        ms: i64,
    },
    Crash,
}

#[derive(Debug)]
struct Gathered {
    kind: GatheringKind,
    key: u8,
    opened_ms: i64,
    until_ms: i64,
    /// When it ends if no further member comes.
    quiet_until_ms: Option<i64>,
    due_ms: i64,
    members: Vec<EventId>,
    names: Vec<u8>,
    count: u32,
    need: Option<u32>,
    /// Whether it takes no more members: it is complete or was leased.
    frozen: bool,
    complete: bool,
    ended: bool,
}

impl Gathered {
    fn plugin(&self) -> &'static str {
        match self.kind {
            GatheringKind::Join => JOIN,
            GatheringKind::Batch => BATCH,
        }
    }

    /// Whether its key takes no member at this time.
    fn is_closed(&self, now_ms: i64) -> bool {
        let again_ms = if self.complete { 0 } else { self.until_ms - self.opened_ms };
        let closed = match self.frozen {
            true => self.until_ms + again_ms > now_ms,
            false => self.until_ms <= now_ms,
        };
        closed && self.kind == GatheringKind::Join
    }

    fn is_due(&self, now_ms: i64) -> bool {
        !self.ended && (self.complete || self.due_ms <= now_ms)
    }

    /// Gives it another time limit, if it still takes members; returns whether it had another one.
    fn limit(&mut self, within_ms: i64) -> bool {
        let until_ms = self.opened_ms + within_ms;
        if self.frozen || self.ended || until_ms == self.until_ms {
            return false;
        }
        self.until_ms = until_ms;
        self.due_ms = self.quiet_until_ms.map_or(until_ms, |quiet_ms| quiet_ms.min(until_ms));
        true
    }
}

/// The model: the gatherings in the order in which they were opened, and the limits that were set.
#[derive(Debug, Default)]
struct GatherModel {
    all: Vec<Gathered>,
    limits: BTreeMap<&'static str, i64>,
}

impl GatherModel {
    /// Sets a time limit; returns how many open ones end at another time.
    fn limit(&mut self, plugin: &'static str, within_ms: i64) -> u64 {
        self.limits.insert(plugin, within_ms);
        let of_plugin = self.all.iter_mut().filter(|gathered| gathered.plugin() == plugin);
        of_plugin.map(|gathered| u64::from(gathered.limit(within_ms))).sum()
    }
}

/// Members of which a batch is complete.
const SIZE: u32 = 3;

/// Makes the calls, and brings all gatherings to their ends.
pub(super) async fn run(harness: impl PolicyHarness, ops: Vec<GatherOp>) {
    let (mut store, mut model) = (harness.open().await, GatherModel::default());
    for op in ops {
        match op {
            GatherOp::Join { key, name, need } => {
                let counted = name.map_or(Counted::Event, |name| video(&name.to_string()));
                let mut new = member(&join(), &key.to_string(), counted);
                new.members[0].need = need;
                add(&harness, &store, &mut model, new, (key, name, need)).await;
            }
            GatherOp::Batch { key } => {
                let terms = GatheringTerms { within: time(20_000), ..batch(SIZE) };
                let new = member(&terms, &key.to_string(), Counted::Event);
                add(&harness, &store, &mut model, new, (key, None, Some(SIZE))).await;
            }
            GatherOp::End { crash: false } => {
                for plugin in [JOIN, BATCH] {
                    let view = end(&store, plugin).await;
                    ended(&harness, &mut model.all, plugin, view);
                }
            }
            GatherOp::End { crash: true } => {
                for lease in lease(&store, JOIN, 9).await {
                    let view = store.gathering(lease.delivery).await.unwrap().unwrap();
                    let now_ms = harness.clock().host_ms();
                    found(&mut model.all, JOIN, &view, now_ms).frozen = true;
                }
                drop(store);
                store = harness.open().await;
            }
            GatherOp::Pass { ms } => pass(&harness, ms),
            GatherOp::Limit { of_joins, ms } => {
                let plugin = if of_joins { JOIN } else { BATCH };
                let moved = store.set_time_limits(vec![(plugin.into(), time(ms))]).await.unwrap();
                assert_eq!(moved, model.limit(plugin, ms));
            }
            GatherOp::Crash => {
                drop(store);
                store = harness.open().await;
            }
        }
        every_wait_is_named(&harness, &store).await;
        every_group_is_counted(&store).await;
    }
    pass(&harness, 2 * HOUR_MS);
    for plugin in [JOIN, BATCH] {
        while let Some(view) = end(&store, plugin).await {
            ended(&harness, &mut model.all, plugin, Some(view));
        }
        ended(&harness, &mut model.all, plugin, None);
    }
    assert!(model.all.iter().all(|gathered| gathered.ended), "{model:?}");
}

/// Appends a member, and finds its place in the model.
async fn add(
    harness: &impl PolicyHarness,
    store: &Arc<dyn Store>,
    GatherModel { all, limits }: &mut GatherModel,
    new: NewEvent,
    (key, name, need): (u8, Option<u8>, Option<u32>),
) {
    let terms = new.members[0].terms.clone();
    let id = append(store, new).await;
    let now_ms = harness.clock().host_ms();
    let newest =
        all.iter_mut().rfind(|gathered| (gathered.kind, gathered.key) == (terms.kind, key));
    let late = newest.as_ref().is_some_and(|newest| newest.is_closed(now_ms));
    assert_eq!(store.event(id).await.unwrap().note.is_some(), late, "{id}");
    if late {
        return;
    }
    let gathered = match newest.filter(|newest| !newest.frozen) {
        Some(newest) => newest,
        None => {
            let set_ms = limits.get(&*terms.plugin).copied();
            let within_ms =
                set_ms.unwrap_or_else(|| i64::try_from(terms.within.as_millis()).unwrap());
            let until_ms = now_ms + within_ms;
            all.push(Gathered {
                kind: terms.kind,
                key,
                opened_ms: now_ms,
                until_ms,
                quiet_until_ms: None,
                due_ms: until_ms,
                members: Vec::new(),
                names: Vec::new(),
                count: 0,
                need: None,
                frozen: false,
                complete: false,
                ended: false,
            });
            all.last_mut().unwrap()
        }
    };
    let is_new = name.is_none_or(|name| !gathered.names.contains(&name));
    gathered.names.extend(name);
    gathered.members.push(id);
    gathered.count += u32::from(is_new);
    gathered.need = gathered.need.or(need);
    gathered.complete = gathered.need.is_some_and(|need| gathered.count >= need);
    gathered.frozen = gathered.complete;
    if terms.quiet.is_some() {
        let quiet_until_ms = now_ms + 5_000;
        if gathered.members.len() == 1 || gathered.due_ms > now_ms {
            gathered.due_ms = quiet_until_ms.min(gathered.until_ms);
        }
        if gathered.quiet_until_ms.is_none_or(|quiet_ms| quiet_ms > now_ms) {
            gathered.quiet_until_ms = Some(quiet_until_ms);
        }
    }
}

/// That of the model which a store's gathering is; it is due.
fn found<'a>(
    all: &'a mut [Gathered],
    plugin: &str,
    view: &GatheringView,
    now_ms: i64,
) -> &'a mut Gathered {
    let ids: Vec<_> = view.members.iter().map(|member| member.id).collect();
    let same = |gathered: &&mut Gathered| gathered.plugin() == plugin && gathered.members == ids;
    let gathered = all.iter_mut().find(same).expect("it is in the model");
    assert!(gathered.is_due(now_ms), "{gathered:?}");
    assert_eq!((view.count, view.complete), (gathered.count, gathered.complete));
    assert_eq!(view.key, gathered.key.to_string());
    gathered
}

/// Takes the end of a gathering into account, or that none was due.
fn ended(
    harness: &impl PolicyHarness,
    all: &mut [Gathered],
    plugin: &str,
    view: Option<GatheringView>,
) {
    let now_ms = harness.clock().host_ms();
    let Some(view) = view else {
        let due =
            all.iter().find(|gathered| gathered.plugin() == plugin && gathered.is_due(now_ms));
        assert!(due.is_none(), "a gathering that can end does: {due:?}");
        return;
    };
    let gathered = found(all, plugin, &view, now_ms);
    (gathered.frozen, gathered.ended) = (true, true);
}
