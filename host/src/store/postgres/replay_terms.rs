//! New deliveries of an old event that have a key or a tag.

use std::sync::Arc;

use tokio_postgres::types::ToSql;

use super::keys::{LOCK_KEYS, NamedPlugins, POLICIES};
use super::moves::WorkMoves;
use super::settle::small;
use super::shared::PostgresShared;
use super::terms::TERMS;
use super::work::{Work, WorkError};
use crate::event::{DeliveryId, Event, PluginName, Target};
use crate::store::model::LeaseTerms;
use crate::store::{Lease, LeasePermit};

/// The key of a delivery of an event.
pub(super) fn key_for(event: &Event, target: &Target) -> Option<Arc<str>> {
    let source = target.options.key.as_ref()?;
    source.key_of(&event.attributes).ok().map(|key| key.text(event.tree()))
}

/// Tells the database what there is to know of a plugin.
async fn tell_policies(
    work: &Work<'_>,
    shared: &PostgresShared,
    plugin: &PluginName,
) -> Result<(), WorkError> {
    let mut plugins = NamedPlugins::default();
    plugins.add(plugin);
    if let Some(known) = plugins.policies(&*shared.policies) {
        work.query(POLICIES, &[&known]).await?;
    }
    Ok(())
}

/// Creates a delivery with a key or a tag of an event that is locked. It is leased with the permit
/// if it is due.
pub(super) async fn replay_with_terms(
    work: &Work<'_>,
    shared: &PostgresShared,
    (event, ordinal): (&Arc<Event>, u32),
    (target, permit): (&Target, Option<LeasePermit>),
    moves: &mut WorkMoves,
) -> Result<(), WorkError> {
    let (plugin, key) = (&target.plugin, key_for(event, target));
    tell_policies(work, shared, plugin).await?;
    let bytes = key.as_ref().map(|key| key.as_bytes());
    if let Some(bytes) = bytes {
        let none: (&[&str], &[i64]) = (&[], &[]);
        work.query(LOCK_KEYS, &[&vec![&**plugin], &vec![bytes], &none.0, &none.1]).await?;
    }
    let (at, me) = (shared.at(), shared.run().incarnation);
    let subject = event.attributes.subject.as_deref();
    let (tag, next) = (target.options.cancel_tag, small(ordinal).saturating_add(1));
    let none: (&[i32], &[i64]) = (&[], &[]);
    let parameters: [&(dyn ToSql + Sync); 14] = [
        &at,
        &me,
        &vec![event.id.row()],
        &vec![subject],
        &vec![next],
        &vec![1_i32],
        &vec![small(ordinal)],
        &vec![&**plugin],
        &vec![bytes],
        &vec![tag],
        &vec![0_i64],
        &vec![permit.is_some()],
        &none.0,
        &none.1,
    ];
    let rows = work.query(TERMS, &parameters).await?;
    moves.touch(plugin);
    let mut permit = permit;
    for row in &rows {
        let due_in = std::time::Duration::from_millis(row.get::<_, i64>(3).unsigned_abs());
        match (row.get::<_, Option<i32>>(0), row.get::<_, i16>(1)) {
            (None, _) => moves.due(&row.get::<_, String>(2).into(), due_in),
            (Some(_), 0) => moves.due(plugin, due_in),
            (Some(_), 1) => moves.created.leases.push(Lease {
                delivery: DeliveryId { event: event.id, ordinal },
                plugin: plugin.clone(),
                attempt: 1,
                uncounted: 0,
                deaths: 0,
                due_ms: shared.now_ms(),
                event: Arc::clone(event),
                terms: LeaseTerms::first(key.clone(), tag),
                permit: permit.take().expect("it was leased with a permit"),
                held: None,
            }),
            _ => {}
        }
    }
    Ok(())
}
