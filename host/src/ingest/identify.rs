//! The type, id and subject of a verified request, and the keys by which a repeated one is
//! recognised.
//!
//! The body is parsed only here, after it was found authentic, and only as far as routing needs; it
//! is stored byte for byte in any case. An authentic event is routed by whatever can be read of it,
//! and never lost because a parser dislikes it: what cannot be read counts as missing, and a note
//! says why. Nothing can be read in a body that is not JSON (RFC 8259) as a whole or that is nested
//! deeper than [`json::MAX_DEPTH`]. Nothing can be read at a key that occurs twice either, since
//! host and plugin might read different ones. An event without a type is stored as
//! `hookbox.unidentified`.
//!
//! - `extractor` does this for one source, `split` finds the events of a list;
//! - `location` reads a value from a header or the body, `json` finds pointers in a body in one
//!   pass;
//! - `dedupe` makes the keys, `notes` collects remarks for the operator.

mod dedupe;
mod extractor;
pub(super) mod items;
pub(super) mod json;
mod location;
mod notes;
mod split;

pub(super) use extractor::{EventPart, Extracted, Extractor};
pub use split::BatchFault;
pub(super) use split::MAX_ITEMS;
