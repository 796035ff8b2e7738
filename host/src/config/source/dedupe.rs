//! The keys by which a repeated request is recognised: `dedupe = ["id", "body", "timestamp+body"]`,
//! `"signed"`, or `"none"`.

use std::fmt;

use super::signature::Signature;

/// A key of a request. A request that has it in common with an earlier one of its source is a
/// duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DedupeBy {
    /// The provider's id of the delivery.
    Id,
    /// Type and body.
    Body,
    /// The timestamp's text, type and body.
    TimestampAndBody,
    /// The text that is signed, however the request is written.
    Signed,
}

impl DedupeBy {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Body => "body",
            Self::TimestampAndBody => "timestamp+body",
            Self::Signed => "signed",
        }
    }
}

/// Ids that name no event, as some providers send with test events: they are no key.
///
/// Such an id is made of `prefix` and zeros alone, and the JSON body holds `value` at `pointer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The text before the zeros.
    pub prefix: String,
    /// An RFC 6901 pointer into the JSON body.
    pub pointer: String,
    /// The text of the string, number or boolean there.
    pub value: String,
}

/// The rule by which a request of a source is a duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    /// The keys: a request with any of them known is a duplicate. Without keys nothing is one.
    pub keys: Vec<DedupeBy>,
    /// Whether neither the section nor its preset names the keys.
    pub is_default: bool,
    /// Whether the keys are those of a preset whose events may have equal bodies.
    pub bodies_repeat: bool,
    /// Ids that are no key.
    pub placeholder: Option<Placeholder>,
}

impl Dedupe {
    /// The rule of a section that names its keys.
    pub fn by(keys: impl Into<Vec<DedupeBy>>) -> Self {
        Self { keys: keys.into(), is_default: false, bodies_repeat: false, placeholder: None }
    }

    /// Whether requests that are checked by this rule have a key of the text that it signs.
    ///
    /// By default not where the signature binds the body: other keys are as good there, and this
    /// one costs a digest.
    pub fn goes_by_signed(&self, rule: &Signature) -> bool {
        self.keys.contains(&DedupeBy::Signed) && !(self.is_default && rule.binds_body())
    }

    /// Whether two events of equal type and body are one, and the user has not chosen that.
    ///
    /// Other keys beside the body are no help: one that two requests have in common is enough.
    pub fn is_body_for_want_of_better(&self) -> bool {
        (self.is_default || self.bodies_repeat) && self.keys.contains(&DedupeBy::Body)
    }
}

impl fmt::Display for Dedupe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keys.is_empty() {
            return f.write_str("none");
        }
        for (index, key) in self.keys.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(key.name())?;
        }
        Ok(())
    }
}
