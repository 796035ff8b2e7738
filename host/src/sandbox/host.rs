//! What the host offers to guests, one file a capability.

pub(super) mod http;
pub(super) mod kv;
pub(super) mod log;
pub(super) mod state;
pub(super) mod wasi;
