//! The difference between an edited body and the one before, and the line ends that a form loses.

use std::time::Duration;

use similar::{Algorithm, ChangeTag, DiffTag, TextDiff, capture_diff_slices};

use super::html::Html;

/// The longest time for finding a small difference; then a larger one is shown.
const LONGEST: Duration = Duration::from_millis(200);

/// The longest part without a difference that is shown whole, in bytes.
const MAX_SAME: usize = 400;

/// The most bytes of both texts that are compared.
const MAX_COMPARED: usize = 128 << 10;

/// The difference between two texts, as deleted and inserted parts; none if they are the same or
/// too long.
pub(in crate::admin::page) fn difference(old: &str, new: &str) -> Option<Html> {
    if old == new || old.len() + new.len() > MAX_COMPARED {
        return None;
    }
    let (old, new) = (tokens(old), tokens(new));
    let diff = TextDiff::configure().timeout(LONGEST).diff_slices(&old, &new);
    let mut parts: Vec<(ChangeTag, String)> = Vec::new();
    for change in diff.iter_all_changes() {
        match parts.last_mut() {
            Some((tag, text)) if *tag == change.tag() => text.push_str(change.value()),
            _ => parts.push((change.tag(), change.value().to_owned())),
        }
    }
    let mut html = Html::default();
    for (tag, text) in &parts {
        match tag {
            ChangeTag::Equal => same(&mut html, text),
            ChangeTag::Delete => {
                html.raw("<del><span class=\"vh\">deleted: </span>").lines(text).raw("</del>");
            }
            ChangeTag::Insert => {
                html.raw("<ins><span class=\"vh\">inserted: </span>").lines(text).raw("</ins>");
            }
        }
    }
    Some(html)
}

/// A part that both have: its beginning and its end, if it is long.
fn same(html: &mut Html, text: &str) {
    if text.len() <= MAX_SAME {
        html.lines(text);
        return;
    }
    let head = text.floor_char_boundary(MAX_SAME / 2);
    let tail = text.ceil_char_boundary(text.len() - MAX_SAME / 2);
    html.lines(&text[..head]).raw("<span class=\"dim\"> … </span>").lines(&text[tail..]);
}

/// Words, and every other character for itself.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut word = 0;
    for (at, c) in text.char_indices() {
        if !c.is_alphanumeric() {
            if word < at {
                found.push(&text[word..at]);
            }
            let end = at + c.len_utf8();
            found.push(&text[at..end]);
            word = end;
        }
    }
    if word < text.len() {
        found.push(&text[word..]);
    }
    found
}

/// The text that a form has sent, with the line ends of the text that it was made of: browsers send
/// every line end as CR LF. A line that was not edited keeps its own; a new one has the usual one.
pub(in crate::admin::page) fn with_line_ends(old: &str, sent: &str) -> String {
    let (old, sent) = (lines(old), lines(sent));
    let usual = usual_end(&old);
    let (a, b) = (contents(&old), contents(&sent));
    let end = |own: &str, sent: &str| match (sent.is_empty(), own.is_empty()) {
        (true, _) => "",
        (false, true) => usual,
        (false, false) => own_end(own),
    };
    let mut text = String::new();
    for op in capture_diff_slices(Algorithm::Myers, &a, &b) {
        let (tag, olds, news) = op.as_tag_tuple();
        for (at, (line, its_end)) in sent[news].iter().enumerate() {
            let own = if tag == DiffTag::Equal { old[olds.start + at].1 } else { "" };
            text.push_str(line);
            text.push_str(end(own, its_end));
        }
    }
    text
}

fn contents<'t>(lines: &[(&'t str, &'t str)]) -> Vec<&'t str> {
    lines.iter().map(|(line, _)| *line).collect()
}

fn own_end(end: &str) -> &'static str {
    match end {
        "\r\n" => "\r\n",
        "\r" => "\r",
        _ => "\n",
    }
}

/// The line end that most lines have.
fn usual_end(lines: &[(&str, &str)]) -> &'static str {
    let count = |end: &str| lines.iter().filter(|(_, its)| *its == end).count();
    if count("\r\n") > count("\n") { "\r\n" } else { "\n" }
}

/// Lines with their ends; the last one has none.
fn lines(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        let length = if rest[at..].starts_with("\r\n") { 2 } else { 1 };
        found.push((&rest[..at], &rest[at..at + length]));
        rest = &rest[at + length..];
    }
    found.push((rest, ""));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_is_deleted_and_inserted() {
        let html = difference("{\"n\":12,\"a\":\"<x>\"}", "{\"n\":13,\"a\":\"<x>\"}").unwrap();
        let text = html.to_string();
        assert!(text.contains("<del><span class=\"vh\">deleted: </span>12</del>"), "{text}");
        assert!(text.contains("<ins><span class=\"vh\">inserted: </span>13</ins>"), "{text}");
        assert!(text.contains("&lt;x&gt;") && !text.contains("<x>"), "{text}");
        assert_eq!(difference("a", "a"), None);
    }

    #[test]
    fn lines_that_are_not_edited_keep_their_ends() {
        for old in ["{\n  \"a\": 1\n}\n", "a\r\nb\r\n", "a\nb\r\nc\rd", "", "\n", "a"] {
            let sent = lines(old).iter().fold(String::new(), |text, (line, end)| {
                text + line + if end.is_empty() { "" } else { "\r\n" }
            });
            assert_eq!(with_line_ends(old, &sent), old, "{old:?}");
        }
        assert_eq!(with_line_ends("a\nb\r\nc\n", "a\r\nnew\r\nb\r\nc\r\n"), "a\nnew\nb\r\nc\n");
        assert_eq!(with_line_ends("a\r\nb\r\nc", "a\r\nx\r\nc\r\n"), "a\r\nx\r\nc\r\n");
    }
}
