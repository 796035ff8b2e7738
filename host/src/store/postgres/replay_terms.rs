//! New deliveries of an old event that have a key or a tag.

use std::sync::Arc;

use tokio_postgres::types::ToSql;

use super::keys::{LOCK_KEYS, NamedPlugins, POLICIES};
use super::moves::WorkMoves;
use super::rows::read_event;
use super::settle::small;
use super::shared::PostgresShared;
use super::terms::TERMS;
use super::work::{Work, WorkError};
use crate::event::{DeliveryId, Event, EventId, Target};
use crate::store::model::LeaseTerms;
use crate::store::{Lease, LeasePermit};

/// An event as [`read_event`] reads it.
pub(super) const EVENT: &str = "SELECT e.id, e.source, e.type, e.subject, e.content_type, e.time_ms, \
     e.parent, e.root, e.hops, e.trace, e.body FROM hookbox.events e WHERE e.id = $1";

/// The key of a delivery of an event.
pub(super) fn key_for(event: &Event, target: &Target) -> Option<Arc<str>> {
    let source = target.options.key.as_ref()?;
    source.key_of(&event.attributes).ok().map(|key| key.text(event.tree()))
}

/// Tells the database what there is to know of the plugins that get these events, and locks the
/// keys that new deliveries enter. All are locked at once: a writer's batch takes them in the same
/// order, before it locks anything else.
///
/// The events themselves are not locked yet. Their keys stay what they are, because an event that
/// is emptied meanwhile gets no delivery.
pub(super) async fn lock_replayed(
    work: &Work<'_>,
    shared: &PostgresShared,
    events: &[(EventId, &[Arc<Target>])],
) -> Result<(), WorkError> {
    let (mut named, mut plugins, mut keys) = (NamedPlugins::default(), Vec::new(), Vec::new());
    for (event, targets) in events {
        let terms = targets.iter().filter(|target| has_terms(target));
        terms.for_each(|target| named.add(&target.plugin));
        if targets.iter().all(|target| target.options.key.is_none()) {
            continue;
        }
        let found = work.query_opt(EVENT, &[&event.row()]).await?;
        let Some(found) = found.map(|row| read_event(&row)) else { continue };
        for target in *targets {
            if let Some(key) = key_for(&found, target) {
                plugins.push(&*target.plugin);
                keys.push(key);
            }
        }
    }
    if let Some(known) = named.policies(&*shared.policies) {
        work.query(POLICIES, &[&known]).await?;
    }
    if !keys.is_empty() {
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let none: (&[&str], &[i64]) = (&[], &[]);
        work.query(LOCK_KEYS, &[&plugins, &keys, &none.0, &none.1]).await?;
    }
    Ok(())
}

/// Whether new deliveries to a target may have a key or a tag.
pub(super) fn has_terms(target: &Target) -> bool {
    target.options.key.is_some() || target.options.cancel_tag.is_some()
}

/// Creates a delivery with a key or a tag of an event that is locked, as its key is
/// ([`lock_replayed`]). It is leased with the permit if it is due. `next` is the least ordinal of
/// what the event gets later.
pub(super) async fn replay_with_terms(
    work: &Work<'_>,
    shared: &PostgresShared,
    (event, ordinal, next): (&Arc<Event>, u32, u32),
    (target, permit): (&Target, Option<LeasePermit>),
    moves: &mut WorkMoves,
) -> Result<(), WorkError> {
    let (plugin, key) = (&target.plugin, key_for(event, target));
    let bytes = key.as_ref().map(|key| key.as_bytes());
    let (at, me) = (shared.at(), shared.run().incarnation);
    let subject = event.attributes.subject.as_deref();
    let tag = target.options.cancel_tag;
    let none: (&[i32], &[i64]) = (&[], &[]);
    let parameters: [&(dyn ToSql + Sync); 14] = [
        &at,
        &me,
        &vec![event.id.row()],
        &vec![subject],
        &vec![small(next)],
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
