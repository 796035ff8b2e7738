//! The limits of an attempt that nobody configures, and the budget that keeps its memory within the one that is.

use wasmtime::{ResourceLimiter, Result};

/// The longest timeout; a longer one is shortened to it. One day, in milliseconds.
pub(super) const MAX_TIMEOUT_MS: u64 = 24 * 3600 * 1000;

/// How long after the deadline an attempt may still come to its own end, in milliseconds.
pub(super) const SLACK_MS: u64 = 5;

/// The largest single linear memory, in bytes, whatever an attempt is allowed in all.
pub(super) const MAX_ONE_MEMORY_BYTES: usize = 256 << 20;

/// What a guest may hand over in one call to the host, its answer included, in bytes. Leaves room for the bookkeeping
/// of [`MAX_EMITTED_BYTES`].
pub(super) const MAX_CALL_BYTES: usize = MAX_EMITTED_BYTES + (64 << 10);

/// Events that one attempt may emit.
pub(super) const MAX_EMITTED: usize = 256;

/// Bytes of all emitted events of one attempt.
pub(super) const MAX_EMITTED_BYTES: usize = 4 << 20;

/// How far ahead an emitted event may be put off: 366 days, in milliseconds.
pub(super) const MAX_EMITTED_DELAY_MS: u64 = 366 * 24 * 3600 * 1000;

/// Resource handles of one attempt, on either side.
pub(super) const MAX_HANDLES: usize = 1_000;

/// Random bytes in one call.
pub(super) const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// Header fields of one request or response of a guest, as they lie in memory, in bytes.
pub(super) const MAX_FIELDS_BYTES: usize = 64 << 10;

/// Counts all linear memories and tables of one attempt against one limit.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit_bytes: usize,
    used_bytes: usize,
    peak_bytes: usize,
    refused: Option<Refused>,
}

/// Why memory was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// All memories together would have passed this limit, in bytes.
    Budget(usize),
    /// One memory would have passed [`MAX_ONE_MEMORY_BYTES`].
    OneMemory,
}

impl MemoryBudget {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, used_bytes: 0, peak_bytes: 0, refused: None }
    }

    /// Another attempt begins in the same memories.
    pub(super) fn renew(&mut self, limit_bytes: usize) {
        *self = Self { limit_bytes, peak_bytes: self.used_bytes, refused: None, ..*self };
    }

    /// Whether so little is left that a guest had better begin anew: less than a quarter.
    pub(super) fn nearly_used_up(&self) -> bool {
        self.used_bytes > self.limit_bytes / 4 * 3
    }

    /// The most it held, in bytes.
    pub(super) fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Whether the guest was refused memory: then a trap that follows is no accident.
    pub(super) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// A growth that is granted succeeds but for want of memory of the host, so nothing is ever given back.
    fn grow(&mut self, from_bytes: usize, to_bytes: usize) -> bool {
        let used_bytes = self.used_bytes.saturating_add(to_bytes.saturating_sub(from_bytes));
        if used_bytes > self.limit_bytes {
            self.refused = Some(Refused::Budget(self.limit_bytes));
            return false;
        }
        self.used_bytes = used_bytes;
        self.peak_bytes = self.peak_bytes.max(used_bytes);
        true
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The guest's own limit, and its own business.
            return Ok(false);
        }
        if desired > MAX_ONE_MEMORY_BYTES && self.limit_bytes > MAX_ONE_MEMORY_BYTES {
            self.refused = Some(Refused::OneMemory);
            return Ok(false);
        }
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current.saturating_mul(size_of::<usize>()), desired.saturating_mul(size_of::<usize>())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    #[test]
    fn memories_and_tables_share_one_budget() {
        let mut budget = MemoryBudget::new(3 * PAGE);
        assert!(budget.memory_growing(0, PAGE, None).unwrap());
        assert!(budget.memory_growing(0, PAGE, None).unwrap());
        assert!(budget.table_growing(0, PAGE / 16, None).unwrap());
        assert_eq!(budget.refused(), None);
        assert!(!budget.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert_eq!(budget.refused(), Some(Refused::Budget(3 * PAGE)));
        assert_eq!(budget.peak_bytes(), 2 * PAGE + PAGE / 2);
    }

    #[test]
    fn a_guests_own_maximum_is_not_held_against_the_limit() {
        let mut budget = MemoryBudget::new(3 * PAGE);
        assert!(!budget.memory_growing(PAGE, 2 * PAGE, Some(PAGE)).unwrap());
        assert!(!budget.table_growing(1, 2, Some(1)).unwrap());
        assert_eq!((budget.refused(), budget.peak_bytes()), (None, 0));
    }

    #[test]
    fn a_single_memory_has_a_limit_of_its_own() {
        let mut budget = MemoryBudget::new(usize::MAX);
        assert!(!budget.memory_growing(PAGE, MAX_ONE_MEMORY_BYTES + PAGE, None).unwrap());
        assert_eq!(budget.refused(), Some(Refused::OneMemory));
        assert!(budget.memory_growing(PAGE, MAX_ONE_MEMORY_BYTES, None).unwrap());
    }
}
