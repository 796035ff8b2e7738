//! The deliveries of an event with all that is known of their attempts.

use crate::admin::page::parts::html::{Html, coded, shown};
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::measure::bytes;
use crate::admin::page::parts::state::{badge, ended, ending};
use crate::admin::page::parts::when::when_text;
use crate::admin::tree::{TreeEventJson, TreeJson};
use crate::admin::verdict::AgainstJson;
use crate::admin::view::DeliveryJson;
use crate::admin::view::attempt::{AttemptJson, CallJson, RecordedStepJson, UsedStepJson};
use crate::plugins::Registry;
use crate::text::{duration, plain};

/// Bytes of the name of a step that are shown.
const MAX_NAME_BYTES: usize = 200;

/// Bytes of the logs of an attempt that are shown.
const MAX_LOGS: usize = 8 << 10;

/// Characters of the reason of the attempt before that are shown.
const MAX_REASON: usize = 200;

/// Attempts of a delivery that are shown, the newest first.
const MAX_ATTEMPTS: usize = 20;

/// Events that are named of those that an attempt emitted.
const MAX_EMITTED: usize = 10;

/// Levels of lines that plugins log, the least one first.
pub(super) const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

/// The surroundings of a delivery.
pub(super) struct Beside<'p> {
    pub(super) now_ms: i64,
    pub(super) may_act: bool,
    /// The least level of lines that are shown, as a place in [`LEVELS`].
    pub(super) level: usize,
    /// The plugins that run now.
    pub(super) registry: &'p Registry,
    /// The tree that the event is in, or a part of it.
    pub(super) tree: &'p TreeJson,
}

/// A delivery.
#[derive(Debug)]
pub(super) struct DeliveryPart {
    pub(super) id: String,
    pub(super) plugin: String,
    pub(super) plugin_path: Option<String>,
    pub(super) state: Html,
    /// Whether a retry or a replay has helped.
    pub(super) verdict: Option<Html>,
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
    /// CPU time and memory of the handler.
    pub(super) used: Option<String>,
    pub(super) error: Option<Html>,
    pub(super) file: Option<FileUsed>,
    pub(super) logs: Vec<(String, Html)>,
    /// Lines of a lower level than is asked for.
    pub(super) hidden_logs: usize,
    pub(super) more_logs: usize,
    /// Events that it emitted, as links, and how many there are beside.
    pub(super) emitted: Vec<Html>,
    pub(super) more_emitted: usize,
    pub(super) calls: Vec<CallPart>,
    pub(super) steps: Vec<String>,
    pub(super) remark: Option<&'static str>,
}

/// The file that an attempt ran.
#[derive(Debug)]
pub(super) struct FileUsed {
    pub(super) digest: String,
    /// Said of a file that does not run now.
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
    pub(super) fn of(delivery: DeliveryJson, beside: &Beside<'_>) -> Self {
        let remarks = remarks(&delivery, beside.now_ms);
        let actions = match beside.may_act {
            true => acts(delivery.state, &delivery.id),
            false => Vec::new(),
        };
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
            verdict: delivery.against.as_ref().map(|it| verdict(it, &delivery.id)),
            attempts: newest
                .map(|it| AttemptPart::of((&delivery.id, &delivery.plugin), it, beside))
                .collect(),
            more_attempts: count.saturating_sub(MAX_ATTEMPTS),
            actions,
            plugin: delivery.plugin,
            id: delivery.id,
        }
    }
}

/// Whether the last attempt went better than the one before somebody retried or replayed.
fn verdict(against: &AgainstJson, own: &str) -> Html {
    let AgainstJson { delivery_id, attempt, outcome, error, verdict } = against;
    let class = if ["fixed", "still well"].contains(verdict) { "good" } else { "bad" };
    let mut html = Html::default();
    html.raw(format_args!("<strong class=\"{class}\">")).text(verdict).raw("</strong>: ");
    let by = if delivery_id == own { "before it was retried" } else { "before it was replayed" };
    html.raw("<a href=\"#").text(delivery_id).raw("\">").text(&format!("attempt {attempt}"));
    html.raw("</a> ").text(&format!("{by} was ")).raw(ending(outcome, &ended(outcome)));
    if let Some(error) = error {
        html.text(": ").text(&error.chars().take(MAX_REASON).collect::<String>());
    }
    html
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
    fn of((delivery, plugin): (&str, &str), attempt: AttemptJson, beside: &Beside<'_>) -> Self {
        let all = attempt.logs.len();
        let mut lines = attempt.logs;
        lines.retain(|line| is_at_least(&line.level, beside.level));
        let (mut room, shown_lines) = (MAX_LOGS, lines.len());
        let mut logs = Vec::new();
        for line in lines {
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
        let is_of_it = |event: &&TreeEventJson| {
            let by = event.emitted_by.as_ref();
            by.is_some_and(|by| by.delivery_id == delivery && by.attempt == attempt.number)
        };
        let emitted: Vec<_> = beside.tree.events.iter().filter(is_of_it).collect();
        Self {
            id: format!("{delivery}-{}", attempt.number),
            number: attempt.number,
            outcome: ending(attempt.outcome, &ended(attempt.outcome)),
            started: when_text(&attempt.started_at, beside.now_ms),
            duration: duration(attempt.duration_ms),
            used: attempt.cpu_ms.zip(attempt.memory_bytes).map(|(cpu_ms, memory)| {
                format!("{} of CPU, {} of memory", duration(cpu_ms), bytes(memory))
            }),
            error: attempt.error.as_deref().map(shown),
            file: attempt.plugin_digest.map(|digest| FileUsed::of(digest, plugin, beside)),
            hidden_logs: all - shown_lines,
            more_logs: shown_lines - logs.len(),
            logs,
            more_emitted: emitted.len().saturating_sub(MAX_EMITTED),
            emitted: emitted.into_iter().take(MAX_EMITTED).map(link).collect(),
            calls: attempt.calls.into_iter().map(CallPart::of).collect(),
            steps: attempt.steps.into_iter().map(step).collect(),
            remark: attempt.settled.map(|_| "cut off: only its record was stored"),
        }
    }
}

/// Whether a line is of this level or above; one of a level that nobody knows always is.
fn is_at_least(level: &str, least: usize) -> bool {
    LEVELS.iter().position(|known| *known == level).is_none_or(|place| place >= least)
}

/// An event that was emitted.
fn link(event: &TreeEventJson) -> Html {
    let mut html = Html::default();
    let path = Link::to("/events").segment(&event.id).into_text();
    html.raw("<a href=\"").text(&path).raw("\">").text(&event.kind).raw("</a>");
    if let Some(subject) = &event.subject {
        html.raw(" <span class=\"dim\">").text(subject).raw("</span>");
    }
    html
}

impl FileUsed {
    fn of(digest: String, plugin: &str, beside: &Beside<'_>) -> Self {
        let running = beside.registry.loaded(plugin).map(|loaded| loaded.digest.to_string());
        let remark = match running {
            Some(running) if running == digest => None,
            Some(_) => Some("not the one that runs now"),
            None => Some("nothing of it runs now"),
        };
        Self { digest, remark }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_level_and_above_are_shown_and_those_without_one() {
        let shown = |least| {
            let levels = LEVELS.into_iter().chain(["other"]);
            levels.filter(|level| is_at_least(level, least)).collect::<Vec<_>>()
        };
        assert_eq!(shown(0).len(), 6);
        assert_eq!(shown(3), ["warn", "error", "other"]);
    }

    #[test]
    fn a_verdict_names_the_attempt_before() {
        let against = AgainstJson {
            delivery_id: "dlv_1_0".to_owned(),
            attempt: 3,
            outcome: "retry",
            error: Some("<503>".to_owned()),
            verdict: "fixed",
        };
        let html = verdict(&against, "dlv_1_0").to_string();
        assert!(html.starts_with("<strong class=\"good\">fixed</strong>: <a href=\"#dlv_1_0\">"));
        assert!(html.contains("attempt 3</a> before it was retried was"), "{html}");
        assert!(html.ends_with(": &lt;503&gt;"), "{html}");
        assert!(verdict(&against, "dlv_1_1").to_string().contains("before it was replayed"));
    }
}
