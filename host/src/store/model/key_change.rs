//! Changes of values by clients.

use std::time::Duration;

use crate::event::PluginName;

/// A value that a client sets or deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The bucket.
    pub bucket: PluginName,
    /// The key.
    pub key: String,
    /// The new value; `None` deletes.
    pub value: Option<Vec<u8>>,
    /// The state of the key that the client expects.
    pub expected: KeyExpected,
    /// The value is deleted when nobody has written it for so long; never, if absent.
    pub ttl: Option<Duration>,
}

/// The state that a client expects of a key that it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExpected {
    /// Any state.
    Anything,
    /// There is no value.
    Absent,
    /// The value has this version.
    Version(i64),
}

impl KeyChange {
    /// Why the change is not made, if the key has this version; for people.
    pub(in crate::store) fn refusal(&self, found: Option<i64>) -> Option<String> {
        let Self { bucket, key, value, expected, .. } = self;
        let key = crate::text::plain(key, 80);
        let now = || match found {
            Some(version) => format!("its version is {version} now"),
            None => "it is not there now".to_owned(),
        };
        match (expected, found) {
            (KeyExpected::Anything, None) if value.is_none() => {
                Some(format!("bucket `{bucket}` has no key `{key}`"))
            }
            (KeyExpected::Anything, _) | (KeyExpected::Absent, None) => None,
            (KeyExpected::Version(wanted), Some(version)) if *wanted == version => None,
            (KeyExpected::Absent, Some(_)) => Some(format!(
                "the key `{key}` of bucket `{bucket}` is there already: {}; look at it, and name \
                 that version",
                now()
            )),
            (KeyExpected::Version(_), _) => Some(format!(
                "the key `{key}` of bucket `{bucket}` has changed meanwhile: {}; look at it again",
                now()
            )),
        }
    }
}
