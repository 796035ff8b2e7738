//! Failures that are alike: the text of an error without what differs each time, and the id of the
//! group of all failures with that text. Pure functions.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::{Outcome, PluginName};

/// The most bytes of an error that are looked at.
const MAX_READ: usize = 1_024;

/// The most characters of a text.
const MAX_CHARS: usize = 200;

/// Digits and letters in one word from which on it is an id.
const ID_CHARS: usize = 8;

/// The text of the group that has what exceeds the number of groups.
pub const OTHER: &str = "other failures";

/// The id of a group of failures: the same for the same plugin, outcome and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FailureId(u64);

impl FailureId {
    /// The id of the group of these failures.
    pub fn of(plugin: &PluginName, outcome: Outcome, text: &str) -> Self {
        Self::hashed(plugin, outcome.name(), text)
    }

    /// The group of what exceeds the number of groups that a plugin has.
    pub fn other(plugin: &PluginName) -> Self {
        Self::hashed(plugin, "", OTHER)
    }

    fn hashed(plugin: &PluginName, outcome: &str, text: &str) -> Self {
        let hash = Sha256::digest(format!("{plugin}\0{outcome}\0{text}"));
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&hash[..6]);
        Self(u64::from_be_bytes(bytes))
    }

    /// The stored form.
    pub fn row(self) -> i64 {
        self.0.cast_signed()
    }

    /// Reads the stored form.
    pub fn from_row(row: i64) -> Self {
        Self(row.cast_unsigned())
    }
}

impl fmt::Display for FailureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f_{:012x}", self.0)
    }
}

/// A text is not the id of a group of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a failure group's id is `f_` and 12 hex digits")]
pub struct NotAFailure;

impl FromStr for FailureId {
    type Err = NotAFailure;

    fn from_str(text: &str) -> Result<Self, NotAFailure> {
        let digits = text.strip_prefix("f_").filter(|digits| digits.len() == 12);
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let digits = digits.filter(|digits| digits.bytes().all(is_hex)).ok_or(NotAFailure)?;
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| NotAFailure)
    }
}

/// The text of a failure without numbers, ids, quoted text and the queries of URLs; of a trap its
/// kind and the innermost function.
pub fn failure_text(outcome: Outcome, error: Option<&str>) -> String {
    let error = error.unwrap_or_default().trim();
    let error = &error[..error.floor_char_boundary(MAX_READ)];
    let text = match outcome {
        Outcome::Trap => trap(error),
        // Names that the host quotes are its own.
        Outcome::Timeout | Outcome::Memory | Outcome::Error | Outcome::Crash => {
            Reader { rest: error, text: String::new(), keeps_names: true }.read()
        }
        _ => Reader { rest: error, text: String::new(), keeps_names: false }.read(),
    };
    let text = if text.is_empty() { format!("{} without a text", outcome.name()) } else { text };
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text,
    }
}

/// `unreachable (in parse < handle)` becomes `unreachable in parse`.
fn trap(error: &str) -> String {
    let plain = |text: &str| Reader { rest: text, text: String::new(), keeps_names: true }.read();
    let Some((kind, frames)) = error.rsplit_once(" (in ") else { return plain(error) };
    let innermost = frames.trim_end_matches(')').split(" < ").next().unwrap_or_default();
    format!("{} in {}", plain(kind), without_hash(innermost))
}

/// A function's name without the hash that its compiler has added.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            path
        }
        _ => name,
    }
}

/// Reads an error from left to right.
struct Reader<'t> {
    rest: &'t str,
    text: String,
    /// Whether what stands between backquotes is a name, and stays.
    keeps_names: bool,
}

impl<'t> Reader<'t> {
    fn read(mut self) -> String {
        while let Some(next) = self.rest.chars().next() {
            if next.is_whitespace() || next.is_control() {
                self.skip(next.len_utf8());
                if !self.text.ends_with(' ') && !self.text.is_empty() {
                    self.text.push(' ');
                }
            } else if !(self.time() || self.url() || self.quoted(next) || self.word()) {
                self.text.push(next);
                self.skip(next.len_utf8());
            }
        }
        self.text.truncate(self.text.trim_end().len());
        self.text
    }

    fn skip(&mut self, bytes: usize) -> &'t str {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        skipped
    }

    /// The bytes at the beginning that are as `is` wants them.
    fn run(&self, is: impl Fn(u8) -> bool) -> &'t str {
        let end = self.rest.bytes().position(|byte| !is(byte)).unwrap_or(self.rest.len());
        // Only ASCII is wanted, so that this is a boundary.
        &self.rest[..end]
    }

    /// A time as RFC 3339 writes it, or a date.
    fn time(&mut self) -> bool {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize, to: usize| {
            bytes.get(from..to).is_some_and(|bytes| bytes.iter().all(u8::is_ascii_digit))
        };
        let is_date = digits(0, 4) && digits(5, 7) && digits(8, 10);
        if !is_date || bytes[4] != b'-' || bytes[7] != b'-' || !self.begins_a_word() {
            return false;
        }
        let is_part = |byte: u8| byte.is_ascii_digit() || b"-:.+TZtz".contains(&byte);
        let found = self.run(is_part).trim_end_matches([':', '.', '-', '+']);
        self.skip(found.len());
        self.text.push_str("‹time›");
        true
    }

    /// A URL without user and query.
    fn url(&mut self) -> bool {
        let Some(scheme) =
            ["https://", "http://"].into_iter().find(|scheme| self.rest.starts_with(scheme))
        else {
            return false;
        };
        self.skip(scheme.len());
        let is_end = |c: char| c.is_whitespace() || "\"'`<>()[]{},;".contains(c);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        let url = self.skip(end);
        let (place, query) = match url.find(['?', '#']) {
            Some(at) => (&url[..at], true),
            None => (url, false),
        };
        let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
        self.text.push_str(scheme);
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        self.text.push_str(host);
        let path = Reader { rest: path, text: String::new(), keeps_names: true }.read();
        self.text.push_str(&path);
        if query {
            self.text.push_str("?‹query›");
        }
        true
    }

    fn quoted(&mut self, quote: char) -> bool {
        let close = match quote {
            '"' | '`' => quote,
            // In `it's` it is none.
            '\'' if self.begins_a_word() => quote,
            '“' => '”',
            '‘' => '’',
            '«' => '»',
            _ => return false,
        };
        let inner = &self.rest[quote.len_utf8()..];
        let Some(end) = inner.find(close) else { return false };
        let whole = self.skip(quote.len_utf8() + end + close.len_utf8());
        if quote == '`' && self.keeps_names && is_name(&inner[..end]) {
            self.text.push_str(whole);
        } else {
            self.text.push_str("‹text›");
        }
        true
    }

    /// Letters, digits, `_` and `-`; numbers also with points and commas.
    fn word(&mut self) -> bool {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let word = self.run(is_word);
        if word.is_empty() {
            return false;
        }
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b',';
            let number = self.run(is_number).trim_end_matches(['.', ',']).len();
            self.skip(number.max(word.len()));
            self.text.push_str("‹n›");
            return true;
        }
        self.skip(word.len());
        if is_uuid(word) || is_hex(word) {
            self.text.push_str("‹id›");
            return true;
        }
        for part in word.split_inclusive(['_', '-']) {
            let name = part.trim_end_matches(['_', '-']);
            self.part(name);
            self.text.push_str(&part[name.len()..]);
        }
        true
    }

    /// A part of a word: as it is, as an id, or with its digits replaced.
    fn part(&mut self, part: &str) {
        let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
        let digits = part.len() - letters;
        if digits > 0 && letters > 0 && part.len() >= ID_CHARS {
            return self.text.push_str("‹id›");
        }
        let mut in_number = false;
        for c in part.chars() {
            match (c.is_ascii_digit(), in_number) {
                (true, false) => self.text.push_str("‹n›"),
                (true, true) => {}
                (false, _) => self.text.push(c),
            }
            in_number = c.is_ascii_digit();
        }
    }

    fn begins_a_word(&self) -> bool {
        !self.text.ends_with(|c: char| c.is_alphanumeric())
    }
}

/// Such as a key of the configuration.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || b"._[] ".contains(&byte);
    !text.is_empty() && text.len() <= 40 && text.bytes().all(is_part)
}

fn is_uuid(word: &str) -> bool {
    let lengths: Vec<usize> = word.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// Hex digits of which at least one is a digit, or `0x…`.
fn is_hex(word: &str) -> bool {
    if let Some(digits) = word.strip_prefix("0x").or(word.strip_prefix("0X")) {
        return !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    word.len() >= ID_CHARS
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_is_replaced() {
        for (error, text) in [
            ("orders API answered 503", "orders API answered ‹n›"),
            ("took 1,204.5 ms of 900ms", "took ‹n› ms of ‹n›ms"),
            ("order order_12 of evt_1a2093497a300000", "order order_‹n› of evt_‹id›"),
            ("id 7f3c1a90b2, not deadbeef", "id ‹id›, not deadbeef"),
            ("at 0xdeadbeef in slot 3", "at ‹id› in slot ‹n›"),
            ("no 6f1b24c3-9c1e-4d2a-8a53-0b1c2d3e4f50 here", "no ‹id› here"),
            ("no order \"A 17\" for 'jo' or `x y9`", "no order ‹text› for ‹text› or ‹text›"),
            ("it's the host's, isn't it", "it's the host's, isn't it"),
            ("an open \"quote of 5", "an open \"quote of ‹n›"),
            (
                "GET https://jo:pw@api.example:8443/v1/orders/17?token=abc: refused",
                "GET https://api.example:8443/v‹n›/orders/‹n›?‹query› refused",
            ),
            ("since 2026-11-29T01:18:00.250Z, on 2026-11-29.", "since ‹time›, on ‹time›."),
            ("10.0.0.7:8080 closed", "‹n›:‹n› closed"),
            ("v2 of sha256", "v‹n› of sha‹n›"),
            ("  two\n\tlines\u{0} ", "two lines"),
            ("größe 12 zu groß", "größe ‹n› zu groß"),
            ("", "retry without a text"),
        ] {
            assert_eq!(failure_text(Outcome::Retry, Some(error)), text, "{error:?}");
        }
        assert_eq!(failure_text(Outcome::Reject, None), "reject without a text");
    }

    #[test]
    fn names_that_the_host_quotes_stay() {
        let error = "it computed for more than 50 ms; `limits.cpu` sets the limit";
        let text = "it computed for more than ‹n› ms; `limits.cpu` sets the limit";
        assert_eq!(failure_text(Outcome::Timeout, Some(error)), text);
        assert_eq!(failure_text(Outcome::Error, Some("no `Key 7`")), "no ‹text›");
    }

    #[test]
    fn a_trap_is_known_by_its_kind_and_the_innermost_function() {
        for (error, text) in [
            ("unreachable (in parse_total < handle < main)", "unreachable in parse_total"),
            ("unreachable (in a::b::h0123456789abcdef < c)", "unreachable in a::b"),
            ("out of bounds at 0x1f (in f32_load)", "out of bounds at ‹id› in f32_load"),
            ("the handler exited with code 3 instead", "the handler exited with code ‹n› instead"),
        ] {
            assert_eq!(failure_text(Outcome::Trap, Some(error)), text, "{error:?}");
        }
    }

    #[test]
    fn a_text_is_bounded_and_cut_between_characters() {
        let text = failure_text(Outcome::Retry, Some(&"ü ".repeat(5_000)));
        assert_eq!(text.chars().count(), MAX_CHARS, "{text}");
        assert!(text.ends_with("ü…"), "{text}");
    }

    #[test]
    fn a_group_is_one_of_a_plugin_and_an_outcome() {
        let [jo, ann] = ["jo", "ann"].map(PluginName::from);
        let id = FailureId::of(&jo, Outcome::Retry, "x");
        assert_eq!(id, FailureId::of(&jo, Outcome::Retry, "x"));
        for other in [
            FailureId::of(&ann, Outcome::Retry, "x"),
            FailureId::of(&jo, Outcome::Reject, "x"),
            FailureId::of(&jo, Outcome::Retry, "y"),
            FailureId::other(&jo),
        ] {
            assert_ne!(id, other);
        }
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(FailureId::from_row(id.row()), id);
        for text in ["", "f_", "f_12", "f_0123456789AB", "f_+12345678901", "op_0123456789ab"] {
            assert_eq!(text.parse::<FailureId>(), Err(NotAFailure), "{text}");
        }
    }
}
