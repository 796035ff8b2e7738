//! How the host talks to a plugin.

use std::fmt;

/// How the host talks to a plugin, chosen from what the file exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// A component that exports `hookbox:plugin/handler`: called with the event, answers with
    /// events.
    Handler,
    /// A component that exports `wasi:http/incoming-handler`: gets the event as a POST in
    /// CloudEvents binary mode.
    Http,
    /// A command: gets the event as CloudEvents JSON on its standard input. Either a component that
    /// exports `wasi:cli/run`, or a core module for WASI preview 1.
    Command,
}

impl Contract {
    /// Whether an instance can handle more than one event. A command runs once.
    pub fn reusable(self) -> bool {
        match self {
            Self::Handler | Self::Http => true,
            Self::Command => false,
        }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "handler",
            Self::Http => "http",
            Self::Command => "command",
        })
    }
}
