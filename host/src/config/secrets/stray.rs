//! Characters around a secret that are none of it: what an editor, a shell or a tool left there.
//!
//! The same rule for variables and files. White space, line ends and a byte order mark are taken
//! away: no provider gives out a secret that begins or ends so. Quotes are refused, because they
//! could be meant. No text of a secret is ever part of what is said.

/// U+FEFF in UTF-8, with which some editors begin a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A secret without what stood around it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stripped<'a> {
    /// The secret itself; possibly nothing.
    pub(super) text: &'a [u8],
    /// The characters that were taken away, for people, if it was more than one line end behind it.
    pub(super) stray: Option<String>,
}

/// The reason why a text is not taken for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stray {
    #[error("begins and ends with a quote (`{0}`)")]
    Quotes(char),
    #[error("is UTF-16 text, as some editors and PowerShell write it")]
    Utf16,
}

impl Stray {
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Quotes(_) => {
                "take the quotes away: a file is read as it is, and docker's `--env-file` keeps quotes as part of the value"
            }
            Self::Utf16 => "save it as UTF-8",
        }
    }
}

/// Takes away what stands around a secret.
pub(super) fn strip(bytes: &[u8]) -> Result<Stripped<'_>, Stray> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Stray::Utf16);
    }
    let unmarked = bytes.strip_prefix(BYTE_ORDER_MARK);
    let rest = unmarked.unwrap_or(bytes);
    let text = rest.trim_ascii();
    let before = &rest[..rest.len() - rest.trim_ascii_start().len()];
    // In a text of white space alone, all of it stands in front.
    let behind = &rest[before.len() + text.len()..];
    if let [first @ (b'"' | b'\'' | b'`'), .., last] = text
        && first == last
    {
        return Err(Stray::Quotes(char::from(*first)));
    }
    let mut seen = Vec::new();
    if unmarked.is_some() {
        seen.push("a byte order mark".to_owned());
    }
    if !before.is_empty() {
        seen.push(format!("{} in front of it", name(before)));
    }
    if !matches!(behind, b"" | b"\n" | b"\r\n") {
        seen.push(format!("{} behind it", name(behind)));
    }
    let stray = (!seen.is_empty() && !text.is_empty()).then(|| seen.join(" and "));
    Ok(Stripped { text, stray })
}

/// White space in words.
fn name(space: &[u8]) -> String {
    let ends = space.iter().filter(|byte| **byte == b'\n').count();
    let returns = space.iter().filter(|byte| **byte == b'\r').count();
    let blanks = space.len() - ends - returns;
    let mut parts = Vec::new();
    match ends {
        0 => {}
        1 => parts.push("a line end".to_owned()),
        ends => parts.push(format!("{ends} line ends")),
    }
    // A return that belongs to a line end is not worth a word.
    if returns > ends {
        parts.push("a carriage return".to_owned());
    }
    match blanks {
        0 => {}
        1 => parts.push("a blank".to_owned()),
        blanks => parts.push(format!("{blanks} blanks")),
    }
    parts.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stray(text: &str) -> Option<String> {
        let stripped = strip(text.as_bytes()).unwrap();
        assert_eq!(stripped.text, b"se cret", "{text:?}");
        stripped.stray
    }

    #[test]
    fn what_stands_around_a_secret_is_taken_away_and_named() {
        for fine in ["se cret", "se cret\n", "se cret\r\n"] {
            assert_eq!(stray(fine), None, "{fine:?}");
        }
        for (text, said) in [
            ("se cret\n\n", "2 line ends behind it"),
            ("se cret\r", "a carriage return behind it"),
            ("se cret ", "a blank behind it"),
            (" \tse cret\n", "2 blanks in front of it"),
            ("\u{feff}se cret\n", "a byte order mark"),
            (
                "\u{feff}\nse cret \r\n",
                "a byte order mark and a line end in front of it and a line end and a blank behind it",
            ),
        ] {
            assert_eq!(stray(text).as_deref(), Some(said), "{text:?}");
        }
    }

    #[test]
    fn nothing_but_white_space_is_no_secret() {
        for text in ["", "\n", " \r\n\n", "\u{feff}", "\u{feff}\n"] {
            assert_eq!(strip(text.as_bytes()), Ok(Stripped { text: b"", stray: None }), "{text:?}");
        }
    }

    #[test]
    fn quotes_around_a_secret_are_refused_and_one_alone_is_its_own() {
        assert_eq!(strip(b"\"secret\"\n"), Err(Stray::Quotes('"')));
        assert_eq!(strip(b" 'secret'"), Err(Stray::Quotes('\'')));
        assert_eq!(strip(b"\"\""), Err(Stray::Quotes('"')));
        for text in ["\"secret", "secret'", "\"secret'", "\""] {
            assert_eq!(strip(text.as_bytes()).unwrap().text, text.as_bytes());
        }
        assert_eq!(strip(b"\xff\xfes\0e\0"), Err(Stray::Utf16));
    }
}
