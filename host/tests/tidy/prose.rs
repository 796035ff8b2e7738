//! The sentences of comments: short ones, which name their subject.

use super::{Source, lexer};
use lexer::Comment;

/// The most words of a sentence.
const MAX_WORDS: usize = 35;

/// Beginnings of sentences that leave the reader to guess their subject, unless they ask something.
const RIDDLES: [&str; 3] = ["What ", "Who ", "One that "];

/// Words with the lines on which they stand.
type Words<'c> = Vec<(usize, &'c str)>;

/// The sentences that are too long or do not name their subject.
pub(super) fn check(source: &Source) -> Vec<String> {
    let comments = lexer::comments(&source.text);
    let paragraphs = paragraphs(&comments);
    let sentences = paragraphs.iter().flat_map(|words| sentences(words));
    let found = sentences.filter_map(|sentence| {
        let (line, _) = sentence.first()?;
        let text = sentence.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
        let count = sentence.iter().filter(|(_, word)| is_counted(word)).count();
        let why = if count > MAX_WORDS {
            format!("has {count} words, more than {MAX_WORDS}")
        } else if RIDDLES.iter().any(|riddle| text.starts_with(riddle)) && !text.ends_with('?') {
            "does not name its subject".to_owned()
        } else {
            return None;
        };
        let begin: String = text.chars().take(50).collect();
        Some(source.violation(*line, format!("the sentence `{begin}…` {why}")))
    });
    found.collect()
}

/// Whether it is more than a dash or another mark.
fn is_counted(word: &str) -> bool {
    word.chars().any(char::is_alphanumeric)
}

/// Comments on lines below each other, cut at empty lines, at list items and at code.
fn paragraphs<'c>(comments: &'c [Comment]) -> Vec<Words<'c>> {
    let mut found: Vec<Words<'c>> = vec![Vec::new()];
    let (mut last, mut is_code): (Option<&Comment>, bool) = (None, false);
    for comment in comments {
        let goes_on = last.is_some_and(|last| comment.goes_on_from(last));
        let text = comment.text();
        let is_fence = text.trim_start().starts_with("```");
        is_code = (is_code && goes_on) ^ is_fence;
        let item = text.trim_start().split_once(' ').filter(|(mark, _)| is_list_mark(mark));
        if !goes_on || is_fence || text.trim().is_empty() || item.is_some() {
            found.push(Vec::new());
        }
        // An indented line is code as well.
        if !is_code && !is_fence && !text.starts_with("    ") {
            let words = item.map_or(text, |(_, rest)| rest).split_whitespace();
            let paragraph = found.last_mut().expect("there is a first one");
            paragraph.extend(words.map(|word| (comment.line, word)));
        }
        last = Some(comment);
    }
    found
}

/// Whether a line that begins with this word is an item of a list, a heading or a row of a table.
fn is_list_mark(word: &str) -> bool {
    let number = word.strip_suffix('.').unwrap_or_default();
    ["-", "*", "|"].contains(&word)
        || !word.is_empty() && word.bytes().all(|byte| byte == b'#')
        || !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The sentences of a paragraph. A full stop within `code` ends none, nor does one before a small
/// letter.
fn sentences<'w, 'c>(words: &'w [(usize, &'c str)]) -> Vec<&'w [(usize, &'c str)]> {
    let (mut found, mut begin, mut ticks) = (Vec::new(), 0, 0_usize);
    for (at, (_, word)) in words.iter().enumerate() {
        ticks += word.matches('`').count();
        let ends = word.trim_end_matches([')', '"', '\'']).ends_with(['.', '?', '!']);
        let next = words.get(at + 1).map(|(_, next)| next.trim_start_matches(['(', '"', '[']));
        let begins = next.is_none_or(|next| !next.starts_with(char::is_lowercase));
        if ends && begins && ticks.is_multiple_of(2) {
            found.push(&words[begin..=at]);
            begin = at + 1;
        }
    }
    found.push(&words[begin..]);
    found
}

#[test]
fn a_sentence_that_leaves_its_subject_to_guess_is_found() {
    let found = |text: &str| check(&Source::new("host/src/a.rs", text));
    let lines = |text: &str| {
        let places = found(text).into_iter();
        let line = |place: String| place.split(':').nth(1).and_then(|line| line.parse().ok());
        places.map(|place| line(place).unwrap()).collect::<Vec<usize>>()
    };
    assert_eq!(lines("/// What it is.\nfn a() {}"), [1]);
    assert_eq!(lines("//! A file.\n//!\n//! Short. Who asks is told, and\n//! waits.\n"), [3]);
    assert_eq!(lines("fn a() {\n    b(); // One that is late.\n    // What is new.\n}"), [2, 3]);
    assert_eq!(lines("/// A list:\n/// - What it is\n/// 2. Who asks\n"), [2, 3]);
    for right in [
        "/// What is it?",
        "/// The plugin, and\n/// What cheer, a text of `x. What y`.",
        "const A: &str = \"// What it is\";",
        "/// ```\n/// // What it is\n/// ```\n/// Somebody.",
        "/// One of them. Whoever asks",
    ] {
        assert_eq!(found(right), [""; 0], "{right}");
    }
}

#[test]
fn a_sentence_with_too_many_words_is_found() {
    let found = |words: usize, end: &str| {
        let text =
            format!("/// Five words stand at first{}{end}\n/// More.", " more".repeat(words));
        check(&Source::new("host/src/a.rs", &text))
    };
    assert_eq!(found(30, "."), [""; 0]);
    assert_eq!(found(29, " -- and."), [""; 0], "a dash is no word");
    let long = found(31, ".");
    assert!(matches!(&long[..], [one] if one.contains(":1:") && one.contains("36 words")));
    assert_eq!(found(30, "").len(), 1, "without a full stop it goes on");
}
