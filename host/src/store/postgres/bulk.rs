//! A step of what an operator does to deliveries: a bounded search, and then transactions that are
//! short enough for nobody to wait long for what they have locked.

use super::Postgres;
use super::audit::{known, note_in};
use super::change::{change_one, change_those};
use super::moves::WorkMoves;
use super::read::{ShownAs, delivery_views};
use super::search::{FoundRows, find, find_in_tree};
use super::settle::small;
use super::work::{WorkError, tried};
use crate::event::{DeliveryId, State};
use crate::store::{
    Action, AuditNote, Changed, DeliveryFilter, Preview, Progress, StoreError, Which,
};

/// The most deliveries that one transaction changes.
const MAX_CHANGED: usize = if cfg!(test) { 3 } else { 250 };

/// How many deliveries a preview shows.
const SHOWN: usize = 5;

impl Postgres {
    /// Does `action` to the deliveries that are meant, or to the next of them.
    pub(super) async fn change_which(
        &self,
        note: Option<AuditNote>,
        action: Action,
        which: Which,
    ) -> Result<Changed, StoreError> {
        self.shared.answers()?;
        match which {
            Which::One(id) => {
                let deliveries = tried!(self.change_alone(note.as_ref(), &action, id))?;
                Ok(Changed { deliveries, next: None })
            }
            Which::Matching { filter, from } => {
                let work = self.listings.read().await?;
                let found = find(&work, &action, &filter, from.as_ref()).await?;
                work.commit().await?;
                self.change_found(note, action, found, from).await
            }
            Which::Tree { event, from } => {
                let work = self.listings.read().await?;
                let found = find_in_tree(&work, &action, event, from.as_ref()).await?;
                work.commit().await?;
                let found =
                    found.ok_or_else(|| StoreError::NotFound(format!("event `{event}`")))?;
                self.change_found(note, action, found, from).await
            }
        }
    }

    async fn change_alone(
        &self,
        note: Option<&AuditNote>,
        action: &Action,
        id: DeliveryId,
    ) -> Result<u64, WorkError> {
        let work = self.work.begin().await?;
        if let Some(changed) = known(&work, &self.shared, note).await? {
            return Ok(changed);
        }
        let mut moves = WorkMoves::default();
        change_one(&work, &self.shared, action, id, &mut moves).await?;
        moves.count(&work).await?;
        note_in(&work, &self.shared, note, &1_u64).await?;
        work.commit().await?;
        moves.tell(&self.shared);
        Ok(1)
    }

    /// Does `action` to what was found.
    async fn change_found(
        &self,
        note: Option<AuditNote>,
        action: Action,
        found: FoundRows,
        from: Option<Progress>,
    ) -> Result<Changed, StoreError> {
        let note = note.map(|note| note.of_a_part());
        let mut deliveries = 0;
        for some in found.deliveries.chunks(MAX_CHANGED) {
            deliveries += tried!(self.change_some(note.as_ref(), &action, &found.states, some))?;
        }
        let changed = from.is_some_and(|progress| progress.changed) || deliveries > 0;
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

    async fn change_some(
        &self,
        note: Option<&AuditNote>,
        action: &Action,
        states: &[State],
        some: &[DeliveryId],
    ) -> Result<u64, WorkError> {
        let work = self.work.begin().await?;
        let mut moves = WorkMoves::default();
        let (_, changed) =
            change_those(&work, &self.shared, action, states, some, &mut moves).await?;
        if changed.is_empty() {
            return Ok(0);
        }
        let changed = changed.len() as u64;
        moves.count(&work).await?;
        note_in(&work, &self.shared, note, &changed).await?;
        work.commit().await?;
        moves.tell(&self.shared);
        Ok(changed)
    }

    /// Counts the next of those that `action` is for.
    pub(super) async fn preview_some(
        &self,
        action: Action,
        filter: DeliveryFilter,
        from: Option<Progress>,
    ) -> Result<Preview, StoreError> {
        self.shared.answers()?;
        let shown = if from.is_none() { SHOWN } else { 0 };
        let work = self.listings.read().await?;
        let found = find(&work, &action, &filter, from.as_ref()).await?;
        let ids = &found.deliveries[..shown.min(found.deliveries.len())];
        let events: Vec<i64> = ids.iter().map(|id| id.event.row()).collect();
        let ordinals: Vec<i32> = ids.iter().map(|id| small(id.ordinal)).collect();
        let views = delivery_views(&work, &events, Some(&ordinals), ShownAs::WHOLE).await?;
        work.commit().await?;
        let place = |id: &DeliveryId| views.iter().find(|view| view.id == *id).cloned();
        let first = ids.iter().filter_map(place).collect();
        let deliveries = found.deliveries.len() as u64;
        let next =
            found.rest.map(|at| Progress { before: found.before, at: Some(at), changed: false });
        Ok(Preview { deliveries, first, next })
    }
}
