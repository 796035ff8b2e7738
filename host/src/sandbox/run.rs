//! One attempt, from its instance to its verdict.

mod emitted;
mod invoke;
mod linked;
mod outcome;
mod plugin;
mod sandbox;
mod warm;

pub use plugin::Plugin;
pub use sandbox::{Sandbox, SandboxError, SandboxOptions};

pub(super) use linked::PluginFacts;
pub(super) use sandbox::Core;
