//! Turns the verdict of an attempt into its settlement: a pure function.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{AgainPolicy, PluginSettings, Routes};
use crate::event::{
    AttemptRecord, Attributes, Digest, Event, GuestUse, NewEvent, Outcome, PluginName,
};
use crate::retry::{self, GIVE_BACK_DELAY_MS, RetryPolicy};
use crate::sandbox::{Emitted, Invocation, KvList, Verdict};
use crate::store::{AgainSoFar, KvRange, KvTransaction, ListedKeys, Next, Settlement};

/// How many plugins an event may pass. A chain of events that leads back to itself ends here.
pub const MAX_HOPS: u32 = 32;

/// Keys and values of one bucket, in bytes.
pub const MAX_KV_BYTES: u64 = 64 << 20;

/// The facts of an attempt that its invocation does not contain.
#[derive(Debug)]
pub(super) struct AttemptFacts<'a> {
    pub(super) event: &'a Event,
    pub(super) plugin: &'a PluginName,
    /// As the retry policy counts, from 1.
    pub(super) attempt: u32,
    pub(super) digest: Digest,
    pub(super) started_at_ms: i64,
    /// The wall clock, Unix ms: the time of emitted events.
    pub(super) now_ms: i64,
    /// The size of the plugin's bucket. It is known only if the attempt wrote to it.
    pub(super) kv_bytes: u64,
    /// How often the handler has asked to be called again before.
    pub(super) again: AgainSoFar,
    /// Draws evenly from [0, 1).
    pub(super) random: fn() -> f64,
}

/// The recorded outcome; `None` if the attempt did not run.
fn recorded(verdict: &Verdict) -> Option<Outcome> {
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

/// Decides what becomes of the delivery.
pub(super) fn settlement(
    facts: &AttemptFacts<'_>,
    invocation: Invocation,
    settings: &PluginSettings,
    routes: &Routes,
) -> Settlement {
    let policy = &settings.retry;
    let mut invocation = invocation;
    let kv = transaction(&mut invocation, settings);
    let verdict = bounded(facts, invocation.verdict, &kv);
    let again = if matches!(verdict, Verdict::Ok(_)) { invocation.again } else { None };
    let asks = again.is_some();
    let excess = if asks { excess_of_again(facts.again, settings.again) } else { None };
    let Some(outcome) = recorded(&verdict) else {
        let delay = Duration::from_millis(GIVE_BACK_DELAY_MS);
        return Settlement { next: Next::GiveBack(delay), record: None };
    };
    let failed = |outcome, after_ms| {
        after_failure(outcome, facts.attempt, after_ms, policy, (facts.random)())
    };
    let (outcome, next, error) = match verdict {
        Verdict::Ok(_) if excess.is_some() => (Outcome::Error, Next::Dead(None), excess),
        Verdict::Ok(emitted) => {
            let emitted = emitted.into_iter().map(|event| routed(facts, event, routes)).collect();
            match again {
                None => (outcome, Next::Done { emitted, kv }, None),
                Some(after) => (Outcome::Again, Next::Again { emitted, kv, after }, None),
            }
        }
        Verdict::Retry { reason, after_ms } => (outcome, failed(outcome, after_ms), Some(reason)),
        Verdict::Reject(reason)
        | Verdict::Trap(reason)
        | Verdict::Timeout(reason)
        | Verdict::Memory(reason)
        | Verdict::Error(reason) => (outcome, failed(outcome, None), Some(reason)),
        Verdict::NoCapacity => unreachable!("it has no outcome"),
    };
    let record = AttemptRecord {
        started_at_ms: facts.started_at_ms,
        duration_us: invocation.duration_us,
        used: Some(GuestUse {
            cpu_us: invocation.cpu_us,
            memory_kib: invocation.memory_peak_bytes.div_ceil(1024) as u64,
        }),
        outcome,
        error,
        logs: invocation.logs,
        calls: invocation.calls,
        steps: invocation.steps,
        plugin_digest: Some(facts.digest),
    };
    Settlement { next, record: Some(record) }
}

/// Takes the key-value operations of an attempt.
fn transaction(invocation: &mut Invocation, settings: &PluginSettings) -> KvTransaction {
    let listed = |list: KvList| {
        let KvList { prefix, after, limit, keys } = list;
        ListedKeys { range: KvRange { prefix, after, limit }, keys }
    };
    KvTransaction {
        bucket: settings.kv.bucket.clone(),
        ttl: settings.kv.ttl_ms.map(Duration::from_millis),
        reads: std::mem::take(&mut invocation.kv_reads),
        lists: std::mem::take(&mut invocation.kv_lists).into_iter().map(listed).collect(),
        writes: std::mem::take(&mut invocation.kv_writes),
        adds: std::mem::take(&mut invocation.kv_adds),
    }
}

/// Why a handler that asks to be called again has asked often or long enough; for people.
fn excess_of_again(so_far: AgainSoFar, policy: AgainPolicy) -> Option<String> {
    if so_far.count >= policy.max {
        return Some(format!(
            "it asked to be called again, and has done so {} times already: `max_again` under its [plugins] section \
             sets the limit",
            so_far.count
        ));
    }
    (so_far.since > Duration::from_millis(policy.for_ms)).then(|| {
        format!(
            "it asked to be called again, and did so first more than {} ago: `again_for` under its [plugins] section \
             sets the limit",
            policy.shown_for()
        )
    })
}

/// Turns a success that exceeds the host's bounds into an error.
fn bounded(facts: &AttemptFacts<'_>, verdict: Verdict, kv: &KvTransaction) -> Verdict {
    let Verdict::Ok(emitted) = &verdict else { return verdict };
    if !emitted.is_empty() && facts.event.hops >= MAX_HOPS {
        return Verdict::Error(format!(
            "it emitted an event after {MAX_HOPS} hops: do the routes lead back to where they started?"
        ));
    }
    // Deleting is always allowed, because it makes room.
    let written = kv
        .writes
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| key.len() + value.len()));
    let added = kv.adds.iter().map(|(key, _)| key.len() + size_of::<i64>());
    let written: usize = written.chain(added).sum();
    if written > 0 && facts.kv_bytes.saturating_add(written as u64) > MAX_KV_BYTES {
        return Verdict::Error(format!(
            "its key-value store is full: a bucket may hold {MAX_KV_BYTES} bytes"
        ));
    }
    verdict
}

/// Applies the plugin's retry policy to a failed attempt.
pub(super) fn after_failure(
    outcome: Outcome,
    attempt: u32,
    after_ms: Option<u64>,
    policy: &RetryPolicy,
    random: f64,
) -> Next {
    match retry::delay_after_failure(outcome, attempt, after_ms, policy, random) {
        Some(delay) => Next::RetryIn(delay),
        None => Next::Dead(None),
    }
}

/// An emitted event, routed like any other.
fn routed(facts: &AttemptFacts<'_>, emitted: Emitted, routes: &Routes) -> NewEvent {
    let source: Arc<str> = format!("plugins/{}", facts.plugin).into();
    let mut event = NewEvent {
        parent: Some(facts.event.id),
        hops: facts.event.hops + 1,
        delay_ms: emitted.delay_ms,
        ..NewEvent::from(Attributes {
            source,
            kind: emitted.kind,
            subject: emitted.subject.or_else(|| facts.event.attributes.subject.clone()),
            content_type: emitted.content_type,
            time_ms: facts.now_ms,
            body: Bytes::from(emitted.data),
        })
    };
    routes.route(&mut event);
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Target};

    const NOW_MS: i64 = 1_770_000_000_000;

    fn event(hops: u32) -> Event {
        Event {
            id: EventId::first_at(NOW_MS),
            attributes: Attributes {
                source: "heygen".into(),
                kind: "avatar_video.success".to_owned(),
                subject: Some("order_1".to_owned()),
                content_type: None,
                time_ms: NOW_MS,
                body: Bytes::new(),
            },
            parent: None,
            root: None,
            hops,
            trace: None,
        }
    }

    fn emitted(delay_ms: u64) -> Emitted {
        let (kind, data) = ("order.video_ready".to_owned(), Vec::new());
        Emitted { kind, subject: None, content_type: None, data, delay_ms }
    }

    fn settle(
        verdict: Verdict,
        hops: u32,
        kv_bytes: u64,
        kv_writes: Vec<(String, Option<Vec<u8>>)>,
    ) -> Settlement {
        let plugin: PluginName = "video-orders".into();
        let facts = AttemptFacts {
            event: &event(hops),
            plugin: &plugin,
            attempt: 1,
            digest: Digest([7; 32]),
            started_at_ms: NOW_MS - 5,
            now_ms: NOW_MS,
            kv_bytes,
            again: AgainSoFar::default(),
            random: || 0.5,
        };
        let routes =
            Routes::new([("plugins/video-orders:order.*", vec![Target::to("audit")])], |_| false)
                .unwrap();
        let invocation = Invocation {
            verdict,
            logs: Vec::new(),
            calls: Vec::new(),
            kv_reads: Vec::new(),
            kv_lists: Vec::new(),
            kv_writes,
            kv_adds: Vec::new(),
            steps: Vec::new(),
            again: None,
            call_spans: Vec::new(),
            is_cold: true,
            memory_peak_bytes: 0,
            cpu_us: 0,
            duration_us: 5_000,
        };
        settlement(&facts, invocation, &PluginSettings::default(), &routes)
    }

    fn outcome_of(settlement: &Settlement) -> Option<Outcome> {
        settlement.record.as_ref().map(|record| record.outcome)
    }

    #[test]
    fn an_emitted_event_is_routed_and_keeps_its_subject_and_its_whole_delay() {
        const MONTH_MS: u64 = 30 * 24 * 3_600_000;
        let settlement = settle(Verdict::Ok(vec![emitted(MONTH_MS)]), 2, 0, Vec::new());
        let Next::Done { emitted, .. } = &settlement.next else { panic!("{settlement:?}") };
        let child = &emitted[0];
        assert_eq!(child.deliveries, [Target::to("audit").into()]);
        assert_eq!(child.attributes.subject.as_deref(), Some("order_1"));
        assert_eq!(&*child.attributes.source, "plugins/video-orders");
        assert_eq!((child.parent, child.hops, child.delay_ms), (Some(event(2).id), 3, MONTH_MS));
    }

    #[test]
    fn a_loop_of_events_is_cut_by_the_hop_limit() {
        let last = settle(Verdict::Ok(vec![emitted(0)]), MAX_HOPS - 1, 0, Vec::new());
        assert_eq!(outcome_of(&last), Some(Outcome::Ok));
        let cut = settle(Verdict::Ok(vec![emitted(0)]), MAX_HOPS, 0, Vec::new());
        assert_eq!(outcome_of(&cut), Some(Outcome::Error));
        let quiet = settle(Verdict::Ok(Vec::new()), MAX_HOPS, 0, Vec::new());
        assert_eq!(outcome_of(&quiet), Some(Outcome::Ok));
    }

    #[test]
    fn a_full_key_value_store_takes_no_values_but_gives_them_up() {
        let write = vec![("key".to_owned(), Some(vec![0]))];
        let full = settle(Verdict::Ok(Vec::new()), 0, MAX_KV_BYTES, write);
        assert_eq!(outcome_of(&full), Some(Outcome::Error));
        let delete = vec![("key".to_owned(), None)];
        let freed = settle(Verdict::Ok(Vec::new()), 0, MAX_KV_BYTES, delete);
        assert_eq!(outcome_of(&freed), Some(Outcome::Ok));
    }

    #[test]
    fn no_capacity_spends_no_attempt_and_waits_a_moment() {
        let settlement = settle(Verdict::NoCapacity, 0, 0, Vec::new());
        assert!(settlement.record.is_none());
        assert!(
            matches!(settlement.next, Next::GiveBack(delay) if !delay.is_zero()),
            "{settlement:?}"
        );
    }

    #[test]
    fn a_handler_may_ask_to_be_called_again_so_often_and_for_so_long() {
        let policy = AgainPolicy { max: 2, for_ms: 1_000 };
        let excess = |count, ms| {
            excess_of_again(AgainSoFar { count, since: Duration::from_millis(ms) }, policy)
        };
        assert_eq!((excess(0, 0), excess(1, 1_000)), (None, None));
        assert!(excess(2, 0).is_some_and(|why| why.contains("`max_again`")));
        assert!(excess(1, 1_001).is_some_and(|why| why.contains("more than 1s ago: `again_for`")));
    }
}
