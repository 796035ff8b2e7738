//! Events that cancel deliveries: which deliveries an event can cancel, and what becomes of them.
//!
//! An open delivery of a route's item with `cancel_on` has a row by its event's subject and the
//! item's tag. It goes with the delivery's end. An event that brings the tag cancels what has a row
//! in its own transaction: what is not leased ends at once, and what is leased is marked, so that
//! its settlement leaves nothing.

use rusqlite::params;

use super::batch::WriteBatch;
use crate::event::{DeliveryId, EventId, NewEvent, State};

impl WriteBatch<'_> {
    /// Cancels the open deliveries that a new event is to cancel.
    pub(super) fn cancel_tagged(&mut self, new: &NewEvent) -> Result<(), rusqlite::Error> {
        if new.cancels.is_empty() {
            return Ok(());
        }
        let Some(subject) = new.attributes.subject.as_deref() else { return Ok(()) };
        self.holding_keys(|work| {
            for tag in &new.cancels {
                for id in work.cancellable(subject, *tag)? {
                    let Some(stands) = work.stands(id)? else { continue };
                    match stands.state {
                        State::Leased => work.end_when_settled(id, &stands)?,
                        _ => work.end(id, &stands, State::Cancelled)?,
                    }
                }
            }
            Ok(())
        })
    }

    /// The open deliveries that an event of this subject and tag cancels.
    fn cancellable(&self, subject: &str, tag: i64) -> Result<Vec<DeliveryId>, rusqlite::Error> {
        self.connection
            .prepare_cached(
                "SELECT event, ordinal FROM cancellable WHERE subject = ?1 AND tag = ?2",
            )?
            .query_map(params![subject, tag], |row| {
                Ok(DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? })
            })?
            .collect()
    }

    /// Lets events cancel an open delivery of an event with this subject.
    pub(super) fn make_cancellable(
        &self,
        id: DeliveryId,
        subject: Option<&str>,
        tag: i64,
    ) -> Result<(), rusqlite::Error> {
        let Some(subject) = subject else { return Ok(()) };
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO cancellable VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![subject, tag, id.event.row(), id.ordinal])?;
        Ok(())
    }

    /// No event cancels this delivery any more: it has ended.
    pub(super) fn forget_cancellable(
        &self,
        id: DeliveryId,
        subject: Option<&str>,
        tag: i64,
    ) -> Result<(), rusqlite::Error> {
        let Some(subject) = subject else { return Ok(()) };
        self.connection
            .prepare_cached(
                "DELETE FROM cancellable WHERE subject = ?1 AND tag = ?2 AND event = ?3 AND ordinal = ?4",
            )?
            .execute(params![subject, tag, id.event.row(), id.ordinal])?;
        Ok(())
    }
}
