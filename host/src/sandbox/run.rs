//! One attempt, from its instance to its verdict.

pub(super) mod emitted;
pub(super) mod invoke;
pub(super) mod outcome;
pub(super) mod warm;
