//! How often files are looked at.

/// How often files are looked at, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReloadTiming {
    /// Events that come closer together than this are one. It may be short, because a file counts
    /// as settled only if two scans find the same.
    pub debounce_ms: u64,
    /// The time between two scans without an event, for file systems that send none.
    pub poll_ms: u64,
    /// The same while files cannot be watched, or one is held.
    pub unwatched_poll_ms: u64,
}

impl Default for ReloadTiming {
    fn default() -> Self {
        Self { debounce_ms: 25, poll_ms: 30_000, unwatched_poll_ms: 2_000 }
    }
}
