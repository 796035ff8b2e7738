//! The deliveries of an event with all that is known of their attempts.

use crate::admin::page::parts::html::{Html, coded, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::measure::{bytes, duration};
use crate::admin::page::parts::state::{badge, ended, ending};
use crate::admin::page::parts::when::when_text;
use crate::admin::view::DeliveryJson;
use crate::admin::view::attempt::{AttemptJson, CallJson, RecordedStepJson, UsedStepJson};
use crate::text::plain;

/// Bytes of the name of a step that are shown.
const MAX_NAME_BYTES: usize = 200;

/// Bytes of the logs of an attempt that are shown.
const MAX_LOGS: usize = 8 << 10;

/// Attempts of a delivery that are shown, the newest first.
const MAX_ATTEMPTS: usize = 20;

/// A delivery.
#[derive(Debug)]
pub(super) struct DeliveryPart {
    pub(super) id: String,
    pub(super) plugin: String,
    pub(super) plugin_path: Option<String>,
    pub(super) state: Html,
    pub(super) remarks: Vec<Html>,
    pub(super) attempts: Vec<AttemptPart>,
    pub(super) more_attempts: usize,
    pub(super) steps: Vec<String>,
    /// Actions that its state allows.
    pub(super) actions: Vec<DeliveryAct>,
}

/// Path, label and key of an action.
pub(super) type DeliveryAct = (String, &'static str, &'static str);

/// The actions that the state of a delivery allows.
pub(super) fn acts(state: &str, id: &str) -> Vec<DeliveryAct> {
    let act = |name: &str, label, key| {
        let path = Link::to("/deliveries").segment(id).segment(name);
        (path.into_text(), label, key)
    };
    match state {
        "dead" => vec![act("retry", "Retry …", "r"), act("discard", "Discard …", "d")],
        "waiting" => vec![act("retry", "Retry now …", "r"), act("cancel", "Cancel …", "")],
        "ready" | "leased" => vec![act("cancel", "Cancel …", "")],
        "cancelled" => vec![act("retry", "Retry …", "r")],
        "discarded" => vec![act("retry", "Retry …", "r"), act("undiscard", "Undiscard …", "")],
        _ => Vec::new(),
    }
}

/// An attempt.
#[derive(Debug)]
pub(super) struct AttemptPart {
    pub(super) id: String,
    pub(super) number: u32,
    pub(super) outcome: Html,
    pub(super) started: Html,
    pub(super) duration: String,
    pub(super) error: Option<Html>,
    pub(super) digest: Option<String>,
    pub(super) logs: Vec<(String, Html)>,
    pub(super) more_logs: usize,
    pub(super) calls: Vec<CallPart>,
    pub(super) steps: Vec<String>,
    pub(super) remark: Option<&'static str>,
}

/// An HTTP request.
#[derive(Debug)]
pub(super) struct CallPart {
    pub(super) what: Html,
    pub(super) result: Html,
    pub(super) sizes: String,
    pub(super) duration: String,
}

impl DeliveryPart {
    pub(super) fn of(delivery: DeliveryJson, now_ms: i64, may_act: bool) -> Self {
        let remarks = remarks(&delivery, now_ms);
        let actions = if may_act { acts(delivery.state, &delivery.id) } else { Vec::new() };
        let step = |step: &RecordedStepJson| {
            let name = plain(&step.name, MAX_NAME_BYTES);
            format!("{name} ({}, by attempt {})", bytes(step.bytes), step.attempt)
        };
        let count = delivery.attempts.len();
        let newest = delivery.attempts.into_iter().rev().take(MAX_ATTEMPTS);
        Self {
            plugin_path: (!delivery.plugin.contains('/'))
                .then(|| Link::to("/plugins").segment(&delivery.plugin).into_text()),
            state: badge(delivery.state),
            remarks,
            steps: delivery.steps.iter().map(step).collect(),
            attempts: newest.map(|it| AttemptPart::of(&delivery.id, it, now_ms)).collect(),
            more_attempts: count.saturating_sub(MAX_ATTEMPTS),
            actions,
            plugin: delivery.plugin,
            id: delivery.id,
        }
    }
}

/// Remarks about a delivery beside its state.
fn remarks(delivery: &DeliveryJson, now_ms: i64) -> Vec<Html> {
    let mut remarks = Vec::new();
    if let Some(wait) = &delivery.waits_for {
        remarks.push(coded(&format!("waits for {}", wait.text)));
    }
    if let Some(due) = &delivery.due_at {
        let mut html = Html::default();
        html.text("due ").raw(when_text(due, now_ms));
        remarks.push(html);
    }
    if let Some(key) = &delivery.key {
        remarks.push(shown(&format!("key {key}")));
    }
    if delivery.replay {
        remarks.push(shown("made by a replay"));
    }
    if delivery.cancelling {
        remarks.push(shown("cancelled: it ends with the running attempt"));
    }
    if let Some(failure) = &delivery.failure {
        let mut html = Html::default();
        let path = Link::to("/failures").segment(failure).into_text();
        html.text("failure ").raw("<a href=\"").text(&path).raw("\">").text(failure).raw("</a>");
        remarks.push(html);
    }
    remarks.extend(delivery.note.as_deref().map(coded));
    remarks
}

impl AttemptPart {
    fn of(delivery: &str, attempt: AttemptJson, now_ms: i64) -> Self {
        let (mut room, all) = (MAX_LOGS, attempt.logs.len());
        let mut logs = Vec::new();
        for line in attempt.logs {
            if line.message.len() > room {
                break;
            }
            room -= line.message.len();
            logs.push((line.level, shown(&line.message)));
        }
        let step = |step: UsedStepJson| match step.recorded_after_ms {
            Some(ms) => {
                let name = plain(&step.name, MAX_NAME_BYTES);
                format!("{name} recorded after {}", duration(ms as f64))
            }
            None => format!("{} recalled", plain(&step.name, MAX_NAME_BYTES)),
        };
        Self {
            id: format!("{delivery}-{}", attempt.number),
            number: attempt.number,
            outcome: ending(attempt.outcome, &ended(attempt.outcome)),
            started: when_text(&attempt.started_at, now_ms),
            duration: duration(attempt.duration_ms),
            error: attempt.error.as_deref().map(shown),
            digest: attempt.plugin_digest,
            more_logs: all - logs.len(),
            logs,
            calls: attempt.calls.into_iter().map(CallPart::of).collect(),
            steps: attempt.steps.into_iter().map(step).collect(),
            remark: attempt.settled.map(|_| "cut off: only its record was stored"),
        }
    }
}

impl CallPart {
    fn of(call: CallJson) -> Self {
        let mut what = Html::default();
        what.text(&call.method).raw(" ").text(&call.url);
        let mut result = Html::default();
        match (call.status, &call.error) {
            (Some(status), None) => result.text(&status.to_string()),
            (Some(status), Some(error)) => result.raw(coded(&format!("{status}, then {error}"))),
            (None, error) => {
                let word = if call.refused { "refused" } else { "no answer" };
                result.raw("<span class=\"bad\">").text(word).raw("</span> ");
                result.raw(coded(error.as_deref().unwrap_or_default()))
            }
        };
        Self {
            what,
            result,
            sizes: format!("{} ↑ {} ↓", bytes(call.sent_bytes), bytes(call.received_bytes)),
            duration: duration(call.duration_ms as f64),
        }
    }
}
