//! The page that says what an action will do, before it does it.

use askama::Template;

use super::form::once;
use super::frame::PageFrame;
use super::parts::html::Html;

/// A choice of a confirmation.
#[derive(Debug)]
pub(in crate::admin::page) struct Choice {
    /// `radio`, `checkbox`, `text` for a number, or `line` for a line of text.
    pub(in crate::admin::page) kind: &'static str,
    pub(in crate::admin::page) name: &'static str,
    pub(in crate::admin::page) value: String,
    pub(in crate::admin::page) label: String,
    pub(in crate::admin::page) checked: bool,
}

/// The effect of an action, and the form that does it.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(in crate::admin::page) struct ConfirmPage {
    pub(in crate::admin::page) frame: PageFrame,
    pub(in crate::admin::page) heading: String,
    /// The effect, and why it may be a mistake.
    pub(in crate::admin::page) lines: Vec<Html>,
    /// Where the form goes.
    pub(in crate::admin::page) action: String,
    pub(in crate::admin::page) hidden: Vec<(&'static str, String)>,
    pub(in crate::admin::page) choices: Vec<Choice>,
    pub(in crate::admin::page) button: String,
    pub(in crate::admin::page) is_grave: bool,
    /// Where to go back to.
    pub(in crate::admin::page) back: String,
}

impl ConfirmPage {
    /// The name of its form.
    fn once(&self) -> String {
        once()
    }
}
