//! The kinds of plugin: how each is handed an event, and how its answer is read.

mod command;
mod contract;
mod ended;
mod handler;
mod http;
mod instance;
mod times;

pub use contract::Contract;

pub(super) use ended::Ended;
pub(super) use instance::{EntryPoint, PluginInstance};
