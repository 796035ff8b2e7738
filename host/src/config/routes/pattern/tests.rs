//! Patterns against their definition, and against the patterns of before.

use proptest::prelude::*;

use super::super::Routes;
use super::*;
use crate::event::Target;

fn parse(text: &str) -> Result<Pattern<'_>, PatternError> {
    Pattern::parse(text, |name| ["acme", "s"].contains(&name) || name.starts_with("plugins/"))
}

fn takes(pattern: &str, kind: &str) -> bool {
    parse(pattern).unwrap().takes(kind)
}

#[test]
fn stars_stand_for_pieces_between_dots_slashes_and_colons() {
    for (pattern, kinds, others) in [
        ("Push Hook", &["Push Hook"][..], &["Push", "Push  Hook", "push hook"][..]),
        ("repo:push", &["repo:push"], &["push", "repo"]),
        ("repo:*", &["repo:push", "repo:"], &["repo", "repo:a.b", "repo:a/b", "repo:a:b"]),
        ("*:push", &["repo:push", ":push"], &["push", "a.b:push", "repo:push:x"]),
        (
            "pullrequest:**",
            &["pullrequest", "pullrequest:created", "pullrequest:a.b/c"],
            &["pullrequest.x", "p"],
        ),
        ("a/*", &["a/b", "a/é"], &["a", "a/b/c", "a.b"]),
        ("*/b", &["a/b", "/b"], &["a/b/c", "x.a/b"]),
        ("a/*/c", &["a/b/c"], &["a/c", "a/b/b/c"]),
        ("a/**/c", &["a/c", "a/b/c", "a/b/b/c"], &["a/b", "ac"]),
        ("**/b", &["b", "a/b", "x.y/a/b"], &["ab", "a.b"]),
        ("**.a/**", &["a", "a.a/b", "x.a/y.z"], &["a.b", "x/a"]),
        ("a.**/b", &["a/b", "a.x/b", "a.x.y/z/b"], &["a.b", "a"]),
        ("https://**", &["https://x.example/a", "https:/"], &["https:", "http://x"]),
        ("a.*", &["a.b", "a.b/c", "a.b:c", "a."], &["a", "a.b.c"]),
        ("a.*/b", &["a.x/b"], &["a.x/y/b", "a/b"]),
        ("*", &["push", "Push Hook", "a/b:c"], &["a.b"]),
        ("**", &["push", "a.b/c:d e"], &[]),
        ("hookbox.unidentified", &["hookbox.unidentified"], &["hookbox"]),
    ] {
        for kind in kinds {
            assert!(takes(pattern, kind), "{pattern} takes {kind}");
        }
        for kind in others {
            assert!(!takes(pattern, kind), "{pattern} does not take {kind}");
        }
    }
}

#[test]
fn what_is_not_a_pattern_is_refused() {
    for (text, error) in [
        ("", PatternError::Empty),
        ("acme:", PatternError::Empty),
        ("other:", PatternError::Empty),
        (":a", PatternError::Empty),
        ("a..b", PatternError::EmptySegment),
        (".a", PatternError::EmptySegment),
        ("a.", PatternError::EmptySegment),
        ("acme:a.", PatternError::EmptySegment),
        ("a.vid*", PatternError::StarWithin),
        ("a/vid*", PatternError::StarWithin),
        ("a.***", PatternError::StarWithin),
        ("a  b", PatternError::BadCharacter),
        (" a", PatternError::BadCharacter),
        ("acme:a ", PatternError::BadCharacter),
        ("a\tb", PatternError::BadCharacter),
        ("a\u{202e}b", PatternError::BadCharacter),
        ("plugins/*:a", PatternError::StarInSource),
    ] {
        assert_eq!(parse(text).map(|pattern| pattern.tokens), Err(error), "{text}");
    }
    assert_eq!(
        parse(&"a".repeat(MAX_NAME_BYTES + 1)).map(|pattern| pattern.tokens),
        Err(PatternError::TooLong)
    );
}

#[test]
fn a_pattern_that_takes_words_has_no_separator_that_it_insists_on() {
    for pattern in ["push", "*", "**", "**.**", "push.**", "**.push", "acme:**", "a_1"] {
        assert!(parse(pattern).unwrap().takes_words(), "{pattern}");
    }
    for pattern in [
        "pull_request.opened",
        "pull_request.*",
        "*.*",
        "Push Hook",
        "a/b",
        "repo:push",
        "Push",
        "é",
    ] {
        assert!(!parse(pattern).unwrap().takes_words(), "{pattern}");
    }
}

/// The definition, by trying everything.
fn naive(pieces: &[(Option<u8>, &str)], kind: &[u8], leads: bool) -> bool {
    let Some(((before, piece), rest)) = pieces.split_first() else { return kind.is_empty() };
    let after = rest.first().and_then(|(before, _)| *before);
    let from = |at: usize, leads: bool| naive(rest, &kind[at..], leads);
    if *piece == "**" && leads {
        let Some(after) = after else { return true };
        return from(0, true) || (0..kind.len()).any(|at| kind[at] == after && from(at + 1, true));
    }
    if *piece == "**" {
        return from(0, false)
            || kind.first() == before.as_ref() && (1..=kind.len()).any(|at| from(at, false));
    }
    let kind = match before {
        Some(before) if !leads && kind.first() == Some(before) => &kind[1..],
        Some(_) if !leads => return false,
        _ => kind,
    };
    let from = |at: usize| naive(rest, &kind[at..], false);
    let narrow = [*before, after].into_iter().flatten().any(|separator| separator != b'.');
    let stops = |byte: &u8| if narrow { b"./:".contains(byte) } else { *byte == b'.' };
    match *piece {
        "*" => (0..=kind.len()).any(|at| !kind[..at].iter().any(stops) && from(at)),
        literal => kind.starts_with(literal.as_bytes()) && from(literal.len()),
    }
}

fn pieces(pattern: &str) -> Vec<(Option<u8>, &str)> {
    let (mut pieces, mut rest, mut before) = (Vec::new(), pattern, None);
    while let Some(end) = rest.find(['.', '/', ':']) {
        pieces.push((before, &rest[..end]));
        (before, rest) = (Some(rest.as_bytes()[end]), &rest[end + 1..]);
    }
    pieces.push((before, rest));
    pieces
}

/// Patterns as they were before types with slashes and colons could be routed.
mod before {
    pub(super) fn is_pattern(kind: &str) -> bool {
        let segment =
            |text: &str| !text.is_empty() && (["*", "**"].contains(&text) || !text.contains('*'));
        !kind.contains(|c: char| c.is_whitespace() || c.is_control())
            && kind.split('.').all(segment)
    }

    pub(super) fn matches(pattern: &[&str], kind: &[&str]) -> bool {
        match (pattern.split_first(), kind.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => (0..=kind.len()).any(|taken| matches(rest, &kind[taken..])),
            (Some((&"*", rest)), Some((_, others))) => matches(rest, others),
            (Some((first, rest)), Some((segment, others))) => {
                first == segment && matches(rest, others)
            }
            _ => false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(2_000)
    })]

    #[test]
    fn the_matcher_agrees_with_the_definition(
        first in "(a|b|\\*|\\*\\*)",
        others in prop::collection::vec(("[./:]", "(a|b|\\*|\\*\\*)"), 0..6),
        kind in "[ab./:]{0,9}",
    ) {
        let pattern = others.iter().fold(first, |text, (separator,
            piece)| text + separator + piece);
        let expected = naive(&pieces(&pattern), kind.as_bytes(), true);
        prop_assert_eq!(takes(&pattern, &kind), expected, "{} {}", pattern, kind);
        // The table finds it by its beginning.
        let routes = Routes::new([(pattern.as_str(), vec![Target::to("p")])], |_| false).unwrap();
        prop_assert_eq!(!routes.targets("s", &kind).is_empty(), expected, "{} {}", pattern, kind);
    }

    #[test]
    fn a_pattern_matches_every_type_that_it_matched_before(
        source in "(s:)?",
        segments in prop::collection::vec("(a|b|a/b|a:b|/|a/|\\*|\\*\\*)", 1..6),
        kind in "[ab./:]{0,9}|(a|b|a/b|a:b|/)(\\.(a|b|a/b|a:b|/|)){0,5}",
    ) {
        let pattern = segments.join(".");
        prop_assume!(before::is_pattern(&pattern) && (!pattern.contains(':')
            || !source.is_empty()));
        let text = source + &pattern;
        let matched = before::matches(
            &segments.iter().map(String::as_str).collect::<Vec<_>>(),
                &kind.split('.').collect::<Vec<_>>());
        let routes = Routes::new([(text.as_str(), vec![Target::to("p")])], |name| name == "s").unwrap();
        prop_assert_eq!(!routes.targets("s", &kind).is_empty(), matched, "{} {}", text, kind);
    }
}
