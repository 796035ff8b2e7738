//! The kinds of plugin: how each is handed an event, and how its answer is read.

pub(super) mod command;
pub(super) mod handler;
pub(super) mod http;
