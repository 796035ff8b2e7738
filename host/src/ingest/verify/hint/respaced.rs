//! JSON as other programs would have written it: from its own characters, so that digits, the order
//! of members and repeated members stay.

use serde::de::IgnoredAny;

/// White space between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spaces {
    /// `{"a":1,"b":2}`.
    None,
    /// `{"a": 1, "b": 2}`.
    Python,
    /// A line for each member, with so many spaces a level.
    Indent(usize),
}

/// Escapes in strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// As they are.
    Kept,
    /// Only those that JSON requires.
    Least,
    /// The same, and everything beyond ASCII.
    Ascii,
    /// The same, and `/`.
    AsciiAndSlash,
}

/// The same document, written otherwise; `None` for what is no JSON.
pub(super) fn respaced(body: &[u8], spaces: Spaces, escapes: Escapes) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut writer = JsonWriter { out: String::with_capacity(text.len()), spaces, depth: 0 };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let end = end_of_string(rest)?;
                writer.string(&rest[..end], escapes)?;
                end
            }
            ' ' | '\t' | '\n' | '\r' => 1,
            _ => {
                let next = rest[first.len_utf8()..].trim_start();
                writer.token(first, next.chars().next());
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Some(writer.out.into_bytes())
}

/// The length of the string at the beginning, with both quotes.
fn end_of_string(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

struct JsonWriter {
    out: String,
    spaces: Spaces,
    depth: usize,
}

impl JsonWriter {
    fn token(&mut self, token: char, next: Option<char>) {
        let closes_at_once = matches!((token, next), ('{', Some('}')) | ('[', Some(']')));
        let opened = matches!(self.out.chars().next_back(), Some('{' | '['));
        match token {
            '{' | '[' => {
                self.out.push(token);
                self.depth += 1;
                if !closes_at_once {
                    self.line();
                }
            }
            '}' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                if !opened {
                    self.line();
                }
                self.out.push(token);
            }
            ',' => {
                self.out.push(',');
                match self.spaces {
                    Spaces::Python => self.out.push(' '),
                    _ => self.line(),
                }
            }
            ':' => self.out.push_str(if self.spaces == Spaces::None { ":" } else { ": " }),
            _ => self.out.push(token),
        }
    }

    fn line(&mut self) {
        if let Spaces::Indent(width) = self.spaces {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', width * self.depth));
        }
    }

    fn string(&mut self, quoted: &str, escapes: Escapes) -> Option<()> {
        if escapes == Escapes::Kept {
            self.out.push_str(quoted);
            return Some(());
        }
        let value: String = serde_json::from_str(quoted).ok()?;
        let least = serde_json::to_string(&value).ok()?;
        for c in least.chars() {
            match c {
                '/' if escapes == Escapes::AsciiAndSlash => self.out.push_str("\\/"),
                c if !c.is_ascii() && escapes != Escapes::Least => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str, spaces: Spaces, escapes: Escapes) -> String {
        String::from_utf8(respaced(text.as_bytes(), spaces, escapes).unwrap()).unwrap()
    }

    #[test]
    fn only_white_space_changes() {
        let text = "{ \"a\" :[1.0, -2e5 ,{}, [ ]],\"a\":\"x , : \\\" \\u00e9\" }\n";
        let compact = r#"{"a":[1.0,-2e5,{},[]],"a":"x , : \" \u00e9"}"#;
        assert_eq!(made(text, Spaces::None, Escapes::Kept), compact);
        let python = r#"{"a": [1.0, -2e5, {}, []], "a": "x , : \" \u00e9"}"#;
        assert_eq!(made(compact, Spaces::Python, Escapes::Kept), python);
        let value = serde_json::json!({ "a": [1, {}, { "b": [] }], "c": "d" });
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(made(&value.to_string(), Spaces::Indent(2), Escapes::Kept), pretty);
    }

    #[test]
    fn escapes_are_those_of_other_languages() {
        let text = r#"{"a":"\u00e9\/😀\n"}"#;
        assert_eq!(made(text, Spaces::None, Escapes::Least), "{\"a\":\"é/😀\\n\"}");
        assert_eq!(made(text, Spaces::None, Escapes::Ascii), r#"{"a":"\u00e9/\ud83d\ude00\n"}"#);
        assert_eq!(
            made(text, Spaces::None, Escapes::AsciiAndSlash),
            r#"{"a":"\u00e9\/\ud83d\ude00\n"}"#
        );
    }

    #[test]
    fn what_is_no_json_is_not_changed() {
        for text in ["", "a=b", "{", "[1,]", "\"a"] {
            assert_eq!(respaced(text.as_bytes(), Spaces::None, Escapes::Kept), None, "{text}");
        }
        assert_eq!(respaced(b"\xff", Spaces::None, Escapes::Kept), None);
    }
}
