//! Texts that a handshake signs for anybody.
//!
//! A handshake that answers with an HMAC over a value of an unproved request would sign any event.
//! So it signs [challenges](is_challenge) only, and a source with such a handshake takes no request
//! whose whole signed text is one. Neither can be taken for the other then, whatever is signed.

use super::message::Message;

/// The longest challenge, in bytes.
const MAX_CHALLENGE_BYTES: usize = 128;

/// Whether a text is a challenge: letters, digits and `_`, `=`, `+`, `/`, `-`.
///
/// A JSON body, a form of several fields and the signed text of a token are none.
pub(in crate::ingest) fn is_challenge(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_=+/-".contains(byte);
    (1..=MAX_CHALLENGE_BYTES).contains(&text.len()) && text.iter().all(plain)
}

impl Message<'_> {
    /// Whether the signed text is a challenge.
    pub(super) fn is_challenge(&self) -> bool {
        let mut text = Vec::with_capacity(MAX_CHALLENGE_BYTES + 1);
        self.each(|piece| {
            let room = MAX_CHALLENGE_BYTES + 1 - text.len();
            text.extend_from_slice(&piece[..piece.len().min(room)]);
        });
        is_challenge(&text)
    }
}
