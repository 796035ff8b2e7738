//! Values that stand on lines of their own in the signed text.
//!
//! Providers join values with line feeds and sign the text. With line feeds in the values the text
//! could be cut in another way than it was signed: the end of a message would be taken for its id.
//! If at most one value has line feeds, there is one way to cut. That is the body, or else the
//! first value.

use super::super::refusal::Refusal;
use super::{MessagePiece, OtherPiece};

/// Whether a value may have line feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaks {
    Allowed,
    Forbidden,
}

impl Breaks {
    /// Refuses a value with a line feed that it may not have.
    pub(super) fn check(self, value: &[u8]) -> Result<(), Refusal> {
        let has_any = self == Self::Forbidden && value.contains(&b'\n');
        if has_any { Err(Refusal::Mismatch) } else { Ok(()) }
    }
}

/// Forbids line feeds to all values that a line feed follows, but for the first one if `is_free`.
pub(super) fn forbid_breaks(pieces: &mut [MessagePiece], is_free: &mut bool) {
    let mut rest = pieces;
    while let Some((piece, behind)) = rest.split_first_mut() {
        let ends_line =
            matches!(behind.first(), Some(MessagePiece::Literal(text)) if text.starts_with('\n'));
        match piece {
            MessagePiece::Literal(_) | MessagePiece::Param(_) => {}
            MessagePiece::Other(OtherPiece::Optional(inner)) => forbid_breaks(inner, is_free),
            MessagePiece::QueryValue(_, breaks)
            | MessagePiece::Other(OtherPiece::Json(_, breaks) | OtherPiece::FormValue(_, breaks)) =>
            {
                if ends_line && !*is_free {
                    *breaks = Breaks::Forbidden;
                }
                *is_free = false;
            }
            _ => *is_free = false,
        }
        rest = behind;
    }
}
