//! Progress on stderr: a bar on a terminal, nothing elsewhere.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::env;

/// A bar; it is gone when dropped.
#[derive(Debug)]
pub(super) struct ProgressLine(ProgressBar);

impl ProgressLine {
    /// A bar of `length` behind `what`.
    pub(super) fn new(what: &str, length: u64) -> Self {
        if !stderr().is_terminal() || env::is_dumb_terminal() {
            return Self(ProgressBar::hidden());
        }
        let template = format!("{what}  {{bar:40}}  {{msg}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self(ProgressBar::new(length).with_style(style))
    }

    /// Shows the position, and a message beside the bar.
    pub(super) fn show(&self, position: u64, message: String) {
        self.0.set_message(message);
        self.0.set_position(position);
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
