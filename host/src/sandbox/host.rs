//! The imports that the host offers to guests.
//!
//! Each file is one import: how it is linked, what it holds for an attempt, what of that is
//! recorded, and whether it is a capability. `list` has one entry for each of them; the check of
//! imports, approvals, texts and documents read that list.

mod config;
mod guest_log;
mod http;
mod import;
mod kv;
mod list;
mod log;
mod state;
mod stdout;
mod steps;
mod types;
mod wasi;

pub use kv::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use list::Capability;

pub(super) use import::Offer;
pub(super) use list::{HostState, offers};
pub(super) use state::{AttemptState, Stopped};
pub(super) use stdout::{EmittedLines, Stdio};
