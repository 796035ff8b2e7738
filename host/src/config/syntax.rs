//! Tells what is not TOML in a file, and what was likely meant.
//!
//! Invariant: a value of the file is never repeated, except for the plugins of a route: it may be a
//! secret.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::partial::{WrittenItem, written};
use super::raw::Sink;

/// The section whose keys are patterns.
const ROUTES: &str = "routes";

/// The parser's message about a key that is there already.
const DUPLICATE: &str = "duplicate key";

/// The help where nothing better is known.
const SYNTAX: &str = "see https://toml.io for the syntax";

/// Remedies, by the beginning of the parser's message.
const HELP: [(&str, &str); 12] = [
    ("string values must be quoted", "put the value in quotes, as in `key = \"value\"`"),
    ("invalid float", "put the value in quotes if it is no number, as in `key = \"value\"`"),
    ("invalid integer", "put the value in quotes if it is no number, as in `key = \"value\"`"),
    ("invalid date", "put the value in quotes if it is no date, as in `key = \"value\"`"),
    ("invalid boolean", "write `true` or `false`, or put the value in quotes"),
    ("invalid basic string", "close the string in its line, with the quote that it begins with"),
    ("missing escaped value", "write a backslash as `\\\\`, or the string in single quotes"),
    ("missing comma", "put a comma between the elements, and `]` after the last one"),
    ("unclosed array", "close the list with `]`"),
    ("unclosed inline table", "close the table with `}`"),
    ("unclosed table", "close the name of the section with `]`"),
    ("unexpected key or value", "write each key in a line of its own"),
];

/// The most lines whose surroundings are looked at; of the others it is only said that they are
/// there.
const MAX_EXPLAINED: usize = 100;

/// Writes down what the parser has found. Of what it found in one line, that is the first: the rest
/// follows from it.
pub(super) fn explain(text: &str, errors: &[Error], sink: &Sink) {
    let mut explained = Vec::new();
    for error in errors {
        let span = error.span().map(|span| visible(text, span));
        let what = format!("this is not TOML: {}", error.message());
        if explained.len() == MAX_EXPLAINED {
            sink.problem(span, what, SYNTAX);
            continue;
        }
        let place = LinePlace::at(text, error.span().map_or(0, |span| span.start));
        if explained.contains(&place.line.number) {
            continue;
        }
        explained.push(place.line.number);
        let twice = if error.message() == DUPLICATE { place.twice() } else { None };
        let (message, help) = twice.unwrap_or_else(|| (what, place.help(error.message())));
        sink.problem(span, message, help);
    }
}

/// A line of the file.
#[derive(Clone, Copy)]
struct TextLine<'a> {
    /// The number of the line, from 1.
    number: usize,
    text: &'a str,
}

impl<'a> TextLine<'a> {
    /// The name in a line that begins a section.
    fn header(&self) -> Option<&'a str> {
        let name = self.text.strip_prefix('[')?.split(']').next()?;
        (!name.starts_with('[')).then_some(name.trim())
    }

    /// The text in front of the `=`.
    fn key(&self) -> Option<&'a str> {
        let (key, _) = self.text.split_once('=')?;
        Some(key.trim()).filter(|key| !key.is_empty())
    }

    /// The same without quotes around it.
    fn bare_key(&self) -> Option<&'a str> {
        self.key().map(|key| key.trim_matches(['"', '\'']))
    }

    /// The items of a line of `[routes]`.
    fn items(&self) -> Vec<WrittenItem> {
        let table = DeTable::parse(self.text).ok();
        let value = table.as_ref().and_then(|table| table.get_ref().values().next());
        value.map(|value| written(value, self.text)).unwrap_or_default()
    }
}

/// A line, and what is above it.
struct LinePlace<'a> {
    line: TextLine<'a>,
    above: &'a str,
}

impl<'a> LinePlace<'a> {
    fn at(text: &'a str, offset: usize) -> Self {
        let head = text.get(..offset).unwrap_or_default();
        let (above, rest) = text.split_at(head.rfind('\n').map_or(0, |newline| newline + 1));
        let line = rest.lines().next().unwrap_or_default().trim();
        Self { line: TextLine { number: above.matches('\n').count() + 1, text: line }, above }
    }

    /// The lines above, the nearest first.
    fn above(&self) -> impl Iterator<Item = TextLine<'a>> + use<'a> {
        let numbers = (1..self.line.number).rev();
        numbers
            .zip(self.above.lines().rev())
            .map(|(number, text)| TextLine { number, text: text.trim() })
    }

    /// The section that the line is in; empty for the file itself.
    fn section(&self) -> &'a str {
        self.above().find_map(|line| line.header()).unwrap_or_default()
    }

    /// The key that is there twice, and the remedy.
    fn twice(&self) -> Option<(String, String)> {
        let (line, second) = (self.line, self.line.number);
        if let Some(name) = line.header() {
            let first = self.above().find(|line| line.header() == Some(name))?.number;
            let message = format!("`[{name}]` is there twice, in lines {first} and {second}");
            return Some((message, "put all its keys below one of them".to_owned()));
        }
        let (section, key) = (self.section(), line.bare_key()?);
        let within = self.above().take_while(|line| line.header().is_none());
        let first = within.into_iter().find(|line| line.bare_key() == Some(key))?;
        let written = line.key()?;
        let path =
            if section.is_empty() { written.to_owned() } else { format!("{section}.{written}") };
        let message = format!("`{path}` is there twice, in lines {} and {second}", first.number);
        if section != ROUTES {
            return Some((message, "write it once".to_owned()));
        }
        let mut items = first.items();
        let known: Vec<String> = items.iter().map(|item| item.plugin.clone()).collect();
        items.extend(line.items().into_iter().filter(|item| !known.contains(&item.plugin)));
        let both = items.into_iter().map(|item| item.text).collect::<Vec<_>>().join(", ");
        Some((
            message,
            format!("write one line with all its plugins in a list: \"{key}\" = [{both}]"),
        ))
    }

    /// The remedy for a line with this message of the parser.
    fn help(&self, message: &str) -> String {
        let line = self.line.text;
        let is_quoted = line.starts_with(['"', '\'']);
        let names_key = ["invalid unquoted key", "key with no value"]
            .iter()
            .any(|says| message.starts_with(says));
        if line.starts_with("//") {
            return "a comment begins with `#`".to_owned();
        }
        if line.starts_with(['{', '}']) {
            return "is it JSON? The configuration is TOML: `[section]`, and below it lines `key = \"value\"`"
                .to_owned();
        }
        if line.contains(['\u{201c}', '\u{201d}', '\u{201e}']) {
            return "these quotes are typographic: write `\"`".to_owned();
        }
        if names_key
            && self.section() == ROUTES
            && !is_quoted
            && let Some(pattern) = self.line.bare_key()
        {
            return format!("put the pattern in quotes: \"{pattern}\" = …");
        }
        if names_key && line.contains('=') && line.starts_with('"') {
            return "close the quotes around the key".to_owned();
        }
        if names_key && !line.contains('=') {
            return "a line is `key = value`, with `=`".to_owned();
        }
        let found = HELP.iter().find(|(beginning, _)| message.starts_with(beginning));
        found.map_or(SYNTAX, |(_, help)| help).to_owned()
    }
}

/// A span that can be underlined: at the end of a line, the last character that is there.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    let before =
        text.get(..span.start).and_then(|head| head.chars().next_back()).filter(|c| *c != '\n');
    match before {
        Some(last) if span.is_empty() => span.start - last.len_utf8()..span.end,
        _ => span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems of a text: what is wrong, and what would be right.
    fn told(text: &str) -> Vec<(String, String)> {
        let sink = Sink::default();
        let (_, errors) = DeTable::parse_recoverable(text);
        explain(text, &errors, &sink);
        sink.into_parts().0.into_iter().map(|problem| (problem.message, problem.help)).collect()
    }

    #[test]
    fn a_pattern_that_is_there_twice_is_shown_as_one_line() {
        let text = "[routes]\n\"a.*\" = [\"x\", \"z\"]\n# \"a.*\"\n\"b\" = \"x\"\n\"a.*\" = \"my-handler\" # new\n";
        let right = "write one line with all its plugins in a list: \"a.*\" = [\"x\", \"z\", \"my-handler\"]";
        let expected =
            ("`routes.\"a.*\"` is there twice, in lines 2 and 5".to_owned(), right.to_owned());
        assert_eq!(told(text), [expected]);
        let same = told("[routes]\n\"a\" = \"x\"\n\"a\" = \"x\"\n");
        assert!(same[0].1.ends_with("\"a\" = [\"x\"]"), "{same:?}");
    }

    #[test]
    fn a_key_or_a_section_that_is_there_twice_is_named_with_both_lines() {
        let key =
            told("[store]\nurl = \"a\"\n[server]\nlisten = \"x\"\nadmin = \"z\"\nlisten = \"y\"\n");
        assert_eq!(key[0].0, "`server.listen` is there twice, in lines 4 and 6");
        let section = told("[plugins.a]\ntimeout = \"1s\"\n\n[plugins.a]\nmemory = \"1MiB\"\n");
        assert_eq!(section[0].0, "`[plugins.a]` is there twice, in lines 1 and 4");
    }

    #[test]
    fn what_was_likely_meant_is_said() {
        for (text, help) in [
            (
                "[routes]\navatar_video.* = \"audit\"\n",
                "put the pattern in quotes: \"avatar_video.*\" = …",
            ),
            ("[routes]\n* = \"audit\"\n", "put the pattern in quotes: \"*\" = …"),
            (
                "[routes]\nacme:order.paid = \"audit\"\n",
                "put the pattern in quotes: \"acme:order.paid\" = …",
            ),
            ("[routes]\norder paid = \"audit\"\n", "put the pattern in quotes: \"order paid\" = …"),
            ("[routes]\n\"a\": \"x\"\n", "with `=`"),
            ("[routes]\n\"a = \"x\"\n", "close the quotes around the key"),
            ("[routes]\n\"a\" = audit\n", "put the value in quotes"),
            ("[routes]\n\"a\" = [\"x\" \"y\"]\n", "put a comma between"),
            ("[routes\n\"a\" = \"x\"\n", "close the name of the section"),
            ("[server]\nlisten = 127.0.0.1:3000\n", "put the value in quotes"),
            ("[server]\nlisten = localhost:3000\n", "put the value in quotes"),
            ("[server]\nlisten = \"a\n", "close the string"),
            ("[server]\nlisten = True\n", "`true` or `false`"),
            ("[server]\nlisten = \u{201c}a\u{201d}\n", "typographic"),
            ("[server]\nlisten = \"a\", admin = \"b\"\n", "a line of its own"),
            ("[plugins.a]\nconfig = { a = 1\n", "close the table with `}`"),
            ("[plugins.a]\nconfig = { a = \"\\d\" }\n", "a backslash as"),
            ("{\"server\": {}}\n", "is it JSON?"),
            ("// a remark\n", "a comment begins with `#`"),
        ] {
            let told = told(text);
            assert!(told.len() == 1 && told[0].1.contains(help), "{text}: {told:?}");
        }
        assert_eq!(told("server:\n  listen: x\n").len(), 2, "one for each line");
    }

    #[test]
    fn a_value_is_not_repeated() {
        for text in [
            "secrets = whsec_0123",
            "secrets = [whsec_0123",
            "a = \"x\"\nsecrets = whsec_0123 x",
            "a: whsec_0123",
        ] {
            let told = format!("{:?}", told(text));
            assert!(!told.contains("0123"), "{told}");
        }
    }
}
