//! A pattern of event types, taken apart, and the types it matches.
//!
//! A type is made of pieces between `.`, `/` and `:`. `*` stands for what is between two dots;
//! beside a `/` or a `:` it ends there too, and is one piece. `**` stands for any number of pieces;
//! if it stands for none, it is left out with the separator in front of it (behind it at the
//! beginning): `a.**` matches `a`, `**.z` matches `z`.

use super::PatternError;
use crate::event::MAX_NAME_BYTES;
use crate::event::name::{self, NameFault};

mod overlap;

/// The characters between pieces.
const SEPARATORS: [char; 3] = ['.', '/', ':'];

/// A pattern, taken apart.
#[derive(Debug)]
pub(super) struct Pattern<'a> {
    pub(super) source: Option<&'a str>,
    /// The part about the type.
    pub(super) kind: &'a str,
    tokens: Vec<PatternToken>,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternToken {
    /// This text, separators included.
    Text(String),
    /// `*` beside a `/` or a `:`: no separator.
    Piece,
    /// Any other `*`: no dot.
    Segment,
    /// `**` with the separator in front of it: nothing, or the separator and any text.
    Many(u8),
    /// `**` at the beginning with the separator behind it: nothing, or any text and the separator.
    Lead(u8),
    /// `**` alone: any text.
    Any,
}

/// The rest of a pattern with a star, behind the text that it begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matcher {
    tokens: Vec<PatternToken>,
    /// Whether more than one way to match has to be tried.
    branches: bool,
}

/// A pattern that finds types in a listing. It means what it means in a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypePattern {
    text: String,
    beginning: String,
    matcher: Matcher,
}

impl TypePattern {
    /// Reads a pattern; a colon belongs to the type.
    ///
    /// # Errors
    /// It is no pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (beginning, matcher) = Pattern::parse(text, |_| false)?.into_matcher();
        Ok(Self { text: text.to_owned(), beginning, matcher })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches this type.
    pub fn takes(&self, kind: &str) -> bool {
        kind.starts_with(&self.beginning) && self.matcher.fits(kind, self.beginning.len())
    }
}

/// Whether pieces end at this byte.
pub(super) fn is_separator(byte: u8) -> bool {
    matches!(byte, b'.' | b'/' | b':')
}

impl<'a> Pattern<'a> {
    /// The text in front of the first `:` is a source if `is_source` says so, otherwise the colon
    /// belongs to the type.
    pub(super) fn parse(
        text: &'a str,
        is_source: impl Fn(&str) -> bool,
    ) -> Result<Self, PatternError> {
        let (source, kind) = match text.split_once(':') {
            Some(("", _) | (_, "")) => return Err(PatternError::Empty),
            Some((source, kind)) if is_source(source) => (Some(source), kind),
            _ => (None, text),
        };
        match name::check(kind) {
            Ok(()) => {}
            Err(NameFault::Empty) => return Err(PatternError::Empty),
            Err(NameFault::TooLong) => return Err(PatternError::TooLong),
            Err(NameFault::Control | NameFault::Blank) => return Err(PatternError::BadCharacter),
        }
        if source.is_some_and(|source| source.contains('*')) {
            return Err(PatternError::StarInSource);
        }
        Ok(Self { source, kind, tokens: tokens(kind)? })
    }

    /// Whether it matches one type only, the one that it is itself.
    pub(super) fn is_exact(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, PatternToken::Text(_)))
    }

    /// Whether it matches some word of a to z, 0 to 9 and `_`.
    pub(super) fn takes_words(&self) -> bool {
        let is_word =
            |text: &str| text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        self.tokens.iter().all(|token| !matches!(token, PatternToken::Text(text) if !is_word(text)))
    }

    /// Whether it matches this type.
    pub(super) fn takes(self, kind: &str) -> bool {
        let (beginning, matcher) = self.into_matcher();
        kind.starts_with(&beginning) && matcher.fits(kind, beginning.len())
    }

    /// Splits it into the text that every matching type begins with, and the rest. In the type a
    /// separator, or nothing, follows that beginning.
    pub(super) fn into_matcher(self) -> (String, Matcher) {
        let mut tokens = self.tokens;
        let mut beginning = String::new();
        let starred =
            tokens.get(1).map(|token| matches!(token, PatternToken::Piece | PatternToken::Segment));
        if let Some(PatternToken::Text(text)) = tokens.first_mut() {
            // In front of a star that is not at the beginning stands a separator, which is not part
            // of the beginning.
            let keep = text.len() - usize::from(starred == Some(true));
            let rest = text.split_off(keep);
            beginning = std::mem::replace(text, rest);
        }
        tokens.retain(|token| !matches!(token, PatternToken::Text(text) if text.is_empty()));
        let last = tokens.len().saturating_sub(1);
        let branches = |(at, token): (usize, &PatternToken)| match token {
            PatternToken::Lead(_) => true,
            PatternToken::Many(_) => at < last,
            PatternToken::Text(_)
            | PatternToken::Piece
            | PatternToken::Segment
            | PatternToken::Any => false,
        };
        let branches = tokens.iter().enumerate().any(branches);
        (beginning, Matcher { tokens, branches })
    }
}

fn tokens(kind: &str) -> Result<Vec<PatternToken>, PatternError> {
    if kind.split('.').any(str::is_empty) {
        return Err(PatternError::EmptySegment);
    }
    let mut tokens = Vec::new();
    let mut text = String::new();
    // Whether everything up to here is `**`, which has taken the separator behind it.
    let mut leads = true;
    let (mut rest, mut before) = (kind, None);
    loop {
        let end = rest.find(SEPARATORS).unwrap_or(rest.len());
        let (piece, after) = (&rest[..end], rest.as_bytes().get(end).copied());
        if piece == "**" && leads {
            tokens.push(after.map_or(PatternToken::Any, PatternToken::Lead));
        } else {
            if piece != "**" && !leads {
                text.extend(before.map(char::from));
            }
            leads = false;
            if piece.contains('*') {
                flush(&mut text, &mut tokens);
                tokens.push(star(piece, before, after)?);
            } else {
                text.push_str(piece);
            }
        }
        if after.is_none() {
            break;
        }
        (rest, before) = (&rest[end + 1..], after);
    }
    flush(&mut text, &mut tokens);
    Ok(tokens)
}

fn flush(text: &mut String, tokens: &mut Vec<PatternToken>) {
    if !text.is_empty() {
        tokens.push(PatternToken::Text(std::mem::take(text)));
    }
}

/// A piece with a star in it, between these separators.
fn star(piece: &str, before: Option<u8>, after: Option<u8>) -> Result<PatternToken, PatternError> {
    match (piece, before) {
        ("**", Some(before)) => Ok(PatternToken::Many(before)),
        ("*", _) if [before, after].into_iter().flatten().all(|separator| separator == b'.') => {
            Ok(PatternToken::Segment)
        }
        ("*", _) => Ok(PatternToken::Piece),
        _ => Err(PatternError::StarWithin),
    }
}

impl Matcher {
    /// Whether it matches what stands in a type from `at` on, which is the length of its beginning.
    pub(super) fn fits(&self, kind: &str, at: usize) -> bool {
        if self.branches {
            return kind.len() <= MAX_NAME_BYTES && self.fits_somehow(kind.as_bytes(), at);
        }
        let mut rest = &kind.as_bytes()[at..];
        for token in &self.tokens {
            let ends = match token {
                PatternToken::Text(text) => match rest.strip_prefix(text.as_bytes()) {
                    Some(after) => {
                        rest = after;
                        continue;
                    }
                    None => return false,
                },
                // The text behind a star begins with a separator, at which the star ends: so it
                // takes all it can.
                PatternToken::Piece => is_separator,
                PatternToken::Segment => is_dot,
                PatternToken::Many(separator) => {
                    return rest.first().is_none_or(|byte| byte == separator);
                }
                PatternToken::Any | PatternToken::Lead(_) => return true,
            };
            rest = &rest[rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len())..];
        }
        rest.is_empty()
    }

    /// The same by way of all the places in the type at which the tokens so far may end: as much
    /// work as pattern times type at most.
    fn fits_somehow(&self, kind: &[u8], at: usize) -> bool {
        let mut places = [false; MAX_NAME_BYTES + 1];
        places[at] = true;
        for token in &self.tokens {
            let mut next = [false; MAX_NAME_BYTES + 1];
            let mut taking = false;
            for place in at..=kind.len() {
                let (here, byte) = (places[place], kind.get(place).copied());
                match token {
                    PatternToken::Text(text)
                        if here && kind[place..].starts_with(text.as_bytes()) =>
                    {
                        next[place + text.len()] = true;
                    }
                    PatternToken::Text(_) => {}
                    PatternToken::Piece | PatternToken::Segment => {
                        taking |= here;
                        next[place] |= taking;
                        let ends =
                            if *token == PatternToken::Piece { is_separator } else { is_dot };
                        taking &= !byte.is_some_and(ends);
                    }
                    PatternToken::Many(separator) => {
                        next[place] |= here || taking;
                        taking |= here && byte == Some(*separator);
                    }
                    PatternToken::Lead(separator) => {
                        taking |= here;
                        next[place] |= here;
                        if taking && byte == Some(*separator) {
                            next[place + 1] = true;
                        }
                    }
                    PatternToken::Any => return true,
                }
            }
            places = next;
        }
        places[kind.len()]
    }
}

fn is_dot(byte: u8) -> bool {
    byte == b'.'
}

#[cfg(test)]
mod tests;
