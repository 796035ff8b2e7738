//! The file in which a registration is kept: `data_dir/secrets/NAME.registered`.
//!
//! The command line writes it, whole and for this user alone, and the host reads it with the
//! configuration. The secret of a rotation comes first; the ones before it stay until their time.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::names::is_source_name;

/// The ending of the file's name, after the name of the source.
const ENDING: &str = ".registered";

/// The ending of the file that holds the token of callbacks.
const CALLBACK_ENDING: &str = ".callback";

/// The length of such a token, in hex digits.
const CALLBACK_DIGITS: usize = 32;

/// The longest file that is read, in bytes.
pub const MAX_BYTES: u64 = 16 << 10;

/// The most secrets that are kept; the oldest ones go first.
const MAX_SECRETS: usize = 4;

/// The most secrets of handshakes that are kept: a provider has one for each webhook.
const MAX_BESIDE: usize = 8;

/// The id of an endpoint that only its handshake has told of.
const HANDSHAKE: &str = "handshake";

/// An address that is registered, with its secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The provider's name.
    pub provider: String,
    /// The provider's id of the endpoint.
    pub endpoint_id: String,
    /// The address that is registered.
    pub url: String,
    /// The types of events that the endpoint gets; none is every type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The secrets, the newest first.
    pub secrets: Vec<TimedSecret>,
}

/// A secret, and when it ends.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedSecret {
    /// The text, as the provider shows it.
    pub secret: String,
    /// When it ends, Unix ms; the newest one has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// The ending of a file in whose place another host's version was put.
const REPLACED: &str = ".replaced";

/// The name of the file of a source.
pub fn file_name(source: &str) -> String {
    format!("{source}{ENDING}")
}

/// The name of the file with the token of a source's callbacks.
pub fn callback_file_name(source: &str) -> String {
    format!("{source}{CALLBACK_ENDING}")
}

/// The name of the file beside one of these, which keeps what was in it before another host's
/// version.
pub fn replaced_file_name(name: &str) -> String {
    format!("{name}{REPLACED}")
}

/// Whether a file of this name belongs to all hosts that share a store.
pub fn is_shared_file(name: &str) -> bool {
    let source = name.strip_suffix(ENDING).or_else(|| name.strip_suffix(CALLBACK_ENDING));
    source.is_some_and(is_source_name)
}

/// Whether such a file holds a registration, or a token, as its name says.
pub fn is_whole(name: &str, content: &[u8]) -> bool {
    match name.ends_with(ENDING) {
        true => Registration::read(content).is_ok(),
        false => is_callback_token(content.trim_ascii()),
    }
}

/// Whether a text is such a token.
pub fn is_callback_token(text: &[u8]) -> bool {
    text.len() == CALLBACK_DIGITS && text.iter().all(u8::is_ascii_hexdigit)
}

impl Registration {
    /// Reads a file.
    ///
    /// # Errors
    /// It is damaged: how, for people. No byte of it is repeated.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(text).map_err(|error| {
            // The message of the parser may repeat a part of the text.
            format!("is not what hookbox wrote (line {}, column {})", error.line(), error.column())
        })?;
        match read.secrets.first() {
            None => Err("holds no secret".to_owned()),
            Some(first) if first.until_ms.is_some() => {
                Err("has an end for its newest secret".to_owned())
            }
            Some(_) if read.endpoint_id.is_empty() => Err("names no endpoint".to_owned()),
            Some(_) => Ok(read),
        }
    }

    /// The types that a command or a provider names, as they are kept: a star is every type.
    pub fn types(named: &[String]) -> Vec<String> {
        let is_every = named.iter().any(|kind| kind == "*");
        if is_every { Vec::new() } else { named.to_vec() }
    }

    /// Whether the endpoint gets events of a type.
    pub fn gets(&self, kind: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|of| of == kind)
    }

    /// The content of the file.
    pub fn text(&self) -> Zeroizing<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self).expect("texts and numbers are JSON");
        text.push(b'\n');
        Zeroizing::new(text)
    }

    /// A file for the secrets that a provider's handshakes bring.
    pub fn of_handshake(provider: &str) -> Self {
        let (endpoint_id, url) = (HANDSHAKE.to_owned(), String::new());
        let (provider, events) = (provider.to_owned(), Vec::new());
        Self { provider, endpoint_id, url, events, secrets: Vec::new() }
    }

    /// Whether there can be one more beside the others.
    ///
    /// # Errors
    /// There are too many; for people.
    pub fn has_place(&self) -> Result<(), String> {
        if self.secrets.len() < MAX_BESIDE {
            return Ok(());
        }
        Err(format!("it holds {MAX_BESIDE} secrets already, which are the most"))
    }

    /// Puts a secret in front; the others stay active beside it.
    ///
    /// # Errors
    /// There are too many; for people.
    pub fn add(&mut self, secret: &str) -> Result<(), String> {
        self.has_place()?;
        self.secrets.insert(0, TimedSecret { secret: secret.to_owned(), until_ms: None });
        Ok(())
    }

    /// Puts a new secret in front. Earlier secrets end at `until_ms`, or earlier if they were to;
    /// secrets that have ended at `now_ms` go.
    pub fn rotate(&mut self, secret: String, until_ms: i64, now_ms: i64) {
        self.secrets.retain(|kept| kept.secret != secret && !kept.has_ended(now_ms));
        for kept in &mut self.secrets {
            kept.until_ms = Some(kept.until_ms.map_or(until_ms, |its| its.min(until_ms)));
        }
        self.secrets.insert(0, TimedSecret { secret, until_ms: None });
        self.secrets.truncate(MAX_SECRETS);
    }
}

impl TimedSecret {
    /// Whether it has ended.
    pub fn has_ended(&self, now_ms: i64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }
}

/// Never shows a secret.
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("endpoint_id", &self.endpoint_id)
            .field("url", &self.url)
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TimedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedSecret").field("until_ms", &self.until_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration() -> Registration {
        let first = TimedSecret { secret: "whsec_first".to_owned(), until_ms: None };
        Registration {
            provider: "heygen".to_owned(),
            endpoint_id: "ep_1".to_owned(),
            url: "https://a.example/webhook/heygen".to_owned(),
            events: Vec::new(),
            secrets: vec![first],
        }
    }

    fn shown(registration: &Registration) -> Vec<(&str, Option<i64>)> {
        let secrets = registration.secrets.iter();
        secrets.map(|kept| (kept.secret.as_str(), kept.until_ms)).collect()
    }

    #[test]
    fn a_rotation_keeps_the_old_secret_until_its_time_and_never_longer_than_before() {
        let mut kept = registration();
        kept.rotate("b".to_owned(), 1_000, 0);
        assert_eq!(shown(&kept), [("b", None), ("whsec_first", Some(1_000))]);
        kept.rotate("c".to_owned(), 1_500, 500);
        assert_eq!(shown(&kept), [("c", None), ("b", Some(1_500)), ("whsec_first", Some(1_000))]);
        kept.rotate("d".to_owned(), 2_000, 1_000);
        assert_eq!(shown(&kept), [("d", None), ("c", Some(2_000)), ("b", Some(1_500))]);
        kept.rotate("d".to_owned(), 1_800, 1_000);
        assert_eq!(shown(&kept)[0], ("d", None), "the same again is there once");
        assert_eq!(Registration::read(&kept.text()).unwrap(), kept);
        assert!(!format!("{kept:?}").contains("whsec"));
    }

    #[test]
    fn hosts_share_registrations_and_tokens_of_callbacks_and_no_other_file() {
        for name in ["heygen.registered", "heygen.callback"] {
            assert!(is_shared_file(name), "{name}");
        }
        for name in ["heygen", "heygen.pair", ".registered", "../a.callback", "a.registered.b"] {
            assert!(!is_shared_file(name), "{name}");
        }
        let (whole, token) = (registration().text(), [b'a'; CALLBACK_DIGITS]);
        assert!(is_whole("a.registered", &whole) && is_whole("a.callback", &token));
        assert!(!is_whole("a.registered", &token) && !is_whole("a.callback", &whole));
    }

    #[test]
    fn a_damaged_file_is_told_without_a_byte_of_it() {
        let whole = registration().text().to_vec();
        let mut cases = vec![
            b"whsec_a_bare_secret".to_vec(),
            whole[..whole.len() / 2].to_vec(),
            br#"{"whsec_key":1}"#.to_vec(),
            Vec::new(),
        ];
        let mut empty = registration();
        empty.secrets.clear();
        cases.push(empty.text().to_vec());
        let mut ended = registration();
        ended.secrets[0].until_ms = Some(1);
        cases.push(ended.text().to_vec());
        for case in cases {
            let said = Registration::read(&case).unwrap_err();
            assert!(!said.contains("whsec"), "{said}");
        }
    }
}
