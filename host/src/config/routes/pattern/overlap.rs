//! Whether some type matches two patterns.

use std::collections::HashSet;

use super::{Pattern, PatternToken, is_dot, is_separator};

/// A step through a pattern.
#[derive(Debug, Clone, Copy)]
enum PatternStep {
    /// This byte.
    Byte(u8),
    /// Any number of the bytes that this says.
    Any(fn(u8) -> bool),
    /// This step and the next two, or none of them.
    Optional,
}

impl Pattern<'_> {
    /// Whether some type matches both patterns, whatever their sources. Bytes that no type has
    /// count as well.
    pub(in crate::config::routes) fn overlaps(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.steps(), other.steps());
        let (mut seen, mut open) = (HashSet::from([(0, 0)]), vec![(0, 0)]);
        while let Some((our, their)) = open.pop() {
            if our == ours.len() && their == theirs.len() {
                return true;
            }
            let next = skipped(&ours, our).map(|our| (our, their));
            let next = next.into_iter().chain(skipped(&theirs, their).map(|their| (our, their)));
            let next =
                next.chain(together(ours.get(our), theirs.get(their)).map(|(by_us, by_them)| {
                    (our + usize::from(by_us), their + usize::from(by_them))
                }));
            for place in next.collect::<Vec<_>>() {
                if seen.insert(place) {
                    open.push(place);
                }
            }
            // Optional steps are entered as well as skipped.
            for place in [(entered(&ours, our), their), (our, entered(&theirs, their))] {
                if seen.insert(place) {
                    open.push(place);
                }
            }
        }
        false
    }

    fn steps(&self) -> Vec<PatternStep> {
        let mut steps = Vec::new();
        for token in &self.tokens {
            match token {
                PatternToken::Text(text) => steps.extend(text.bytes().map(PatternStep::Byte)),
                PatternToken::Piece => steps.push(PatternStep::Any(|byte| !is_separator(byte))),
                PatternToken::Segment => steps.push(PatternStep::Any(|byte| !is_dot(byte))),
                PatternToken::Many(separator) => {
                    steps.extend([
                        PatternStep::Optional,
                        PatternStep::Byte(*separator),
                        PatternStep::Any(|_| true),
                    ]);
                }
                PatternToken::Lead(separator) => {
                    steps.extend([
                        PatternStep::Optional,
                        PatternStep::Any(|_| true),
                        PatternStep::Byte(*separator),
                    ]);
                }
                PatternToken::Any => steps.push(PatternStep::Any(|_| true)),
            }
        }
        steps
    }
}

/// The place behind what may be left out here.
fn skipped(steps: &[PatternStep], at: usize) -> Option<usize> {
    match steps.get(at)? {
        PatternStep::Byte(_) => None,
        PatternStep::Any(_) => Some(at + 1),
        PatternStep::Optional => Some(at + 3),
    }
}

/// The place behind the mark of an optional step.
fn entered(steps: &[PatternStep], at: usize) -> usize {
    at + usize::from(matches!(steps.get(at), Some(PatternStep::Optional)))
}

/// Whether one byte goes through both steps, and which of them it ends.
fn together(our: Option<&PatternStep>, their: Option<&PatternStep>) -> Option<(bool, bool)> {
    match (our?, their?) {
        (PatternStep::Byte(our), PatternStep::Byte(their)) => {
            (our == their).then_some((true, true))
        }
        (PatternStep::Byte(byte), PatternStep::Any(takes)) => takes(*byte).then_some((true, false)),
        (PatternStep::Any(takes), PatternStep::Byte(byte)) => takes(*byte).then_some((false, true)),
        // A byte that both take ends neither, and the patterns are where they were.
        (PatternStep::Any(_), PatternStep::Any(_))
        | (PatternStep::Optional, _)
        | (_, PatternStep::Optional) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn overlap(first: &str, second: &str) -> bool {
        let parsed = |text| Pattern::parse(text, |_| false).unwrap();
        let (first, second) = (parsed(first), parsed(second));
        let found = first.overlaps(&second);
        assert_eq!(second.overlaps(&first), found, "both ways");
        found
    }

    #[test]
    fn patterns_overlap_if_some_type_matches_both() {
        for (first, second) in [
            ("a.b", "a.b"),
            ("a.*", "*.b"),
            ("a.**", "a"),
            ("**", "x"),
            ("**.z", "a.**"),
            ("**.z", "z"),
            ("a/*", "a/b"),
            ("a.**.z", "a.z"),
            ("a.*.c", "a.b.*"),
            ("**.a.**", "**.b.**"),
        ] {
            assert!(overlap(first, second), "{first} {second}");
        }
        for (first, second) in [
            ("a.b", "a.c"),
            ("a.*", "b.*"),
            ("a.*", "a"),
            ("a.*", "a.b.c"),
            ("*", "a.*"),
            ("**.z", "a.b"),
            ("a/*", "a/b/c"),
            ("a.**", "ab"),
        ] {
            assert!(!overlap(first, second), "{first} {second}");
        }
    }

    proptest! {
        #[test]
        fn a_type_that_both_match_makes_them_overlap(
            first in "(a|b|\\*|\\*\\*)([.:](a|b|\\*|\\*\\*)){0,3}",
            second in "(a|b|\\*|\\*\\*)([.:](a|b|\\*|\\*\\*)){0,3}",
            kind in "[ab]([.:][ab]){0,4}",
        ) {
            let parsed = |text| Pattern::parse(text, |_| false);
            let (Ok(one), Ok(other)) = (parsed(&first), parsed(&second)) else { return Ok(()) };
            let overlap = one.overlaps(&other);
            if one.takes(&kind) && other.takes(&kind) {
                prop_assert!(overlap, "{} {} {}", first, second, kind);
            }
        }
    }
}
