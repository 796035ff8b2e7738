//! Keeps the credentials that the host adds from the plugin and from logs: an echoed credential
//! becomes as many asterisks.
//!
//! A credential is looked for as it is, in base64 (both alphabets, at any offset), percent-encoded,
//! and as JSON writes it, in upper and lower case. A redacted text keeps its length, so that
//! lengths which were sent before stay true. Of a stream, as many bytes are held back as the
//! longest form could still need, whatever they are. If only bytes that begin like a credential
//! were held back, their delay would reveal its beginning. Other forms (reversed, compressed, in
//! pieces) are not found: a rule is for a server that its owner trusts with the credential.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::config::Grants;

/// Characters that RFC 3986 §2.3 never escapes.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same with those that `encodeURIComponent` does not escape either.
const COMPONENT: &AsciiSet =
    &UNRESERVED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
/// The shortest form that is looked for, in bytes. A shorter one would match anywhere.
const MIN_BYTES: usize = 6;

/// Finds and redacts a plugin's credentials. It is empty for most plugins, and then costs nothing.
pub struct Redactor {
    forms: Vec<Zeroizing<Vec<u8>>>,
    /// Whether a form begins with this byte, in lower case.
    begins: [bool; 256],
    longest: usize,
}

impl Redactor {
    /// Looks for the credentials of all rules of a plugin.
    pub fn of(grants: &Grants) -> Self {
        let mut redactor = Self { forms: Vec::new(), begins: [false; 256], longest: 0 };
        for header in grants.http.iter().flat_map(|rule| &rule.headers) {
            let Ok(secret) = &header.value else { continue };
            redactor.add(secret.expose_secret());
            if header.prefix.trim().eq_ignore_ascii_case("basic") {
                redactor.add_basic(secret.expose_secret());
            }
        }
        redactor
    }

    fn add(&mut self, secret: &str) {
        self.look_for(secret.as_bytes().to_vec());
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            for before in 0..3 {
                self.look_for(encoded(engine, before, secret));
            }
        }
        for set in [UNRESERVED, COMPONENT] {
            let escaped = utf8_percent_encode(secret, set).to_string();
            // HTML forms write a space as a plus.
            self.look_for(escaped.replace("%20", "+").into_bytes());
            self.look_for(escaped.into_bytes());
        }
        let json = serde_json::Value::from(secret).to_string();
        let json = &json[1..json.len() - 1];
        self.look_for(json.as_bytes().to_vec());
        // As PHP writes it.
        self.look_for(json.replace('/', "\\/").into_bytes());
    }

    /// Adds what a server decodes from `Basic …` (RFC 7617): `user:password`, and the password.
    fn add_basic(&mut self, secret: &str) {
        let decoded = STANDARD_NO_PAD.decode(secret.trim_end_matches('=')).ok();
        let Some(pair) =
            decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map(Zeroizing::new)
        else {
            return;
        };
        self.add(&pair);
        if let Some((_, password)) = pair.split_once(':') {
            self.add(password);
        }
    }

    fn look_for(&mut self, form: Vec<u8>) {
        let mut form = Zeroizing::new(form);
        // Compared without case, so that one form stands for all spellings.
        form.make_ascii_lowercase();
        if form.len() >= MIN_BYTES && !self.forms.contains(&form) {
            self.begins[usize::from(form[0])] = true;
            self.longest = self.longest.max(form.len());
            self.forms.push(form);
        }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Redacts a text.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redact_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A form consists of whole characters, so the rest does too.
            Cow::Owned(redacted) => Cow::Owned(String::from_utf8_lossy(&redacted).into_owned()),
        }
    }

    /// Redacts bytes.
    pub(super) fn redact_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut redacted = Cow::Borrowed(bytes);
        self.find(bytes, |at, length| redacted.to_mut()[at..at + length].fill(b'*'));
        redacted
    }

    fn find(&self, bytes: &[u8], mut found: impl FnMut(usize, usize)) {
        if self.is_empty() {
            return;
        }
        let begins = |at: &usize| self.begins[usize::from(bytes[*at].to_ascii_lowercase())];
        for at in (0..bytes.len()).filter(begins) {
            let is = |form: &[u8]| {
                bytes[at..].get(..form.len()).is_some_and(|here| here.eq_ignore_ascii_case(form))
            };
            // All of them, because a longer form may begin at the same byte.
            self.forms.iter().filter(|form| is(form)).for_each(|form| found(at, form.len()));
        }
    }

    /// Whether a text contains a credential.
    pub(super) fn finds(&self, text: &str) -> bool {
        matches!(self.redact(text), Cow::Owned(_))
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("forms", &self.forms.len()).finish_non_exhaustive()
    }
}

/// The base64 characters that depend only on the text, if `before` bytes (modulo 3) precede it.
fn encoded(engine: &impl Engine, before: usize, text: &str) -> Vec<u8> {
    let padded = Zeroizing::new([&vec![0; before][..], text.as_bytes()].concat());
    // A character carries six bits: the first and the last may share theirs with a neighbour.
    let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    let all = Zeroizing::new(engine.encode(&*padded));
    all.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

/// Redacts a stream, wherever it is cut into pieces.
#[derive(Debug)]
pub(super) struct StreamRedactor {
    redactor: Arc<Redactor>,
    /// The last bytes, in which a form may have begun, and which of them are redacted already.
    held: Zeroizing<Vec<u8>>,
    hidden: Vec<bool>,
}

impl StreamRedactor {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, held: Zeroizing::default(), hidden: Vec::new() }
    }

    /// Takes a piece and returns the bytes that can be passed on.
    pub(super) fn push(&mut self, piece: Bytes) -> Bytes {
        if self.redactor.is_empty() {
            return piece;
        }
        self.held.extend_from_slice(&piece);
        self.hidden.resize(self.held.len(), false);
        let hidden = &mut self.hidden;
        self.redactor.find(&self.held, |at, length| hidden[at..at + length].fill(true));
        let held = self.redactor.longest.saturating_sub(1);
        self.pass(self.held.len().saturating_sub(held))
    }

    /// Returns the remaining bytes at the end of the stream.
    pub(super) fn finish(&mut self) -> Bytes {
        self.pass(self.held.len())
    }

    fn pass(&mut self, end: usize) -> Bytes {
        let hidden = self.hidden.drain(..end);
        self.held
            .drain(..end)
            .zip(hidden)
            .map(|(byte, hidden)| if hidden { b'*' } else { byte })
            .collect()
    }
}

#[cfg(test)]
mod tests;
