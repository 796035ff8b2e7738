//! Credentials that the host adds to requests, kept from whoever reads what comes back: an echo becomes as many stars.
//!
//! A credential is looked for as it is, in base64 (both alphabets, wherever it stands in what was encoded), with `%`
//! escapes, and as JSON writes it, in upper and lower case. What is masked keeps its length, so that lengths which were
//! told before stay true. Of a stream as many bytes are held back as a form could still need, whatever they are: if it
//! were only those that begin like one, their delay would tell how a credential begins.
//! Another form of it, reversed, compressed or in pieces, is not found: a rule is for a server that one trusts with the
//! credential anyway.

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

/// What RFC 3986 §2.3 never escapes.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What `encodeURIComponent` leaves as it is beside these.
const COMPONENT: &AsciiSet = &UNRESERVED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
/// The shortest form that is looked for, in bytes: what is shorter is found everywhere.
const MIN_BYTES: usize = 6;

/// What to look for. Empty for most plugins, and then every operation is free.
pub struct Masks {
    forms: Vec<Zeroizing<Vec<u8>>>,
    /// Whether a form begins with a byte; both are in lower case.
    begins: [bool; 256],
    longest: usize,
}

impl Masks {
    /// The credentials of all rules of a plugin.
    pub fn of(grants: &Grants) -> Self {
        let mut masks = Self { forms: Vec::new(), begins: [false; 256], longest: 0 };
        for header in grants.http.iter().flat_map(|rule| &rule.headers) {
            let Ok(secret) = &header.value else { continue };
            masks.add(secret.expose_secret());
            if header.prefix.trim().eq_ignore_ascii_case("basic") {
                masks.add_basic(secret.expose_secret());
            }
        }
        masks
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
            // Forms write a space as a plus.
            self.look_for(escaped.replace("%20", "+").into_bytes());
            self.look_for(escaped.into_bytes());
        }
        let json = serde_json::Value::from(secret).to_string();
        let json = &json[1..json.len() - 1];
        self.look_for(json.as_bytes().to_vec());
        // As PHP writes it.
        self.look_for(json.replace('/', "\\/").into_bytes());
    }

    /// What a server reads in `Basic …` (RFC 7617): the name and the password, and the password alone.
    fn add_basic(&mut self, secret: &str) {
        let decoded = STANDARD_NO_PAD.decode(secret.trim_end_matches('=')).ok();
        let Some(pair) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map(Zeroizing::new) else { return };
        self.add(&pair);
        if let Some((_, password)) = pair.split_once(':') {
            self.add(password);
        }
    }

    fn look_for(&mut self, form: Vec<u8>) {
        let mut form = Zeroizing::new(form);
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

    /// A text without credentials.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.mask_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // A form is whole characters, so what is left is too.
            Cow::Owned(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        }
    }

    /// Bytes without credentials.
    pub(super) fn mask_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut masked = Cow::Borrowed(bytes);
        self.find(bytes, |at, length| masked.to_mut()[at..at + length].fill(b'*'));
        masked
    }

    fn find(&self, bytes: &[u8], mut found: impl FnMut(usize, usize)) {
        if self.is_empty() {
            return;
        }
        let begins = |at: &usize| self.begins[usize::from(bytes[*at].to_ascii_lowercase())];
        for at in (0..bytes.len()).filter(begins) {
            let is = |form: &[u8]| bytes[at..].get(..form.len()).is_some_and(|here| here.eq_ignore_ascii_case(form));
            self.forms.iter().filter(|form| is(form)).for_each(|form| found(at, form.len()));
        }
    }

    /// Whether a text has a credential in it.
    pub(super) fn finds(&self, text: &str) -> bool {
        matches!(self.mask(text), Cow::Owned(_))
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masks").field("forms", &self.forms.len()).finish_non_exhaustive()
    }
}

/// The characters of base64 that a text alone decides, if `before` bytes (modulo 3) stand before it.
fn encoded(engine: &impl Engine, before: usize, text: &str) -> Vec<u8> {
    let padded = Zeroizing::new([&vec![0; before][..], text.as_bytes()].concat());
    // A character carries six bits: the first may be shared with what stands before, the last with what follows.
    let (first, end) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    let all = Zeroizing::new(engine.encode(&*padded));
    all.as_bytes().get(first..end).unwrap_or_default().to_vec()
}

/// Masks a stream, wherever it is cut into pieces.
#[derive(Debug)]
pub(super) struct Masking {
    masks: Arc<Masks>,
    /// The last of what came, in which a form may have begun, and which bytes of it are masked already.
    held: Zeroizing<Vec<u8>>,
    hidden: Vec<bool>,
}

impl Masking {
    pub(super) fn new(masks: Arc<Masks>) -> Self {
        Self { masks, held: Zeroizing::default(), hidden: Vec::new() }
    }

    /// What can be passed on after this piece.
    pub(super) fn push(&mut self, piece: Bytes) -> Bytes {
        if self.masks.is_empty() {
            return piece;
        }
        self.held.extend_from_slice(&piece);
        self.hidden.resize(self.held.len(), false);
        let hidden = &mut self.hidden;
        self.masks.find(&self.held, |at, length| hidden[at..at + length].fill(true));
        let held = self.masks.longest.saturating_sub(1);
        self.pass(self.held.len().saturating_sub(held))
    }

    /// What is left at the end.
    pub(super) fn finish(&mut self) -> Bytes {
        self.pass(self.held.len())
    }

    fn pass(&mut self, end: usize) -> Bytes {
        let hidden = self.hidden.drain(..end);
        self.held.drain(..end).zip(hidden).map(|(byte, hidden)| if hidden { b'*' } else { byte }).collect()
    }
}

#[cfg(test)]
mod tests;
