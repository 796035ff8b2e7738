//! One way to sign.

use std::fmt;

use sha2::{Digest, Sha256};

use super::candidates::Candidates;
use super::message::Message;
use super::refusal::Refusal;

/// The most signatures with a private key in one request. Providers send one for each key during a
/// rotation, so two or three.
pub(super) const MOST_PUBLIC_CANDIDATES: usize = 8;

/// A way to sign, with the keys of a source.
///
/// To add one: a file that implements this trait, a variant of `SignatureScheme` with its name, a
/// word for it in `config/template/verify.rs`, and a line in `keyed::scheme_with`. It is called
/// once a request, so it is a trait object.
pub(super) trait Scheme: fmt::Debug + Send + Sync {
    /// Whether a signature can have this many bytes, once it is decoded.
    fn fits(&self, bytes: usize) -> bool;

    /// The most signatures of one request that are tried. A request with more of them is malformed:
    /// each one of a public key costs a hash of the whole message.
    fn most_candidates(&self) -> usize {
        usize::MAX
    }

    /// Whether [`Scheme::matching_key`] says all: it knows no other reason for a refusal.
    fn is_plain(&self) -> bool {
        true
    }

    /// The number of keys, at least one.
    fn keys(&self) -> usize;

    /// The position of a key that made one of the candidates, in the order of the configuration.
    ///
    /// Tries every key with every candidate, and compares secrets in constant time.
    fn matching_key(&self, message: &Message<'_>, candidates: &Candidates) -> Option<u32>;

    /// The same, with the reason of a refusal where a scheme knows more than that nothing matches.
    fn judge(&self, message: &Message<'_>, candidates: &Candidates) -> Result<u32, Refusal> {
        self.matching_key(message, candidates).ok_or(Refusal::Mismatch)
    }

    /// The digest of the text that the signature covers; `None` if it covers none.
    fn digest(&self, message: &Message<'_>, _: &Candidates) -> Option<[u8; 32]> {
        let mut state = Sha256::new();
        message.each(|piece| state.update(piece));
        Some(state.finalize().into())
    }

    /// A signature with the first key; `None` if the keys can only check.
    fn sign(&self, message: &Message<'_>) -> Option<Vec<u8>>;
}
