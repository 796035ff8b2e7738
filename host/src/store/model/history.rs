//! Stored samples of the meters.

use crate::series::{COUNTS, Spread};

/// Times of which samples are kept: 14 days of five minutes each.
pub const MAX_SAMPLES: u32 = 14 * 24 * 12;

/// The acts of an owner in the five minutes until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSample {
    /// Their end, Unix ms of the wall clock.
    pub at_ms: i64,
    /// How often what happened.
    pub counts: [u32; COUNTS],
    /// How long it took.
    pub durations: Spread,
}
