//! Verdict → settlement, as a pure function.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::Routes;
use crate::event::{AttemptRecord, Attributes, Digest, Event, NewEvent, Outcome, PluginName};
use crate::retry::{self, GIVE_BACK_DELAY_MS, RetryPolicy};
use crate::sandbox::{Emitted, Invocation, Verdict};
use crate::store::{KvTransaction, Next, Settlement};

/// How many plugins an event may have passed: a chain that leads back to itself ends here.
pub const MAX_HOPS: u32 = 32;

/// Bytes of keys and values one plugin may keep.
pub const MAX_KV_BYTES: u64 = 64 << 20;

/// What is known of an attempt beside its invocation.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) event: &'a Event,
    pub(super) plugin: &'a PluginName,
    /// As the retry policy counts, from 1.
    pub(super) attempt: u32,
    pub(super) digest: Digest,
    pub(super) started_at_ms: i64,
    pub(super) now_ms: i64,
    /// What the plugin keeps already.
    pub(super) kv_bytes: u64,
    /// Evenly from [0, 1).
    pub(super) random: f64,
}

/// How an attempt is recorded; `None` if it is not.
pub(super) fn outcome(verdict: &Verdict) -> Option<Outcome> {
    Some(match verdict {
        Verdict::Ok(_) => Outcome::Ok,
        Verdict::Retry { .. } => Outcome::Retry,
        Verdict::Reject(_) => Outcome::Reject,
        Verdict::Trap(_) => Outcome::Trap,
        Verdict::Timeout(_) => Outcome::Timeout,
        Verdict::Memory(_) => Outcome::Memory,
        Verdict::Error(_) => Outcome::Error,
        Verdict::NoCapacity => return None,
    })
}

/// What becomes of the delivery.
pub(super) fn settlement(
    facts: &Facts<'_>,
    invocation: Invocation,
    policy: &RetryPolicy,
    routes: &Routes,
) -> Settlement {
    let kv = KvTransaction { reads: invocation.kv_reads, writes: invocation.kv_writes };
    let verdict = allowed(facts, invocation.verdict, &kv);
    let Some(outcome) = outcome(&verdict) else {
        let due_ms = facts.now_ms.saturating_add_unsigned(GIVE_BACK_DELAY_MS);
        return Settlement { next: Next::GiveBack(due_ms), record: None };
    };
    let (next, error) = match verdict {
        Verdict::Ok(emitted) => {
            let emitted = emitted.into_iter().map(|event| routed(facts, event, routes)).collect();
            (Next::Done { emitted, kv }, None)
        }
        Verdict::Retry { reason, after_ms } => (after_failure(facts, outcome, after_ms, policy), Some(reason)),
        Verdict::Reject(reason)
        | Verdict::Trap(reason)
        | Verdict::Timeout(reason)
        | Verdict::Memory(reason)
        | Verdict::Error(reason) => (after_failure(facts, outcome, None, policy), Some(reason)),
        Verdict::NoCapacity => unreachable!("it has no outcome"),
    };
    let record = AttemptRecord {
        started_at_ms: facts.started_at_ms,
        duration_us: invocation.duration_us,
        outcome,
        error,
        logs: invocation.logs,
        plugin_digest: Some(facts.digest),
    };
    Settlement { next, record: Some(record) }
}

/// Success is only success within the host's own bounds.
fn allowed(facts: &Facts<'_>, verdict: Verdict, kv: &KvTransaction) -> Verdict {
    let Verdict::Ok(emitted) = &verdict else { return verdict };
    if !emitted.is_empty() && facts.event.hops >= MAX_HOPS {
        return Verdict::Error(format!(
            "it emitted an event after {MAX_HOPS} hops: do the routes lead back to where they started?"
        ));
    }
    let written: usize = kv.writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
    if written > 0 && facts.kv_bytes.saturating_add(written as u64) > MAX_KV_BYTES {
        return Verdict::Error(format!("its key-value store is full: a plugin may keep {MAX_KV_BYTES} bytes"));
    }
    verdict
}

fn after_failure(facts: &Facts<'_>, outcome: Outcome, after_ms: Option<u64>, policy: &RetryPolicy) -> Next {
    match retry::after_failure(outcome, facts.attempt, after_ms, policy, facts.random) {
        retry::Next::RetryInMs(delay_ms) => Next::RetryAt(facts.now_ms.saturating_add_unsigned(delay_ms)),
        retry::Next::Dead => Next::Dead,
    }
}

/// An emitted event, routed like any other.
fn routed(facts: &Facts<'_>, emitted: Emitted, routes: &Routes) -> NewEvent {
    let source: Arc<str> = format!("plugins/{}", facts.plugin).into();
    let targets = routes.targets(&source, &emitted.kind);
    NewEvent {
        attributes: Attributes {
            source,
            kind: emitted.kind,
            subject: emitted.subject.or_else(|| facts.event.attributes.subject.clone()),
            content_type: emitted.content_type,
            time_ms: facts.now_ms,
            body: Bytes::from(emitted.data),
        },
        provider_id: None,
        dedupe: Vec::new(),
        headers: Vec::new(),
        note: None,
        parent: Some(facts.event.id),
        hops: facts.event.hops + 1,
        targets,
        delay_ms: emitted.delay_ms,
    }
}
