//! Whether the parts of a request that are signed are there, and can be read in one way only.

use super::super::place::{PointedRequest, Spot};
use super::super::refusal::Refusal;
use super::{MessagePiece, OtherPiece, query_value};
use crate::event::form;
use crate::ingest::header;

/// Refuses a request that lacks one of the pieces.
pub(super) fn check(pieces: &[MessagePiece], reading: PointedRequest<'_>) -> Result<(), Refusal> {
    let is_field =
        |piece: &MessagePiece| matches!(piece, MessagePiece::Other(OtherPiece::FormValue(..)));
    if !reading.head.is_form() && pieces.iter().any(is_field) {
        return Err(Refusal::NoForm);
    }
    if is_complete(pieces, reading)? { Ok(()) } else { Err(Refusal::NoPart) }
}

/// Whether every piece is there.
///
/// A value that occurs twice or is no text is refused, also where it could be left out: the signed
/// text would have no trace of it, but others would read it.
pub(super) fn is_complete(
    pieces: &[MessagePiece],
    reading: PointedRequest<'_>,
) -> Result<bool, Refusal> {
    let PointedRequest { head, body, .. } = reading;
    let mut is_complete = true;
    for piece in pieces {
        is_complete &= match piece {
            MessagePiece::Other(OtherPiece::Json(slot, breaks)) => {
                let value = Spot::Json(*slot).value(reading)?;
                breaks.check(value.as_deref().unwrap_or_default())?;
                value.is_some()
            }
            MessagePiece::Other(OtherPiece::FormValue(name, breaks)) if head.is_form() => {
                let value = form::field(body, name).map_err(|_| Refusal::NoPart)?;
                breaks.check(value.as_deref().unwrap_or_default())?;
                value.is_some()
            }
            MessagePiece::Other(OtherPiece::FormValue(..)) => false,
            MessagePiece::Other(OtherPiece::HeaderList(list)) => list.text(head)?.is_some(),
            MessagePiece::Other(OtherPiece::Optional(pieces)) => {
                self::is_complete(pieces, reading)?;
                true
            }
            MessagePiece::Header(name) => header::single(&head.headers, name)?.is_some(),
            MessagePiece::QueryValue(name, breaks) => {
                let value = query_value(head, name)?;
                breaks.check(value.as_deref().unwrap_or_default())?;
                value.is_some()
            }
            _ => true,
        };
    }
    Ok(is_complete)
}
