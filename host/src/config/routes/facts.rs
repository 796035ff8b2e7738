//! An event as routes see it.

use std::sync::OnceLock;

use serde_json::Value;

use crate::event::Attributes;

/// An event as routes see it.
#[derive(Debug)]
pub struct Facts<'e> {
    /// Its attributes and body.
    pub attributes: &'e Attributes,
    /// Its kept request headers, names in lower case.
    pub headers: &'e [(String, String)],
    /// Number of plugins it has passed.
    pub hops: u32,
    /// Its body, parsed when it is first asked for; `None` if it is not JSON.
    json: OnceLock<Option<Value>>,
}

impl<'e> Facts<'e> {
    /// The facts of an event.
    pub fn new(attributes: &'e Attributes, headers: &'e [(String, String)], hops: u32) -> Self {
        Self { attributes, headers, hops, json: OnceLock::new() }
    }

    /// Its body, if that is JSON.
    pub(super) fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_slice(&self.attributes.body).ok()).as_ref()
    }
}
