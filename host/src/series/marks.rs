//! Changes by people, shown beside the curves: a rise after one of them is its usual effect.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Marks that are kept, the newest ones.
pub const MAX_MARKS: usize = 256;

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When, Unix ms of the wall clock.
    pub at_ms: i64,
    /// The thing that was changed: `config` or `plugin`.
    pub what: &'static str,
    /// The plugin's name, or nothing.
    pub name: String,
    /// The result, such as `loaded`.
    pub result: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<VecDeque<Mark>>);

impl Marks {
    pub(super) fn push(&self, mark: Mark) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= MAX_MARKS {
            marks.pop_front();
        }
        marks.push_back(mark);
    }

    pub(super) fn since(&self, since_ms: i64) -> Vec<Mark> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().filter(|mark| mark.at_ms >= since_ms).cloned().collect()
    }
}
