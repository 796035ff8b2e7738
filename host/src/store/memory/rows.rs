//! An event and a delivery, as they are kept.

use std::collections::BTreeMap;

use crate::event::{DedupeKey, DeliveryId, State};
use crate::store::{DeliveryView, EventView, StepView};

#[derive(Debug)]
pub(super) struct StoredEvent {
    /// Without its deliveries and children.
    pub(super) view: EventView,
    pub(super) keys: Vec<DedupeKey>,
    /// The wall clock when it was stored.
    pub(super) wall_ms: i64,
}

#[derive(Debug)]
pub(super) struct StoredDelivery {
    /// With its due time by host time, also where that is not shown.
    pub(super) view: DeliveryView,
    pub(super) uncounted: u32,
    pub(super) crashes: u32,
    pub(super) deaths: u32,
    /// Recorded steps with their results, by name.
    pub(super) steps: BTreeMap<String, (StepView, Vec<u8>)>,
    /// Host time when its handler first asked to be called again.
    pub(super) first_again_ms: Option<i64>,
}

impl StoredDelivery {
    pub(super) fn new(view: DeliveryView) -> Self {
        let (steps, first_again_ms) = (BTreeMap::new(), None);
        Self { view, uncounted: 0, crashes: 0, deaths: 0, steps, first_again_ms }
    }

    pub(super) fn due_ms(&self) -> i64 {
        match self.view.due_ms {
            Some(due_ms) if self.view.state != State::Leased => due_ms,
            _ => i64::MAX,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.view.state, State::Ready | State::Leased | State::Waiting)
    }
}

/// The last write of a value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LastWrite {
    /// When the value expires, by host time.
    pub(super) expires_ms: Option<i64>,
    /// The attempt that wrote it.
    pub(super) writer: Option<(DeliveryId, u32)>,
}
