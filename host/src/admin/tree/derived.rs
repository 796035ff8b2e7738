//! Facts that the times of a tree tell: which attempt emitted an event, and when a delivery waited.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{TreeAttemptJson, TreeEventJson};

/// The attempt that emitted an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::admin) struct Emitter {
    /// The delivery.
    pub(in crate::admin) delivery_id: String,
    /// The number of the attempt.
    pub(in crate::admin) attempt: u32,
}

/// A time in which a delivery waited.
#[derive(Debug, Serialize, ToSchema, PartialEq)]
#[schema(as = Waited)]
pub(in crate::admin) struct PastWaitJson {
    /// When it began to wait, in milliseconds after the root.
    pub(in crate::admin) after_ms: f64,
    /// For how long; absent if it still waits: `waits_for` says for what.
    pub(in crate::admin) duration_ms: Option<f64>,
    /// `begin`: for its first attempt; `retry`: after a failed one; `again`: after one that asked
    /// for it.
    pub(in crate::admin) why: &'static str,
}

/// Says of each event whose parent is there which attempt emitted it, and of that attempt.
pub(super) fn name_emitters(events: &mut [TreeEventJson]) {
    let by_id: HashMap<&str, &TreeEventJson> =
        events.iter().map(|event| (event.id.as_str(), event)).collect();
    let emitter = |event: &TreeEventJson| {
        emitter(by_id.get(event.parent_id.as_deref()?)?, &event.source, event.after_ms)
    };
    let emitters: Vec<_> = events.iter().map(emitter).collect();
    let mut emitted: HashMap<(String, u32), Vec<String>> = HashMap::new();
    for (event, emitter) in events.iter_mut().zip(emitters) {
        if let Some(Emitter { delivery_id, attempt }) = &emitter {
            emitted.entry((delivery_id.clone(), *attempt)).or_default().push(event.id.clone());
        }
        event.emitted_by = emitter;
    }
    for delivery in events.iter_mut().flat_map(|event| &mut event.deliveries) {
        for attempt in &mut delivery.attempts {
            let of = (delivery.id.clone(), attempt.number);
            attempt.emitted = emitted.remove(&of).unwrap_or_default();
        }
    }
}

/// The attempt of `parent` that had begun last when an event of this source was emitted.
fn emitter(parent: &TreeEventJson, source: &str, after_ms: i64) -> Option<Emitter> {
    let plugin = source.strip_prefix("plugins/")?;
    let of_plugin = parent.deliveries.iter().filter(|delivery| delivery.plugin == plugin);
    let attempts = of_plugin
        .flat_map(|delivery| delivery.attempts.iter().map(move |attempt| (delivery, attempt)));
    let begun = attempts.filter(|(_, attempt)| attempt.after_ms <= after_ms);
    let (delivery, attempt) = begun.max_by_key(|(_, attempt)| attempt.after_ms)?;
    Some(Emitter { delivery_id: delivery.id.clone(), attempt: attempt.number })
}

/// The times in which a delivery waited: before, between and after its attempts.
pub(super) fn waits(
    came_ms: Option<i64>,
    attempts: &[TreeAttemptJson],
    is_waiting: bool,
) -> Vec<PastWaitJson> {
    let mut since = came_ms.map(|ms| (ms as f64, "begin"));
    let mut waits = Vec::new();
    for attempt in attempts {
        let began = attempt.after_ms as f64;
        if let Some((after_ms, why)) = since.filter(|(since, _)| began - since >= 1.0) {
            waits.push(PastWaitJson { after_ms, duration_ms: Some(began - after_ms), why });
        }
        let why = if attempt.outcome == "again" { "again" } else { "retry" };
        since = Some((began + attempt.duration_ms, why));
    }
    if is_waiting && let Some((after_ms, why)) = since {
        waits.push(PastWaitJson { after_ms, duration_ms: None, why });
    }
    waits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tree::TreeDeliveryJson;

    fn attempt(number: u32, after_ms: i64, outcome: &'static str) -> TreeAttemptJson {
        TreeAttemptJson {
            number,
            after_ms,
            duration_ms: 2.5,
            outcome,
            settled: None,
            error: None,
            steps: Vec::new(),
            calls: Vec::new(),
            more_calls: false,
            emitted: Vec::new(),
        }
    }

    #[test]
    fn a_delivery_says_when_it_waited_and_why() {
        let attempts =
            [attempt(1, 10, "retry"), attempt(2, 1_000, "again"), attempt(3, 5_000, "ok")];
        let wait = |after_ms, duration_ms, why| PastWaitJson { after_ms, duration_ms, why };
        let first = wait(4.0, Some(6.0), "begin");
        let others = [wait(12.5, Some(987.5), "retry"), wait(1_002.5, Some(3_997.5), "again")];
        let found = waits(Some(4), &attempts, false);
        assert_eq!((&found[0], &found[1..]), (&first, &others[..]));
        assert_eq!(waits(None, &attempts, false), others, "earlier attempts are not known");
        assert_eq!(waits(Some(10), &attempts[..1], false), [], "less than a millisecond");
        assert_eq!(waits(Some(10), &attempts[..1], true), [wait(12.5, None, "retry")]);
        assert_eq!(waits(Some(7), &[], true), [wait(7.0, None, "begin")]);
    }

    #[test]
    fn an_event_is_of_the_attempt_that_had_begun_last() {
        let delivery = |id: &str, plugin: &str, attempts| TreeDeliveryJson {
            id: id.to_owned(),
            plugin: plugin.to_owned(),
            state: "done",
            key: None,
            waits_for: None,
            waits: Vec::new(),
            attempt: 2,
            attempts,
            join: None,
        };
        let event =
            |id: &str, source: &str, parent: Option<&str>, after_ms, deliveries| TreeEventJson {
                id: id.to_owned(),
                source: source.to_owned(),
                kind: "a.b".to_owned(),
                subject: None,
                parent_id: parent.map(str::to_owned),
                emitted_by: None,
                after_ms,
                note: None,
                deliveries,
                member_of: Vec::new(),
            };
        let first = vec![attempt(1, 10, "again"), attempt(2, 500, "ok")];
        let replay = vec![attempt(1, 9_000, "ok")];
        let deliveries = vec![
            delivery("one", "ship", first),
            delivery("two", "audit", vec![attempt(1, 8_999, "ok")]),
            delivery("three", "ship", replay),
        ];
        let mut events = vec![event("a", "shop", None, 0, deliveries)];
        let times = [9, 10, 499, 500, 8_999, 9_000];
        let ship = |ms| event("b", "plugins/ship", Some("a"), ms, Vec::new());
        events.extend(times.map(ship));
        events.push(event("c", "plugins/ship", Some("gone"), 600, Vec::new()));
        events.push(event("d", "joins/ship", Some("a"), 600, Vec::new()));
        name_emitters(&mut events);
        let by = |event: &TreeEventJson| {
            event.emitted_by.as_ref().map(|by| (by.delivery_id.clone(), by.attempt))
        };
        let found: Vec<_> = events.iter().map(by).collect();
        let of = |id: &str, attempt| Some((id.to_owned(), attempt));
        let (one, two) = (of("one", 1), of("one", 2));
        let expected = [None, None, one.clone(), one, two.clone(), two, of("three", 1), None, None];
        assert_eq!(found, expected);
        let attempts = events[0].deliveries.iter().flat_map(|it| &it.attempts);
        let counts: Vec<_> = attempts.map(|attempt| attempt.emitted.len()).collect();
        assert_eq!(counts, [2, 2, 0, 1], "the others are of nobody who is there");
    }
}
