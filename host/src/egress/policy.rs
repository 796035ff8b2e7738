//! Decides whether a request may be sent, where to, and with which headers. Nothing here does I/O.

mod address;
pub(super) mod headers;
pub(super) mod rules;
mod target;

pub(super) use address::AddressClass;
pub(super) use target::{RequestTarget, TargetHost};
