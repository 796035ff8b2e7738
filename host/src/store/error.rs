//! The errors of store calls.

/// The reason why a store call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Too many requests wait for the disk; try again.
    #[error("the writer is saturated: {waiting} requests wait for the disk")]
    Saturated {
        /// The number of requests.
        waiting: usize,
    },
    /// The disk is full or read-only; nothing was written, and it may pass.
    #[error("the disk refuses to store: {0}")]
    Unavailable(String),
    /// The database does not answer; it may pass.
    #[error("the database is not reachable: {0}")]
    Unreachable(String),
    /// The database would keep it on one server, and two are required; nothing was acknowledged.
    #[error("the store acknowledges no event: {0}")]
    NotReplicated(String),
    /// The store's files were moved, removed or exchanged while it ran; nothing was written, and it
    /// may pass.
    #[error("the store's files are not where they were: {0}")]
    Lost(String),
    /// The store uses all the disk space it may; accepted events are still handled.
    #[error("the store is full: {0}")]
    Full(String),
    /// The store cannot be trusted any more and has stopped; the host must exit.
    #[error("the store has stopped: {0}")]
    Stopped(String),
    /// A single read failed.
    #[error("a query failed: {0}")]
    Query(String),
    /// This kind of store does not do it in this version; nothing was changed.
    #[error("this store does not support {0} in this version")]
    Unsupported(&'static str),
    /// No such event or delivery.
    #[error("there is no {0}")]
    NotFound(String),
    /// The state of the delivery or event does not allow the call.
    #[error("{0}")]
    Conflict(String),
}
