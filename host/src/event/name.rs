//! The rule for event types and subjects. It is the same for those from outside, those that plugins
//! emit, and the texts of patterns.
//!
//! A name has 1 to [`MAX_NAME_BYTES`] bytes. It has no character that acts on a reader (control,
//! bidi, line-break) and no blanks but single spaces between other characters. Names that break the
//! rule are refused from plugins, whose authors can mend them. From outside they are
//! percent-escaped where they break it: a provider cannot be told. The prefix [`RESERVED`] of types
//! is the host's own.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::text::needs_escape;

/// The longest type, subject or source name that is stored, in bytes.
pub const MAX_NAME_BYTES: usize = 512;

/// The prefix of the host's own types.
pub const RESERVED: &str = "hookbox.";

/// The reason why a text is no name. It finishes "the type …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing at all.
    #[error("is empty")]
    Empty,
    /// More than [`MAX_NAME_BYTES`].
    #[error("has more than {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// A character that controls how text is shown.
    #[error("has control, bidi or line-break characters")]
    Control,
    /// A blank at an end, beside another one, or that is not U+0020.
    #[error("has blanks other than single spaces between other characters")]
    Blank,
}

/// Whether a text can be a type or a subject.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(text: &str) -> Result<(), NameFault> {
    if text.is_empty() {
        return Err(NameFault::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameFault::TooLong);
    }
    match misfits(text).next() {
        None => Ok(()),
        Some((_, c)) if needs_escape(c) => Err(NameFault::Control),
        Some(_) => Err(NameFault::Blank),
    }
}

/// The text with everything percent-escaped (UTF-8, RFC 3986 §2.1) that a name cannot have. A `%`
/// stays as it is.
pub fn escaped(text: &str) -> Cow<'_, str> {
    // Nearly every name needs no escape.
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut copied = 0;
    for (at, c) in misfits(text) {
        out.push_str(&text[copied..at]);
        copied = at + c.len_utf8();
        escape(&mut out, &text[at..copied]);
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Escapes a type like [`escaped`], and also the first letter of a type that begins with
/// [`RESERVED`].
pub fn escaped_type(text: &str) -> Cow<'_, str> {
    let text = escaped(text);
    match text.strip_prefix(&RESERVED[..1]) {
        Some(rest) if text.starts_with(RESERVED) => {
            let mut out = String::new();
            escape(&mut out, &RESERVED[..1]);
            out.push_str(rest);
            Cow::Owned(out)
        }
        _ => text,
    }
}

fn escape(out: &mut String, text: &str) {
    for byte in text.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

/// The characters that a name cannot have where they stand.
fn misfits(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut before = None;
    text.char_indices().filter(move |&(at, c)| {
        let after_blank = before.replace(c).is_none_or(|before| before == ' ');
        let fits = match c {
            ' ' => !after_blank && at + 1 < text.len(),
            _ => !needs_escape(c) && !c.is_whitespace(),
        };
        !fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_may_have_single_inner_blanks_and_any_visible_character() {
        for name in [
            "push",
            "Push Hook",
            "repo:push",
            "a/b",
            "a - b",
            "é",
            "ab%20c",
            "\u{1f469}\u{200d}\u{1f680}",
        ] {
            assert_eq!((check(name), escaped(name)), (Ok(()), name.into()), "{name}");
        }
    }

    #[test]
    fn what_a_name_cannot_have_is_refused_and_escaped() {
        for (text, fault, expected) in [
            (" a", NameFault::Blank, "%20a"),
            ("a ", NameFault::Blank, "a%20"),
            ("a  b", NameFault::Blank, "a %20b"),
            ("  ", NameFault::Blank, "%20%20"),
            ("a\u{a0}b", NameFault::Blank, "a%C2%A0b"),
            ("a\u{3000}b", NameFault::Blank, "a%E3%80%80b"),
            ("a\nb", NameFault::Control, "a%0Ab"),
            ("\t", NameFault::Control, "%09"),
            ("a\u{7f}\u{85}", NameFault::Control, "a%7F%C2%85"),
            ("a\u{2028}b\u{2029}", NameFault::Control, "a%E2%80%A8b%E2%80%A9"),
            ("order\u{202e}1", NameFault::Control, "order%E2%80%AE1"),
            ("\u{2066}a\u{200f}", NameFault::Control, "%E2%81%A6a%E2%80%8F"),
            ("a\u{61c}", NameFault::Control, "a%D8%9C"),
        ] {
            assert_eq!((check(text), &*escaped(text)), (Err(fault), expected), "{text:?}");
        }
        assert_eq!(check(""), Err(NameFault::Empty));
        assert_eq!(check(&"x".repeat(MAX_NAME_BYTES + 1)), Err(NameFault::TooLong));
    }

    #[test]
    fn the_hosts_own_prefix_is_escaped_in_types_from_outside() {
        assert_eq!(escaped_type("hookbox.unidentified"), "%68ookbox.unidentified");
        assert_eq!(escaped_type("hookbox.a\nb"), "%68ookbox.a%0Ab");
        for other in ["hookbox", "hookboxes.a", "Hookbox.a", "a.hookbox.b", "hello"] {
            assert_eq!(escaped_type(other), other);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_is_escaped_is_a_name_and_stays_as_it_is(text in "[ a\u{a0}\n\u{202e}h%]{1,30}|\\PC{1,30}|hookbox\\..*") {
            let once = escaped_type(&text).into_owned();
            prop_assert!(matches!(check(&once), Ok(()) | Err(NameFault::TooLong)), "{:?}", once);
            prop_assert!(!once.starts_with(RESERVED));
            prop_assert_eq!(&escaped_type(&once), &once);
            if check(&text).is_ok() {
                prop_assert_eq!(&escaped(&text), &text);
            }
        }
    }
}
