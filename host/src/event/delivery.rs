//! A delivery: which plugin gets an event, on which terms, and how far it has come.

use std::sync::Arc;

use serde::Serialize;

use super::key::{Key, KeySource};
use crate::names::PluginName;

/// A plugin that an event goes to: one item of a line of `[routes]`. Every event that the line
/// matches shares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The plugin that handles the event.
    pub plugin: PluginName,
    /// The terms of the delivery.
    pub options: TargetOptions,
}

/// The terms of a delivery beside its plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetOptions {
    /// The delivery is not due before this many milliseconds from now.
    pub delay_ms: u64,
    /// Names the item of the route, if events can cancel its deliveries: see
    /// [`NewEvent::cancels`](super::NewEvent).
    pub cancel_tag: Option<i64>,
    /// The part of the event that is the delivery's key, if the plugin's deliveries are ordered by
    /// one.
    pub key: Option<KeySource>,
}

/// A delivery that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// The plugin that gets the event, and the terms.
    pub target: Arc<Target>,
    /// The delivery's key, if the plugin's deliveries are ordered by one and the event has it.
    pub key: Option<Key>,
}

impl From<Arc<Target>> for NewDelivery {
    /// A delivery without a key.
    fn from(target: Arc<Target>) -> Self {
        Self { target, key: None }
    }
}

impl Target {
    /// A plugin on the usual terms.
    pub fn to(plugin: impl Into<PluginName>) -> Arc<Self> {
        Arc::new(Self { plugin: plugin.into(), options: TargetOptions::default() })
    }
}

/// The state of a delivery. See the diagram in [`crate::store`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Due, and not leased.
    Ready,
    /// Leased by a worker.
    Leased,
    /// Not due yet: a retry or a delayed event.
    Waiting,
    /// Settled with success.
    Done,
    /// Settled without success: a dead letter.
    Dead,
    /// Ended by an operator, or by an event, before it was settled: only its attempts are stored.
    Cancelled,
    /// A dead letter that an operator has discarded.
    Discarded,
}

impl State {
    /// Every state, in the order of [`State::code`].
    pub const ALL: [Self; 7] = [
        Self::Ready,
        Self::Leased,
        Self::Waiting,
        Self::Done,
        Self::Dead,
        Self::Cancelled,
        Self::Discarded,
    ];

    /// Whether nothing more becomes of it, unless an operator asks for it.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled | Self::Discarded)
    }

    /// The stored form.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads the stored form.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// Reads the name people write.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}
