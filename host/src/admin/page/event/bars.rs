//! The bars of a row of the waterfall: attempts, the waits between them, and their requests.

use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::state::ended;
use crate::admin::page::parts::waterfall::{Bar, BarKind};
use crate::admin::tree::{TreeAttemptJson, TreeDeliveryJson, TreeEventJson};
use crate::admin::view::attempt::CallJson;
use crate::text::duration;

/// Requests that are drawn in a row.
const MAX_ROW_CALLS: usize = 24;

/// Requests that are drawn on a page.
pub(super) const MAX_CALLS: usize = 120;

/// Characters of a URL that are shown.
const MAX_URL: usize = 100;

/// The figures of a row: when an event came, or how long a delivery waited and ran.
pub(super) fn took(bars: &[Bar]) -> String {
    let sum = |of: fn(&BarKind) -> bool| -> Option<String> {
        let bars: Vec<&Bar> = bars.iter().filter(|bar| of(&bar.kind)).collect();
        let ms = bars.iter().map(|bar| bar.to_ms - bar.from_ms).sum();
        (!bars.is_empty()).then(|| duration(ms))
    };
    if let Some(came) = bars.iter().find(|bar| bar.kind == BarKind::Came) {
        let is_first = came.from_ms <= 0.0;
        return if is_first { String::new() } else { format!("{} after", duration(came.from_ms)) };
    }
    let waited = sum(|kind| *kind == BarKind::Wait).map(|it| format!("waited {it}"));
    let ran = sum(|kind| matches!(kind, BarKind::Attempt(_))).map(|it| format!("ran {it}"));
    waited.into_iter().chain(ran).collect::<Vec<_>>().join(", ")
}

/// When the attempt ended that emitted an event. An event has whole milliseconds, and is stored
/// with the settlement of its attempt: it never came before the end of it.
pub(super) fn ended_ms(delivery: &TreeDeliveryJson, event: &TreeEventJson) -> f64 {
    let mut attempts = delivery.attempts.iter().rev();
    let its = attempts.find(|attempt| attempt.after_ms <= event.after_ms);
    its.map_or(0.0, |attempt| attempt.after_ms as f64 + attempt.duration_ms)
}

/// The attempts of a delivery of an event that came `at`, and the waits between them.
pub(super) fn bars(
    event: &TreeEventJson,
    at: f64,
    delivery: &TreeDeliveryJson,
    now: f64,
) -> Vec<Bar> {
    let mut bars = Vec::new();
    let mut end = at;
    let page = |hash: String| {
        let path = Link::to("/events").segment(&event.id).with("tab", "attempts").into_text();
        Some(format!("{path}#{hash}"))
    };
    let wait = |from: f64, to: f64, title: String| Bar {
        kind: BarKind::Wait,
        from_ms: from,
        to_ms: to,
        title,
        path: None,
    };
    for attempt in &delivery.attempts {
        let TreeAttemptJson { number, after_ms, duration_ms, outcome, error, .. } = attempt;
        let from = (*after_ms as f64).max(at);
        if from - end >= 1.0 {
            bars.push(wait(end, from, format!("waited {}", duration(from - end))));
        }
        let why = error.as_deref().map(|it| format!(": {it}")).unwrap_or_default();
        bars.push(Bar {
            kind: BarKind::Attempt(outcome),
            from_ms: from,
            to_ms: from + duration_ms,
            title: format!("#{number} {} in {}{why}", ended(outcome), duration(*duration_ms)),
            path: page(format!("{}-{number}", delivery.id)),
        });
        end = from + duration_ms;
        bars.extend(attempt.calls.iter().filter_map(|call| request(call, (from, end))));
    }
    if let Some(wait_for) = &delivery.waits_for
        && delivery.state != "leased"
    {
        bars.push(wait(end, now.max(end), format!("waits for {}", wait_for.text.replace('`', ""))));
    }
    bars
}

/// A request of an attempt, which lies within it. Where it began is not known of old records.
fn request(call: &CallJson, (from, end): (f64, f64)) -> Option<Bar> {
    let began = (from + call.offset_ms? as f64).min(end);
    Some(Bar {
        kind: BarKind::Call,
        from_ms: began,
        to_ms: (began + call.duration_ms as f64).min(end),
        title: request_words(call),
        path: None,
    })
}

/// A request by its URL, what came of it, and how long that took, in words.
fn request_words(call: &CallJson) -> String {
    words(call, &call.url.chars().take(MAX_URL).collect::<String>())
}

/// The same by the host that was asked.
pub(super) fn short_words(call: &CallJson) -> String {
    let url = call.url.split_once("://").map_or(&*call.url, |(_, rest)| rest);
    let host = url.split(['/', '?']).next().unwrap_or_default();
    words(call, &host.chars().take(MAX_URL).collect::<String>())
}

fn words(call: &CallJson, whom: &str) -> String {
    // Requests are timed in whole milliseconds.
    let took = match call.duration_ms {
        0 => "under 1 ms".to_owned(),
        ms => duration(ms as f64),
    };
    let came = match (call.status, call.refused) {
        (Some(status), _) => status.to_string(),
        (None, true) => "refused".to_owned(),
        (None, false) => "no answer".to_owned(),
    };
    format!("{} {whom} {came} in {took}", call.method)
}

/// Leaves out the requests of a row of which there is no room on the page, and says how many: each
/// takes one of `room`.
pub(super) fn without_excess(bars: &mut Vec<Bar>, room: &mut usize) -> usize {
    let before = bars.len();
    let mut of_row = MAX_ROW_CALLS;
    bars.retain(|bar| {
        let is_call = bar.kind == BarKind::Call;
        let is_kept = !is_call || (of_row > 0 && *room > 0);
        if is_call && is_kept {
            (of_row, *room) = (of_row - 1, *room - 1);
        }
        is_kept
    });
    before - bars.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::page::event::timeline::requests;

    fn call(offset_ms: Option<u64>, status: Option<u16>) -> CallJson {
        CallJson {
            method: "GET".to_owned(),
            url: "https://api.example/v1".to_owned(),
            status,
            error: None,
            refused: status.is_none(),
            sent_bytes: 0,
            received_bytes: 0,
            duration_ms: 30,
            offset_ms,
        }
    }

    #[test]
    fn a_request_lies_within_its_attempt_and_says_what_came_of_it() {
        let bar = request(&call(Some(5), Some(503)), (100.0, 200.0)).unwrap();
        assert_eq!((bar.from_ms, bar.to_ms), (105.0, 135.0));
        assert_eq!(bar.title, "GET https://api.example/v1 503 in 30 ms");
        let late = request(&call(Some(300), None), (100.0, 110.0)).unwrap();
        assert_eq!((late.from_ms, late.to_ms), (110.0, 110.0));
        assert!(late.title.contains(" refused in "), "{}", late.title);
        assert!(request(&call(None, Some(200)), (0.0, 1.0)).is_none(), "nobody knows when");
    }

    #[test]
    fn the_list_of_attempts_names_the_first_request_and_counts_the_others() {
        assert_eq!(requests(&[], false).to_string(), "");
        let (one, two) = (call(Some(5), Some(503)), call(None, None));
        let first = requests(std::slice::from_ref(&one), false).to_string();
        assert_eq!(first, "GET api.example 503 in 30 ms");
        let both = [two, one];
        let all = requests(&both, false).to_string();
        assert_eq!(all, "GET api.example refused in 30 ms, and 1 more");
        let some = requests(&both, true).to_string();
        assert!(some.ends_with(", and more than 1 more"), "{some}");
    }

    #[test]
    fn more_requests_than_a_page_has_room_for_are_counted() {
        let one = request(&call(Some(0), Some(200)), (0.0, 1.0)).unwrap();
        let mut room = MAX_ROW_CALLS + 3;
        for (count, left_out) in [(MAX_ROW_CALLS + 2, 2), (2, 0), (5, 4), (1, 1)] {
            let mut bars = vec![one.clone(); count];
            bars.push(Bar { kind: BarKind::Wait, ..one.clone() });
            assert_eq!(without_excess(&mut bars, &mut room), left_out, "{count}");
            assert_eq!(bars.len(), count + 1 - left_out);
        }
    }
}
