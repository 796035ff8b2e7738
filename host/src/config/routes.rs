//! The route table: event type patterns → plugins.
//!
//! `*` stands for one dotted segment, `**` for any number, also none; `SOURCE:` in front narrows a pattern to one
//! source. Every pattern that matches applies; a plugin gets an event once.

use crate::event::PluginName;

/// The checked route table, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
}

/// One line of `[routes]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// As written.
    pub pattern: String,
    /// What it maps to.
    pub plugins: Vec<PluginName>,
}
