//! A step of what an operator does to many deliveries: a bounded search beside the writer, and then
//! commands that are short enough to wait in line with everybody else's.

use super::command::WriteCommand;
use super::{Sqlite, erase, in_tree, noted, read, search};
use crate::event::EventId;
use crate::store::{
    Action, AuditNote, Changed, DeliveryFilter, Erased, Erasure, Preview, Progress, StoreError,
};

/// The most deliveries that one command changes.
const MAX_CHANGED: usize = if cfg!(test) { 3 } else { 250 };

/// How many deliveries a preview shows.
const SHOWN: usize = 5;

impl Sqlite {
    /// Does `action` to the next of those that match.
    pub(super) async fn change_some(
        &self,
        note: Option<AuditNote>,
        action: Action,
        filter: DeliveryFilter,
        from: Option<Progress>,
    ) -> Result<Changed, StoreError> {
        let before = from.as_ref().is_some_and(|progress| progress.changed);
        let found = self.search(action.clone(), filter, from).await?;
        self.change_found(note, action, found, before).await
    }

    /// Does `action` to the next of a tree.
    pub(super) async fn change_tree(
        &self,
        note: Option<AuditNote>,
        action: Action,
        event: EventId,
        from: Option<Progress>,
    ) -> Result<Changed, StoreError> {
        let before = from.as_ref().is_some_and(|progress| progress.changed);
        let meant = action.clone();
        let find = move |connection: &_| in_tree::find(connection, &meant, event, from.as_ref());
        let found = self.listings.ask(find).await?;
        let found = found.ok_or_else(|| StoreError::NotFound(format!("event `{event}`")))?;
        self.change_found(note, action, found, before).await
    }

    /// Does `action` to what was found; `before` says whether this pass has changed anything.
    async fn change_found(
        &self,
        note: Option<AuditNote>,
        action: Action,
        found: search::FoundDeliveries,
        before: bool,
    ) -> Result<Changed, StoreError> {
        let mut deliveries = 0;
        for some in found.deliveries.chunks(MAX_CHANGED) {
            let (action, found, states) = (action.clone(), some.to_vec(), found.states.clone());
            let note = note.as_ref().map(AuditNote::of_a_part);
            let change = |reply| WriteCommand::ChangeAll { action, states, found, reply };
            deliveries += self.ask(|reply| noted(note, change(reply))).await?;
        }
        let changed = before || deliveries > 0;
        let next = match found.rest {
            Some(at) => Some(Progress { before: found.before, at: Some(at), changed }),
            // A delivery that was leased when the walk passed may be open again behind it. So the
            // walk repeats until it finds none; it ends, because no delivery is cancelled twice.
            None if action == Action::Cancel && changed => {
                Some(Progress { before: found.before, at: None, changed: false })
            }
            None => None,
        };
        Ok(Changed { deliveries, next })
    }

    /// Counts the next of those that `action` is for.
    pub(super) async fn preview_some(
        &self,
        action: Action,
        filter: DeliveryFilter,
        from: Option<Progress>,
    ) -> Result<Preview, StoreError> {
        let shown = if from.is_none() { SHOWN } else { 0 };
        let found = self.search(action, filter, from).await?;
        let deliveries = found.deliveries.len() as u64;
        let ids: Vec<_> = found.deliveries.into_iter().take(shown).collect();
        let first = self.readers.ask(move |connection| {
            ids.iter().filter_map(|id| read::delivery(connection, *id).transpose()).collect()
        });
        let next =
            found.rest.map(|at| Progress { before: found.before, at: Some(at), changed: false });
        Ok(Preview { deliveries, first: first.await?, next })
    }

    async fn search(
        &self,
        action: Action,
        filter: DeliveryFilter,
        from: Option<Progress>,
    ) -> Result<search::FoundDeliveries, StoreError> {
        let span = self.span(filter.since_ms, filter.until_ms);
        let find =
            move |connection: &_| search::find(connection, &action, &filter, &span, from.as_ref());
        self.listings.ask(find).await
    }
}

impl Sqlite {
    /// Erases some of what is meant, and with `keys` the values that its deliveries wrote last.
    pub(super) async fn erase_some(
        &self,
        note: Option<AuditNote>,
        erasure: Erasure,
        keys: bool,
    ) -> Result<Erased, StoreError> {
        let find = move |connection: &_| erase::found(connection, &erasure, keys);
        let (mut events, keys, is_there) = self.listings.ask(find).await?;
        if !is_there {
            return Err(StoreError::NotFound("such event".to_owned()));
        }
        let more = events.len() > erase::MAX_EVENTS;
        events.truncate(erase::MAX_EVENTS);
        let note = note.map(|note| note.of_a_part());
        let erase = |reply| WriteCommand::Erase { events, keys, reply };
        let erased = self.ask(|reply| noted(note, erase(reply))).await?;
        Ok(Erased { more: erased.more || more && erased.is_some(), ..erased })
    }
}
