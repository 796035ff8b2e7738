//! The tree of an event: everything that descends from one event from outside, with what became
//! of it.

use std::sync::Arc;

use axum::Json;
use axum::extract;
use serde::Serialize;
use utoipa::ToSchema;

pub(super) use self::derived::{Emitter, PastWaitJson};
use self::derived::{name_emitters, waits};
use super::params::{Id, Params, TreeQuery};
use super::problem::ProblemJson;
use super::sees::Sees;
use super::state::Admin;
use super::view::attempt::CallJson;
use super::view::cut_off;
use super::waits::{WaitFacts, WaitJson};
use crate::clock::rfc3339;
use crate::event::{EventId, State};
use crate::store::{
    AttemptView, GatheringState, MAX_TREE_CALLS, Membership, TreeDelivery, TreeEvent, TreeMember,
    TreeView,
};

mod derived;

/// A page of the tree of an event, the same from each of its events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tree)]
pub(super) struct TreeJson {
    /// The event that all others descend from. It may be deleted.
    pub(super) root_id: String,
    /// When it arrived, RFC 3339 with milliseconds: other times count from there.
    pub(super) started_at: String,
    /// Its events, oldest first.
    pub(super) events: Vec<TreeEventJson>,
    /// The `cursor` of the next page; absent on the last one.
    pub(super) next_cursor: Option<String>,
}

/// An event in its tree.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TreeEvent)]
pub(super) struct TreeEventJson {
    /// Given by this host.
    pub(super) id: String,
    /// The source's name, or the part of the host that emitted it.
    pub(super) source: String,
    /// The event type.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// The subject of the event.
    pub(super) subject: Option<String>,
    /// The event whose handling emitted this one; that of a join's is the member that completed it,
    /// which may be in another tree.
    pub(super) parent_id: Option<String>,
    /// The attempt that emitted it, if its parent is on this page.
    #[serde(skip)]
    pub(super) emitted_by: Option<Emitter>,
    /// Milliseconds after the root.
    pub(super) after_ms: i64,
    /// A remark for operators.
    pub(super) note: Option<String>,
    /// One for each plugin it was routed or replayed to.
    pub(super) deliveries: Vec<TreeDeliveryJson>,
    /// The joins and batches of other events that it is a member of.
    pub(super) member_of: Vec<MembershipJson>,
}

/// A delivery in a tree.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TreeDelivery)]
pub(super) struct TreeDeliveryJson {
    /// Identifies the delivery.
    pub(super) id: String,
    /// The plugin that handles it.
    pub(super) plugin: String,
    /// `ready`, `leased`, `waiting`, `done`, `dead`, `cancelled` or `discarded`.
    pub(super) state: &'static str,
    /// Its key, if its plugin's deliveries are ordered by one.
    pub(super) key: Option<String>,
    /// The reason why it waits, if it is open.
    pub(super) waits_for: Option<WaitJson>,
    /// The times between its attempts, and before the first and after the last of them, in which it
    /// waited a millisecond or more.
    pub(super) waits: Vec<PastWaitJson>,
    /// Attempts begun.
    pub(super) attempt: u32,
    /// The last of them, oldest first, at most 16.
    pub(super) attempts: Vec<TreeAttemptJson>,
    /// Its join or batch, if it ends one.
    pub(super) join: Option<TreeJoinJson>,
}

/// An attempt in a tree.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TreeAttempt)]
pub(super) struct TreeAttemptJson {
    /// Counts from 1.
    pub(super) number: u32,
    /// When it began, in milliseconds after the root.
    pub(super) after_ms: i64,
    /// From the call to the verdict.
    pub(super) duration_ms: f64,
    /// `ok`, `retry`, `reject`, `trap`, `timeout`, `memory`, `error`, `crash` or `again`.
    pub(super) outcome: &'static str,
    /// `cancelled` if its delivery was cancelled while it ran: nothing but its record was stored.
    pub(super) settled: Option<&'static str>,
    /// The reason, if it did not succeed.
    pub(super) error: Option<String>,
    /// Names of the steps that it recorded or recalled.
    pub(super) steps: Vec<String>,
    /// HTTP requests that it sent: the first 16.
    pub(super) calls: Vec<CallJson>,
    /// Whether it sent more.
    pub(super) more_calls: bool,
    /// Ids of the events that it emitted, of those on this page. Each is of the attempt of its
    /// plugin that had begun last.
    pub(super) emitted: Vec<String>,
}

/// A join or a batch in a tree.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TreeJoin)]
pub(super) struct TreeJoinJson {
    /// The key that its members have in common.
    pub(super) key: String,
    /// Members that are counted.
    pub(super) count: u32,
    /// The reason why it is complete: `need`, `types`, `close`, `size` or `limit`.
    pub(super) why: Option<&'static str>,
    /// Its members in the order in which they came, at most 256.
    pub(super) members: Vec<MemberJson>,
    /// Whether it has more.
    pub(super) more_members: bool,
}

/// A member of a join or a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(super) struct MemberJson {
    /// The event.
    pub(super) id: String,
    /// Its type; absent if it is deleted.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// The root of its tree, if that is another one.
    pub(super) other_root_id: Option<String>,
}

/// A join or a batch that an event is a member of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Membership)]
pub(super) struct MembershipJson {
    /// `joins/NAME` or `batches/NAME`.
    pub(super) name: String,
    /// The delivery that ends it.
    pub(super) delivery_id: String,
    /// The root of the tree that it is in, if that is another one.
    pub(super) other_root_id: Option<String>,
}

/// Show the tree of an event: what descends from its root, oldest first, with what became of it.
#[utoipa::path(get, path = "/api/v1/events/{id}/tree", tag = "events",
    params(("id" = String, Path, description = "Any event of the tree (`evt_…`)"), TreeQuery), responses(
    (status = 200, description = "A page of the tree", body = TreeJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_tree(
    extract::State(admin): extract::State<Arc<Admin>>,
    sees: Sees,
    Params(query): Params<TreeQuery>,
    Id(id): Id<EventId>,
) -> Result<Json<TreeJson>, ProblemJson> {
    let (limit, after) = query.page()?;
    let tree = admin.store.tree(id, limit, after).await?;
    Ok(Json(TreeJson::of(tree, &WaitFacts::of(&admin), sees)))
}

/// The root of a tree, if it is another one.
fn other(tree: EventId, own: EventId) -> Option<String> {
    (tree != own).then(|| tree.to_string())
}

impl TreeJson {
    fn of(tree: TreeView, facts: &WaitFacts, sees: Sees) -> Self {
        let TreeView { root, started_ms, events, next } = tree;
        let event = |event| TreeEventJson::of(event, (root, started_ms), facts, sees);
        let mut events: Vec<_> = events.into_iter().map(event).collect();
        name_emitters(&mut events);
        Self {
            root_id: root.to_string(),
            started_at: rfc3339(started_ms),
            events,
            next_cursor: next.map(|next| next.to_string()),
        }
    }
}

impl TreeEventJson {
    fn of(row: TreeEvent, root: (EventId, i64), facts: &WaitFacts, sees: Sees) -> Self {
        let TreeEvent { summary, deliveries, member_of } = row;
        let (event, attributes) = (&summary.event, &summary.event.attributes);
        let membership = |Membership { delivery, plugin, tree }: Membership| MembershipJson {
            name: plugin.to_string(),
            delivery_id: delivery.to_string(),
            other_root_id: other(tree, root.0),
        };
        let after_ms = attributes.time_ms - root.1;
        let delivery = |delivery| TreeDeliveryJson::of(delivery, (root, after_ms), facts, sees);
        Self {
            id: event.id.to_string(),
            source: attributes.source.to_string(),
            kind: attributes.kind.clone(),
            subject: attributes.subject.clone(),
            parent_id: event.parent.map(|parent| parent.to_string()),
            emitted_by: None,
            after_ms,
            note: summary.note.clone(),
            deliveries: deliveries.into_iter().map(delivery).collect(),
            member_of: member_of.into_iter().map(membership).collect(),
        }
    }
}

impl TreeDeliveryJson {
    /// A delivery of an event that came so many milliseconds after the root.
    fn of(
        row: TreeDelivery,
        (root, came_ms): ((EventId, i64), i64),
        facts: &WaitFacts,
        sees: Sees,
    ) -> Self {
        let TreeDelivery { mut view, members, more_members } = row;
        facts.hide_keys(&mut view, sees);
        let waits_for = facts.waits_for(&view);
        let cut_off_number = view.attempt_cut_off();
        let attempt = |AttemptView { number, record }: AttemptView| TreeAttemptJson {
            more_calls: record.calls.len() > MAX_TREE_CALLS,
            calls: record.calls.into_iter().take(MAX_TREE_CALLS).map(CallJson::from).collect(),
            emitted: Vec::new(),
            number,
            after_ms: record.started_at_ms - root.1,
            duration_ms: record.duration_us as f64 / 1000.0,
            outcome: record.outcome.name(),
            settled: cut_off(number, cut_off_number),
            error: record.error,
            steps: record.steps.into_iter().map(|step| step.name).collect(),
        };
        let attempts: Vec<_> = view.attempts.into_iter().map(attempt).collect();
        // Of attempts that are not shown nothing is known.
        let first = attempts.first().map_or(1, |attempt: &TreeAttemptJson| attempt.number);
        let came_ms = (first == 1).then_some(came_ms);
        let is_waiting = waits_for.is_some() && view.state != State::Leased;
        Self {
            id: view.id.to_string(),
            plugin: view.plugin.to_string(),
            state: view.state.name(),
            waits: waits(came_ms, &attempts, is_waiting),
            waits_for,
            attempt: view.attempt,
            attempts,
            join: view
                .gathering
                .map(|state| TreeJoinJson::of(*state, members, more_members, root.0)),
            key: view.key,
        }
    }
}

impl TreeJoinJson {
    fn of(
        state: GatheringState,
        members: Vec<TreeMember>,
        more_members: bool,
        root: EventId,
    ) -> Self {
        let member = |TreeMember { id, kind, tree }: TreeMember| MemberJson {
            id: id.to_string(),
            kind,
            other_root_id: other(tree, root),
        };
        Self {
            key: state.key,
            count: state.count,
            why: state.why.map(|why| why.name()),
            members: members.into_iter().map(member).collect(),
            more_members,
        }
    }
}
