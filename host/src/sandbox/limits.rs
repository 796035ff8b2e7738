//! Bounds of an attempt that nobody configures, and the budget that keeps its memory and tables
//! within those that are configured ([`Limits`]).

use std::time::Duration;

use wasmtime::{ResourceLimiter, Result};

use crate::config::Limits;
use crate::retry;

/// The longest timeout; a longer one is shortened to it. One day, in milliseconds.
pub(super) const MAX_TIMEOUT_MS: u64 = 24 * 3600 * 1000;

/// How long after the deadline an attempt may still end by itself, in milliseconds.
pub(super) const SLACK_MS: u64 = 5;

/// The largest single linear memory, in bytes, whatever an attempt is allowed in total.
pub(super) const MAX_ONE_MEMORY_BYTES: usize = 256 << 20;

/// Added to the limit of one call for the host's bookkeeping of it, in bytes.
pub(super) const CALL_BOOKKEEPING_BYTES: usize = 64 << 10;

/// The longest delay of an emitted event: 366 days, in milliseconds.
pub(super) const MAX_EMITTED_DELAY_MS: u64 = 366 * 24 * 3600 * 1000;

/// The longest time until a handler that asks for it is called again.
pub(super) const MAX_AGAIN: Duration = Duration::from_millis(retry::MAX_DELAY_MS);

/// Header fields of one request or response of a guest, as they lie in memory, in bytes.
pub(super) const MAX_FIELDS_BYTES: usize = 64 << 10;

/// Names the key of the configuration that sets a limit.
pub(super) fn set_by(key: &str) -> String {
    format!("`{key}` under its [plugins] section sets the limit")
}

/// Counts all linear memories and tables of one attempt against one limit.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit_bytes: usize,
    limit_elements: usize,
    elements: usize,
    used_bytes: usize,
    peak_bytes: usize,
    refused: Option<MemoryRefusal>,
}

/// Why memory was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryRefusal {
    /// All memories together would have passed this limit, in bytes.
    Budget(usize),
    /// One memory would have passed [`MAX_ONE_MEMORY_BYTES`].
    OneMemory,
    /// All tables together would have passed this limit, in elements.
    Tables(usize),
}

impl MemoryBudget {
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { memory_bytes: limit_bytes, table_elements: limit_elements, .. } = *limits;
        Self {
            limit_bytes,
            limit_elements,
            elements: 0,
            used_bytes: 0,
            peak_bytes: 0,
            refused: None,
        }
    }

    /// Begins another attempt in the same memories.
    pub(super) fn renew(&mut self, limits: &Limits) {
        // Wasm memory never shrinks, so what is there still counts.
        let Self { elements, used_bytes, .. } = *self;
        *self = Self { elements, used_bytes, peak_bytes: used_bytes, ..Self::new(limits) };
    }

    /// Whether less than a quarter is left, so that a new instance serves the next event better.
    pub(super) fn nearly_used_up(&self) -> bool {
        self.used_bytes > self.limit_bytes / 4 * 3
    }

    /// The most memory held, in bytes.
    pub(super) fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Why the guest was refused memory, if it was: the cause of a trap that follows.
    pub(super) fn refused(&self) -> Option<MemoryRefusal> {
        self.refused
    }

    /// Counts a growth. A granted one fails only if the host has no memory, so nothing is
    /// ever subtracted again.
    fn grow(&mut self, from_bytes: usize, to_bytes: usize) -> bool {
        let used_bytes = self.used_bytes.saturating_add(to_bytes.saturating_sub(from_bytes));
        if used_bytes > self.limit_bytes {
            self.refused = Some(MemoryRefusal::Budget(self.limit_bytes));
            return false;
        }
        self.used_bytes = used_bytes;
        self.peak_bytes = self.peak_bytes.max(used_bytes);
        true
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The guest's own limit.
            return Ok(false);
        }
        // With a smaller limit the budget refuses it, and names a setting that can be raised.
        if desired > MAX_ONE_MEMORY_BYTES && self.limit_bytes > MAX_ONE_MEMORY_BYTES {
            self.refused = Some(MemoryRefusal::OneMemory);
            return Ok(false);
        }
        Ok(self.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let elements = self.elements.saturating_add(desired.saturating_sub(current));
        if elements > self.limit_elements {
            self.refused = Some(MemoryRefusal::Tables(self.limit_elements));
            return Ok(false);
        }
        // Each element takes a pointer of the host's memory, so tables count in the budget too.
        let granted = self.grow(
            current.saturating_mul(size_of::<usize>()),
            desired.saturating_mul(size_of::<usize>()),
        );
        if granted {
            self.elements = elements;
        }
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    fn budget(memory_bytes: usize) -> MemoryBudget {
        MemoryBudget::new(&Limits { memory_bytes, ..Limits::default() })
    }

    #[test]
    fn memories_and_tables_share_one_budget() {
        let mut budget = budget(3 * PAGE);
        assert!(budget.memory_growing(0, PAGE, None).unwrap());
        assert!(budget.memory_growing(0, PAGE, None).unwrap());
        assert!(budget.table_growing(0, PAGE / 16, None).unwrap());
        assert_eq!(budget.refused(), None);
        assert!(!budget.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert_eq!(budget.refused(), Some(MemoryRefusal::Budget(3 * PAGE)));
        assert_eq!(budget.peak_bytes(), 2 * PAGE + PAGE / 2);
    }

    #[test]
    fn tables_have_a_limit_of_their_own_together() {
        let mut budget = MemoryBudget::new(&Limits { table_elements: 10, ..Limits::default() });
        assert!(
            budget.table_growing(0, 6, None).unwrap() && budget.table_growing(0, 4, None).unwrap()
        );
        assert!(!budget.table_growing(4, 5, None).unwrap());
        assert_eq!(budget.refused(), Some(MemoryRefusal::Tables(10)));
        budget.renew(&Limits { table_elements: 11, ..Limits::default() });
        assert!(budget.table_growing(4, 5, None).unwrap(), "what is there stays counted");
        assert!(!budget.table_growing(5, 6, None).unwrap());
    }

    #[test]
    fn a_guests_own_maximum_is_not_held_against_the_limit() {
        let mut budget = budget(3 * PAGE);
        assert!(!budget.memory_growing(PAGE, 2 * PAGE, Some(PAGE)).unwrap());
        assert!(!budget.table_growing(1, 2, Some(1)).unwrap());
        assert_eq!((budget.refused(), budget.peak_bytes()), (None, 0));
    }

    #[test]
    fn a_single_memory_has_a_limit_of_its_own() {
        let mut budget = budget(usize::MAX);
        assert!(!budget.memory_growing(PAGE, MAX_ONE_MEMORY_BYTES + PAGE, None).unwrap());
        assert_eq!(budget.refused(), Some(MemoryRefusal::OneMemory));
        assert!(budget.memory_growing(PAGE, MAX_ONE_MEMORY_BYTES, None).unwrap());
    }
}
