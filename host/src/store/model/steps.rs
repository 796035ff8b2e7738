//! The types of steps, and of deliveries whose handler asks to be called again.

use std::time::Duration;

use super::Lease;
use crate::event::{DeliveryId, Digest, PluginName};

/// The holder of a lease, without the event and the permits. Only the store makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseHolder {
    pub(in crate::store) delivery: DeliveryId,
    pub(in crate::store) plugin: PluginName,
    pub(in crate::store) attempt: u32,
}

impl LeaseHolder {
    /// The delivery.
    pub fn delivery(&self) -> DeliveryId {
        self.delivery
    }
}

impl Lease {
    /// The holder of this lease.
    pub fn holder(&self) -> LeaseHolder {
        LeaseHolder { delivery: self.delivery, plugin: self.plugin.clone(), attempt: self.attempt }
    }

    /// Whether earlier attempts of the delivery may have recorded steps.
    pub fn has_steps(&self) -> bool {
        self.terms.has_steps
    }

    /// How often the delivery's handler has asked to be called again.
    pub fn again(&self) -> AgainSoFar {
        self.terms.again
    }
}

/// The result of a step that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStep {
    /// The name, which the delivery has once.
    pub name: String,
    /// The result.
    pub value: Vec<u8>,
    /// SHA-256 of the plugin file that made it, absent when there is none.
    pub digest: Option<Digest>,
}

/// The answer to recording a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is durable, or the delivery has a result under this name already, which stays.
    Kept,
    /// Another lease has taken the delivery over, or it is settled. Nothing was recorded.
    Lost,
}

/// A recorded step, without its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepView {
    /// The name.
    pub name: String,
    /// Bytes of the result.
    pub bytes: u64,
    /// The number of the attempt that recorded it.
    pub attempt: u32,
    /// SHA-256 of the plugin file that made it.
    pub digest: Option<Digest>,
    /// The time by the wall clock, Unix ms.
    pub recorded_at_ms: i64,
}

/// How often a delivery's handler has asked to be called again since it began, or since an
/// operator's retry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AgainSoFar {
    /// The number of times.
    pub count: u32,
    /// The time since the first one; zero if there was none.
    pub since: Duration,
}
