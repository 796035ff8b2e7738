//! Tokens that say nothing of the body: each is good for one event.
//!
//! The token of a captured request proves any body, so a token that came before is no proof of
//! another event. Such a request is refused and not called a duplicate: a provider that gives two
//! events of one second the same token sends the second one again, with a new token. A retry may
//! have a new token as well: the store keeps it for the event that is repeated
//! (`NewEvent::spends`).

use bytes::Bytes;

use super::reply::Rejection;
use super::verify::Refusal;
use crate::config::source::Source;
use crate::event::{EventId, NewEvent};
use crate::store::Read;

/// The attributes of an event that its request names.
#[derive(Debug)]
pub(super) struct SentEvent {
    id: Option<String>,
    body: Bytes,
}

impl SentEvent {
    /// For a source that takes a token once, because it says nothing of the body.
    pub(super) fn to_check(source: &Source, event: &NewEvent) -> Option<Self> {
        source
            .takes_tokens_once()
            .then(|| Self { id: event.provider_id.clone(), body: event.attributes.body.clone() })
    }

    /// Refuses a request that has nothing but its token in common with the event that it was taken
    /// for.
    pub(super) async fn check(self, known: EventId, reads: &dyn Read) -> Result<(), Rejection> {
        let known = reads.event(known).await?;
        let same_id = self.id.is_some() && self.id == known.provider_id;
        let same_body = known.emptied.is_some() || self.body == known.event.attributes.body;
        if same_id || same_body { Ok(()) } else { Err(Refusal::UsedToken.into()) }
    }
}
