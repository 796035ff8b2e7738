//! Requests without a signature: callbacks of single jobs, to an address that nobody can guess.

use std::sync::Arc;

use secrecy::SecretString;

/// The rule for callbacks of a source: `callback = …`.
#[derive(Debug, Clone, Default)]
pub struct CallbackRule {
    /// The last part of the address; absent until it is made.
    pub token: Option<SecretString>,
    /// The key that a callback must be waited for under, if any.
    pub known: Option<KnownKey>,
}

/// A key of a bucket, with the subject of the event in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The bucket.
    pub bucket: Arc<str>,
    /// The text in front of the subject.
    pub before: String,
    /// The text behind it.
    pub after: String,
}

impl KnownKey {
    /// The key for an event with this subject.
    pub fn of(&self, subject: &str) -> String {
        format!("{}{subject}{}", self.before, self.after)
    }
}
