//! Signatures from a header, decoded, in one allocation.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::config::source::Encoding;

/// The length of a length, in bytes.
const LENGTH_BYTES: usize = size_of::<u16>();

/// The signatures of a request that have the right form: each with its length in front.
#[derive(Debug, Default)]
pub(super) struct Candidates(Vec<u8>);

impl Candidates {
    /// Decodes `item` and adds it, if it can be decoded and `fits` accepts its length in bytes.
    pub(super) fn push(&mut self, item: &[u8], encoding: Encoding, fits: impl Fn(usize) -> bool) {
        let length = encoding.decoded_bytes(item);
        let Ok(prefix) = u16::try_from(length) else { return };
        if !fits(length) {
            return;
        }
        let start = self.0.len();
        self.0.reserve(LENGTH_BYTES + encoding.room_bytes(item));
        self.0.extend(prefix.to_le_bytes());
        let body = self.0.len();
        // The base64 decoder asks for room for the padding too.
        self.0.resize(body + encoding.room_bytes(item), 0);
        let decoded = encoding.decode(item, &mut self.0[body..]) == Some(length);
        self.0.truncate(if decoded { body + length } else { start });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are more of them than `most`.
    pub(super) fn exceed(&self, most: usize) -> bool {
        self.iter().nth(most).is_some()
    }

    /// Each of them, in the order of the request.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<LENGTH_BYTES>()?;
            let (candidate, next) = behind.split_at_checked(u16::from_le_bytes(*length).into())?;
            rest = next;
            Some(candidate)
        })
    }
}

impl Encoding {
    /// The signature as it is written in a header.
    pub(super) fn encode(self, signature: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(signature),
            Self::Base64 => STANDARD.encode(signature),
            Self::Base64Url => URL_SAFE_NO_PAD.encode(signature),
            Self::Text => String::from_utf8_lossy(signature).into_owned(),
        }
    }

    /// The length of the signature that `item` stands for, if it is one.
    fn decoded_bytes(self, item: &[u8]) -> usize {
        match self {
            Self::Hex => item.len() / 2,
            Self::Base64 => {
                let padding = item.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
                self.room_bytes(item).saturating_sub(padding)
            }
            Self::Base64Url => unpadded(item).len() * 3 / 4,
            Self::Text => item.len(),
        }
    }

    /// The context that decoding needs.
    fn room_bytes(self, item: &[u8]) -> usize {
        match self {
            Self::Hex => item.len() / 2,
            Self::Base64 => item.len() / 4 * 3,
            Self::Base64Url => item.len().div_ceil(4) * 3,
            Self::Text => item.len(),
        }
    }

    /// Decodes all of `item` into `room` and returns the signature's length.
    fn decode(self, item: &[u8], room: &mut [u8]) -> Option<usize> {
        match self {
            Self::Hex => hex::decode_to_slice(item, room).ok().map(|()| room.len()),
            // Whole groups only: `room` was measured for them.
            Self::Base64 if !item.len().is_multiple_of(4) => None,
            Self::Base64 => STANDARD.decode_slice(item, room).ok(),
            Self::Base64Url => URL_SAFE_NO_PAD.decode_slice(unpadded(item), room).ok(),
            Self::Text => {
                room.copy_from_slice(item);
                Some(room.len())
            }
        }
    }
}

fn unpadded(item: &[u8]) -> &[u8] {
    let padding = item.iter().rev().take(2).take_while(|byte| **byte == b'=').count();
    &item[..item.len() - padding]
}
