//! An operation as an operator sees it.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::first::FirstTriedJson;
use super::scope::event_parts;
use crate::admin::deliveries::noted::filter_parts;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::admin::view::{DeliveryJson, EventItem};
use crate::clock::rfc3339;
use crate::store::{Operation, OperationDeed, OperationScope, OperationState};

/// An action on many deliveries, or a replay of many events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(in crate::admin) struct OperationJson {
    /// `op_` and a number.
    pub(in crate::admin) id: String,
    /// `retry`, `discard`, `cancel`, `replay`, or `undiscard`: one that takes a discard back. If
    /// the host cannot read it, `unreadable`: `reason` says why, and it can be cancelled.
    pub(in crate::admin) action: &'static str,
    /// `planned`, `running`, `paused`, `stopped`, `done` or `cancelled`.
    pub(in crate::admin) state: &'static str,
    /// Why it has stopped.
    pub(in crate::admin) reason: Option<String>,
    /// The hindrance on the host that answers: it is tried again.
    pub(in crate::admin) trouble: Option<String>,
    /// The filters, by their names; empty for one of ids or of another operation.
    pub(in crate::admin) filter: BTreeMap<&'static str, String>,
    /// The plugins that get the events of a replay; empty for those that are routed to.
    pub(in crate::admin) to: Vec<String>,
    /// The number of deliveries or events that were named by their ids.
    pub(in crate::admin) ids: Option<usize>,
    /// The operation that this one takes back.
    pub(in crate::admin) undoes: Option<String>,
    /// Deliveries whose last attempt ended later are not touched, and events that came later are
    /// not replayed, RFC 3339.
    pub(in crate::admin) as_of: String,
    /// When it was planned.
    pub(in crate::admin) planned_at: String,
    /// When it was started.
    pub(in crate::admin) started_at: Option<String>,
    /// When it ended.
    pub(in crate::admin) ended_at: Option<String>,
    /// Whether one is tried before the others.
    pub(in crate::admin) first: bool,
    /// The one that was tried first, beside its attempt before; where one operation is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::admin) first_tried: Option<FirstTriedJson>,
    /// Deliveries or events a second, at most.
    pub(in crate::admin) pace: Option<u32>,
    /// Failures after which it stops.
    pub(in crate::admin) stop_after: Option<u32>,
    /// Deliveries that it is for; of a replay the events, here and below.
    pub(in crate::admin) total: u64,
    /// Whether those are all, or at least so many.
    pub(in crate::admin) exact: bool,
    /// Deliveries of which the result is known: `ok`, `failed` and `skipped` together.
    pub(in crate::admin) done: u64,
    /// Deliveries that were acted on, and have no result yet.
    pub(in crate::admin) open: u64,
    /// Those that succeeded, or were changed by an action that has no further result.
    pub(in crate::admin) ok: u64,
    /// Those that failed again.
    pub(in crate::admin) failed: u64,
    /// Those that stood otherwise when their turn came.
    pub(in crate::admin) skipped: u64,
    /// Deliveries a second while it runs: pauses and stops do not count.
    pub(in crate::admin) rate: Option<f64>,
    /// Seconds to its end at that rate.
    pub(in crate::admin) eta_s: Option<u64>,
    /// The name of the client that planned it.
    pub(in crate::admin) actor: String,
    /// Whether `undo` brings back what it has discarded.
    pub(in crate::admin) can_undo: bool,
}

/// An operation that was planned, and some of what it is for.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct Planned {
    #[serde(flatten)]
    pub(in crate::admin) operation: OperationJson,
    /// The first few deliveries.
    pub(in crate::admin) sample: Vec<DeliveryJson>,
    /// With `replay`, the first few events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::admin) events: Vec<EventItem>,
}

/// An operation with deliveries of one result.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct OperationShown {
    #[serde(flatten)]
    pub(in crate::admin) operation: OperationJson,
    /// Deliveries with the result that is asked for: those that failed, unless another one is. Of
    /// an event that was replayed one that was made: the first that is not done.
    pub(in crate::admin) items: Vec<DeliveryJson>,
    /// With `replay`, the ids of the events with that result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::admin) events: Vec<String>,
    /// The `cursor` of the next page; absent at the end.
    pub(in crate::admin) next_cursor: Option<String>,
}

impl OperationJson {
    pub(super) fn of(operation: &Operation, admin: &Admin, sees: Sees) -> Self {
        let at = |ms: Option<i64>| ms.map(rfc3339);
        let (filter, ids, undoes) = match &operation.scope {
            OperationScope::Filter(filter) => (filter_parts(filter), None, None),
            OperationScope::Events(filter) => (event_parts(filter, sees), None, None),
            OperationScope::Ids(ids) => (BTreeMap::new(), Some(ids.len()), None),
            OperationScope::EventIds(ids) => (BTreeMap::new(), Some(ids.len()), None),
            OperationScope::Undo(of) => (BTreeMap::new(), None, Some(of.to_string())),
        };
        let to = match &operation.action {
            OperationDeed::Replay(to) => to.iter().map(ToString::to_string).collect(),
            OperationDeed::Change(_) => Vec::new(),
        };
        let is_running = operation.state == OperationState::Running;
        let (done, total) = (operation.done(), operation.total.max(operation.found));
        let passed_ms = operation.worked_ms(admin.clock.now_ms());
        let passed_s = passed_ms.map(|passed_ms| passed_ms as f64 / 1000.0);
        let rate = passed_s.filter(|passed| *passed > 0.0).map(|passed| done as f64 / passed);
        let left = total.saturating_sub(done);
        let eta_s = rate
            .filter(|rate| *rate > 0.0 && is_running)
            .map(|rate| (left as f64 / rate).ceil() as u64);
        Self {
            id: operation.id.to_string(),
            action: operation.action.name(),
            state: operation.state.name(),
            reason: operation.reason.clone(),
            trouble: if is_running { admin.operations.trouble(operation.id) } else { None },
            filter,
            to,
            ids,
            undoes,
            as_of: rfc3339(operation.as_of_ms),
            planned_at: rfc3339(operation.planned_ms),
            started_at: at(operation.started_ms),
            ended_at: at(operation.ended_ms),
            first: operation.options.first,
            first_tried: None,
            pace: operation.options.pace,
            stop_after: operation.options.stop_after,
            total,
            exact: operation.exact,
            done,
            open: operation.open,
            ok: operation.ok,
            failed: operation.failed,
            skipped: operation.skipped,
            rate: rate.map(|rate| (rate * 10.0).round() / 10.0),
            eta_s,
            actor: operation.actor.clone(),
            can_undo: operation.can_be_undone(),
        }
    }
}
