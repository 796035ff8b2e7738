//! Deliveries that are ordered by a key, as a list for each key; and random calls made on the list
//! and the store.
//!
//! The first `per_key` of a list are open, and the others wait behind them. That is compared after
//! each call, and at the end everything is brought to its end.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::sample::Index;

use super::failures::every_group_is_counted;
use super::key_order::keyed_event;
use super::policies::PolicyHarness;
use super::seeing::every_wait_is_named;
use super::*;
use crate::event::{KeyPolicy, KeySource};
use crate::store::{Action, Which};

/// A random call. Keys are small numbers; an `Index` picks one of what there is.
#[derive(Debug, Clone)]
pub(super) enum KeyOp {
    Append { key: u8, delay_ms: u64 },
    Lease { count: u32 },
    Settle { pick: Index, how: KeyHow },
    Change { pick: Index, action: Action },
    Pass { ms: i64 },
    Crash,
    Close,
}

/// A random settlement.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyHow {
    Done,
    Retry(i64),
    Dead,
    GiveBack,
}

/// A delivery that has entered and is not settled.
#[derive(Debug, Clone, Copy)]
struct Member {
    id: DeliveryId,
    open: bool,
}

#[derive(Debug, Default)]
struct Line {
    /// In order of entry.
    members: Vec<Member>,
    /// Dead letters that hold the key, each with those that had entered before it.
    held: BTreeMap<DeliveryId, Vec<DeliveryId>>,
}

struct KeyModel<'a, H> {
    harness: &'a H,
    open: Option<Arc<dyn Store>>,
    per_key: usize,
    hold: bool,
    lines: BTreeMap<u8, Line>,
    keys: BTreeMap<DeliveryId, u8>,
    /// When those that have not entered yet are due.
    delayed: BTreeMap<DeliveryId, i64>,
    leases: Vec<Lease>,
    /// In the order in which they were done.
    done: Vec<DeliveryId>,
}

/// Makes the calls and compares.
pub(super) async fn run(harness: impl PolicyHarness, per_key: u32, hold: bool, ops: Vec<KeyOp>) {
    let policy = KeyPolicy {
        per_key: NonZeroU32::new(per_key).unwrap(),
        hold,
        ..KeyPolicy::of(KeySource::Subject)
    };
    harness.policies().set("charge", policy);
    let store = harness.open().await;
    let mut model = KeyModel {
        harness: &harness,
        open: Some(store),
        per_key: per_key as usize,
        hold,
        lines: BTreeMap::new(),
        keys: BTreeMap::new(),
        delayed: BTreeMap::new(),
        leases: Vec::new(),
        done: Vec::new(),
    };
    for op in ops {
        model.apply(op).await;
        model.compare().await;
        every_wait_is_named(&harness, &model.store()).await;
        every_group_is_counted(&model.store()).await;
    }
    model.bring_to_an_end().await;
}

impl Line {
    fn enter(&mut self, id: DeliveryId, per_key: usize) {
        let open = self.members.len() < per_key && self.held.is_empty();
        self.members.push(Member { id, open });
    }

    fn open_first(&mut self, per_key: usize) {
        if self.held.is_empty() {
            self.members.iter_mut().take(per_key).for_each(|member| member.open = true);
        }
    }

    /// Takes one out that has ended; a dead letter may hold the key.
    fn end(&mut self, id: DeliveryId, holds: bool, per_key: usize) {
        let Some(at) = self.members.iter().position(|member| member.id == id) else { return };
        self.members.remove(at);
        if holds {
            let before = self.members[..at].iter().map(|member| member.id).collect();
            self.held.insert(id, before);
        }
        self.open_first(per_key);
    }
}

impl<H: PolicyHarness> KeyModel<'_, H> {
    fn store(&self) -> Arc<dyn Store> {
        self.open.clone().expect("a store is open")
    }

    fn line(&mut self, id: DeliveryId) -> &mut Line {
        let key = self.keys[&id];
        self.lines.entry(key).or_default()
    }

    async fn apply(&mut self, op: KeyOp) {
        match op {
            KeyOp::Append { key, delay_ms } => {
                let new = NewEvent { delay_ms, ..keyed_event(&key.to_string(), &["charge"]) };
                let id = DeliveryId { event: append(&self.store(), new).await, ordinal: 0 };
                self.keys.insert(id, key);
                if delay_ms == 0 {
                    let per_key = self.per_key;
                    self.line(id).enter(id, per_key);
                } else {
                    let due_ms = self.harness.clock().host_ms() + delay_ms.cast_signed();
                    self.delayed.insert(id, due_ms);
                }
            }
            KeyOp::Lease { count } => self.lease(count).await,
            KeyOp::Settle { pick, how } if !self.leases.is_empty() => {
                let lease = self.leases.remove(pick.index(self.leases.len()));
                self.settle(lease, how).await;
            }
            KeyOp::Change { pick, action } if !self.keys.is_empty() => {
                let id = *self.keys.keys().nth(pick.index(self.keys.len())).unwrap();
                self.change(id, action).await;
            }
            KeyOp::Pass { ms } => pass(self.harness, ms),
            KeyOp::Crash => {
                self.leases.drain(..).for_each(std::mem::forget);
                drop(self.open.take());
                self.reopen().await;
            }
            KeyOp::Close => {
                self.leases.clear();
                self.open.take().unwrap().close().await.unwrap();
                self.reopen().await;
            }
            KeyOp::Settle { .. } | KeyOp::Change { .. } => {}
        }
    }

    /// A delivery that was being cancelled while it was leased has ended.
    async fn reopen(&mut self) {
        let store = self.harness.open().await;
        let ids: Vec<_> = self.keys.keys().copied().collect();
        let per_key = self.per_key;
        for id in ids {
            if state(&store, id).await == State::Cancelled {
                self.line(id).end(id, false, per_key);
            }
        }
        self.open = Some(store);
    }

    async fn lease(&mut self, count: u32) {
        let found = lease(&self.store(), "charge", count).await;
        if count > 0 {
            // All that are due have entered, in the order in which they were.
            let now_ms = self.harness.clock().host_ms();
            let full = found.len() == count as usize;
            let mut due: Vec<_> = self.delayed.iter().map(|(id, due_ms)| (*due_ms, *id)).collect();
            due.retain(|(due_ms, _)| *due_ms <= now_ms);
            due.sort_unstable();
            for (_, id) in due {
                // A call that found enough has not looked at the rest.
                let view = delivery(&self.store(), id).await;
                let entered = view.state == State::Leased || view.due_ms.is_none();
                assert!(entered || full, "{id} is due and has not entered");
                if entered {
                    self.delayed.remove(&id);
                    let per_key = self.per_key;
                    self.line(id).enter(id, per_key);
                }
            }
        }
        for lease in found {
            let id = lease.delivery;
            let member = self.line(id).members.iter().find(|member| member.id == id);
            assert!(member.is_some_and(|member| member.open), "{id} is leased and not open");
            self.leases.push(lease);
        }
    }

    async fn settle(&mut self, lease: Lease, how: KeyHow) {
        let (id, hold, per_key) = (lease.delivery, self.hold, self.per_key);
        let settlement = match how {
            KeyHow::Done => done(),
            KeyHow::Retry(ms) => retry_in(ms),
            KeyHow::Dead => dead(),
            KeyHow::GiveBack => give_back(0),
        };
        match (settle(&self.store(), lease, settlement).await, how) {
            (Settled::Cancelled, _) => self.line(id).end(id, false, per_key),
            (Settled::Kept, KeyHow::Done) => {
                self.line(id).end(id, false, per_key);
                self.done.push(id);
            }
            (Settled::Kept, KeyHow::Dead) => self.line(id).end(id, hold, per_key),
            (Settled::Kept, KeyHow::Retry(_) | KeyHow::GiveBack) => {}
            (settled, _) => panic!("{settled:?}"),
        }
    }

    async fn change(&mut self, id: DeliveryId, action: Action) {
        let before = state(&self.store(), id).await;
        let changed = self.store().change(None, action.clone(), Which::One(id)).await.is_ok();
        let (delayed, per_key) = (self.delayed.contains_key(&id), self.per_key);
        let now_ms = self.harness.clock().host_ms();
        match action {
            Action::Cancel if changed && before != State::Leased => {
                self.delayed.remove(&id);
                self.line(id).end(id, false, per_key);
            }
            Action::Discard if changed => {
                let line = self.line(id);
                if line.held.remove(&id).is_some() {
                    line.open_first(per_key);
                }
            }
            // It enters when it is leased.
            Action::Retry if changed && delayed => {
                self.delayed.entry(id).and_modify(|due_ms| *due_ms = now_ms.min(*due_ms));
            }
            Action::Retry if changed && before.is_settled() => {
                let line = self.line(id);
                match line.held.remove(&id) {
                    Some(before) => {
                        let at = line.members.iter().take_while(|m| before.contains(&m.id)).count();
                        line.members.insert(at, Member { id, open: true });
                        line.open_first(per_key);
                    }
                    None => line.enter(id, per_key),
                }
            }
            _ => {}
        }
    }

    /// Of each key the first are open, and what waits names what it waits behind.
    async fn compare(&self) {
        for (key, line) in &self.lines {
            let open = line.members.iter().filter(|member| member.open).count();
            assert!(open <= self.per_key, "{open} of key {key} are open");
            let least = line.members.len().min(self.per_key);
            assert!(open == least || !line.held.is_empty(), "{key} waits while fewer are open");
            for Member { id, open } in &line.members {
                let view = delivery(&self.store(), *id).await;
                assert_eq!(view.key.as_deref(), Some(&*key.to_string()));
                assert!(!view.state.is_settled(), "{id} is {:?}", view.state);
                let waits = view.state == State::Waiting && view.due_ms.is_none();
                assert_eq!(waits, !open, "{id} of key {key}: {line:?}");
                assert_eq!(view.behind.is_some(), waits);
            }
        }
    }

    async fn bring_to_an_end(&mut self) {
        let held: Vec<_> = self.lines.values().flat_map(|line| line.held.keys().copied()).collect();
        for id in held {
            self.change(id, Action::Discard).await;
        }
        for _ in 0..2 {
            pass(self.harness, 100_000);
            while let Some(lease) = self.leases.pop() {
                self.settle(lease, KeyHow::Done).await;
            }
            loop {
                self.lease(3).await;
                let quarantined = self.store().lease(quarantine(&["charge"]), permits(3)).await;
                self.leases.extend(quarantined.unwrap().leases);
                let Some(lease) = self.leases.pop() else { break };
                self.settle(lease, KeyHow::Done).await;
                self.compare().await;
            }
        }
        assert!(self.delayed.is_empty(), "{:?}", self.delayed);
        for line in self.lines.values() {
            assert!(line.members.is_empty(), "{line:?}");
        }
    }
}
