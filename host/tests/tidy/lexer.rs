//! Rust source as tokens: enough to tell code from comments and text.

/// Stands for a text.
const TEXT: &str = "\"\"";

/// A piece of code and the line it begins on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Words, numbers, `::` and single signs. Comments, texts, characters and lifetimes are left out,
/// an empty pair of quotes standing for a text.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < chars.len() {
        let (end, text) = token(&chars, at);
        if let Some(text) = text {
            found.push(Token { line, text });
        }
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    found
}

/// A comment of one line.
pub(super) struct Comment {
    pub(super) line: usize,
    /// The characters before it on its line.
    column: usize,
    /// With its slashes.
    whole: String,
}

impl Comment {
    /// The slashes, which say whether it is about what follows or what it stands in.
    fn mark(&self) -> &str {
        ["///", "//!"].into_iter().find(|mark| self.whole.starts_with(mark)).unwrap_or("//")
    }

    /// The text, with the spaces in front of it but for the first.
    pub(super) fn text(&self) -> &str {
        let text = &self.whole[self.mark().len()..];
        text.strip_prefix(' ').unwrap_or(text)
    }

    /// Whether it stands under another one of the same kind.
    pub(super) fn goes_on_from(&self, last: &Self) -> bool {
        let below = (last.line + 1, last.column, last.mark());
        below == (self.line, self.column, self.mark())
    }
}

/// The comments that begin with two slashes, line by line.
pub(super) fn comments(source: &str) -> Vec<Comment> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line, mut column, mut found) = (0, 1, 0, Vec::new());
    while at < chars.len() {
        let (end, _) = token(&chars, at);
        let part = &chars[at..end];
        if part.starts_with(&['/', '/']) {
            found.push(Comment { line, column, whole: part.iter().collect() });
        }
        for c in part {
            (line, column) = if *c == '\n' { (line + 1, 0) } else { (line, column + 1) };
        }
        at = end;
    }
    found
}

/// How wide each line is, in characters. Texts do not count, because a message that people search
/// for stays on one line; nor do names of functions, because a test's is a sentence.
pub(super) fn widths(source: &str) -> Vec<usize> {
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut widths, mut names) = (0, vec![0], false);
    while at < chars.len() {
        let (end, text) = token(&chars, at);
        let counts = usize::from(!names && text.as_deref() != Some(TEXT));
        for c in &chars[at..end] {
            match c {
                '\n' => widths.push(0),
                _ => *widths.last_mut().expect("there is a first line") += counts,
            }
        }
        names = text.map_or(names, |text| text == "fn");
        at = end;
    }
    widths
}

/// The tokens without the items that only tests are compiled with.
pub(super) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut at, mut kept) = (0, Vec::new());
    while at < tokens.len() {
        if is_spelled(tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            at = end_of_item(tokens, at + 7);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Whether the tokens from `at` are these words.
pub(super) fn is_spelled(tokens: &[Token], at: usize, words: &[&str]) -> bool {
    let found = tokens[at..].iter().take(words.len()).map(|token| token.text.as_str());
    found.eq(words.iter().copied())
}

/// Where the item that begins at `at` is over: behind its semicolon or its braces.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut open = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" | "(" | "[" => open += 1,
            ")" | "]" => open -= 1,
            "}" if open <= 1 => return at + usize::from(open == 1),
            "}" => open -= 1,
            ";" if open == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

fn token(chars: &[char], at: usize) -> (usize, Option<String>) {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => (at + until(rest, |part| part[0] == '\n'), None),
        ['/', '*', ..] => (block_comment(chars, at), None),
        ['"', ..] => (quoted(chars, at + 1, '"'), Some(TEXT.to_owned())),
        ['\'', '\\', ..] => (quoted(chars, at + 1, '\''), None),
        ['\'', _, '\'', ..] => (at + 3, None),
        ['\'', ..] => (at + 1 + until(&rest[1..], |part| !word(part[0])), None),
        [':', ':', ..] => (at + 2, Some("::".to_owned())),
        [first, ..] if word(*first) => word_or_text(chars, at),
        [first, ..] => (at + 1, (!first.is_whitespace()).then(|| first.to_string())),
        [] => (at + 1, None),
    }
}

/// A word, or a text with a prefix: `b"…"`, `r#"…"#`; or a raw word: `r#type`.
fn word_or_text(chars: &[char], at: usize) -> (usize, Option<String>) {
    let end = at + until(&chars[at..], |part| !word(part[0]));
    let text: String = chars[at..end].iter().collect();
    if matches!(text.as_str(), "r" | "br" | "cr") {
        let hashes = until(&chars[end..], |part| part[0] != '#');
        if chars.get(end + hashes) == Some(&'"') {
            let begin = end + hashes + 1;
            let closes = |part: &[char]| {
                part[0] == '"' && part[1..].iter().take_while(|c| **c == '#').count() >= hashes
            };
            return (begin + until(&chars[begin..], closes) + 1 + hashes, Some(TEXT.to_owned()));
        }
        if hashes == 1 {
            return word_or_text(chars, end + 1);
        }
    }
    match (text.as_str(), chars.get(end)) {
        ("b" | "c", Some('"')) => (quoted(chars, end + 1, '"'), Some(TEXT.to_owned())),
        ("b", Some('\'')) => (quoted(chars, end + 1, '\''), None),
        _ => (end, Some(text)),
    }
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many characters stand before the first place where `ends` holds.
fn until(chars: &[char], ends: impl Fn(&[char]) -> bool) -> usize {
    (0..chars.len()).find(|at| ends(&chars[*at..])).unwrap_or(chars.len())
}

fn quoted(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn block_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[test]
fn comments_and_texts_are_told_from_code() {
    let source = r###"
        a // b
        /* c /* d */ e */ f("g \" h", r#"i " j"#, b"k", 'l', '\'', b'm') -> n::<'o, T> r#type
    "###;
    let words: Vec<(usize, String)> =
        tokens(source).into_iter().map(|token| (token.line, token.text)).collect();
    let words: Vec<(usize, &str)> =
        words.iter().map(|(line, text)| (*line, text.as_str())).collect();
    let expected = [
        "f", "(", "\"\"", ",", "\"\"", ",", "\"\"", ",", ",", ",", ")", "-", ">", "n", "::", "<",
        ",", "T", ">",
    ];
    assert_eq!(words[0], (2, "a"));
    assert_eq!(
        words[1..words.len() - 1].iter().map(|(_, text)| *text).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(*words.last().unwrap(), (3, "type"));
}

#[test]
fn code_for_tests_is_told_from_the_program() {
    let kept = |source: &str| {
        let kept = without_tests(&tokens(source)).into_iter().map(|token| token.text);
        kept.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(kept("a; #[cfg(test)] mod b { fn c() { d } } e"), "a ; e");
    assert_eq!(kept("#[cfg(test)] mod b; #[cfg(test)] #[derive(C)] struct D; e"), "e");
    assert_eq!(kept("#[cfg(test)] fn b<A, C>(d: [u8; 2]) -> C { e } f"), "f");
    assert_eq!(kept("struct A { b: C, #[cfg(test)] d: E } f"), "struct A { b : C , } f");
}
