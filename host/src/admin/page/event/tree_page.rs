//! Which part of a large tree a page shows.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::page::params;
use crate::admin::page::parts::link::Link;
use crate::admin::page::request::Asked;
use crate::admin::params::{Id, TreeQuery};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::admin::tree::{TreeJson, show_tree};
use crate::event::EventId;
use crate::text::grouped;

/// The field of the address that names where a part begins.
pub(super) const AFTER: &str = "after";

/// Says that not all of a tree is shown.
#[derive(Debug)]
pub(super) struct TreePart {
    /// How many events are shown.
    pub(super) count: String,
    pub(super) says: String,
    /// The page of the first event, if a later part is shown.
    pub(super) first: Option<String>,
    /// The next part.
    pub(super) next: Option<String>,
    /// The command that shows all of it.
    pub(super) command: String,
}

/// Reads a part of the tree that an event is in. The address may ask for one. Otherwise it is the
/// first part, or the one that begins with the event if the first one does not reach it.
pub(super) async fn tree_part(
    admin: &Arc<Admin>,
    asked: &Asked,
    id: EventId,
    after: Option<&str>,
) -> Result<(TreeJson, Option<TreePart>), ProblemJson> {
    let read = async |after: Option<String>| {
        let query = params(TreeQuery::after(after));
        show_tree(State(Arc::clone(admin)), asked.sees(), query, Id(id)).await
    };
    let mut after = after.map(str::to_owned);
    let Json(mut tree) = read(after.clone()).await?;
    let own = id.to_string();
    let lacks = |tree: &TreeJson| tree.events.iter().all(|event| event.id != own);
    if after.is_none() && tree.next_cursor.is_some() && lacks(&tree) {
        // An event is stored before all that descends from it.
        after = Some(EventId::from_row(id.row() - 1).to_string());
        Json(tree) = read(after.clone()).await?;
    }
    let is_whole = after.is_none() && tree.next_cursor.is_none();
    let part = (!is_whole).then(|| TreePart::of(&tree, asked, after.is_some()));
    Ok((tree, part))
}

impl TreePart {
    fn of(tree: &TreeJson, asked: &Asked, is_later: bool) -> Self {
        let count = match tree.events.len() {
            1 => "1 event".to_owned(),
            count => format!("{} events", grouped(count as u64)),
        };
        let first = if is_later { tree.events.first() } else { None };
        let from = first.map(|event| format!(", from {} on", event.id)).unwrap_or_default();
        let ends = if tree.next_cursor.is_some() { "; there are more." } else { "." };
        let own = Link::to(asked.path());
        let next = tree.next_cursor.as_deref();
        Self {
            count: count.clone(),
            says: format!(
                "Shown and counted here: {count} of this tree{from}{ends} The page does not follow what happens to them."
            ),
            first: is_later.then(|| Link::to("/events").segment(&tree.root_id).into_text()),
            next: next.map(|next| own.with(AFTER, next).into_text()),
            command: format!("hookbox events tree {} --limit 100000", tree.root_id),
        }
    }
}
