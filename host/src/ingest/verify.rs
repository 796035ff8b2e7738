//! Does a request come from the provider of its source?
//!
//! The check has two steps, because a body costs memory: [`Verifier::claim`] looks at the head
//! alone and refuses whatever no body could make authentic; [`Verifier::check`] looks at the whole
//! request. A sender is told the same after either.
//!
//! - `scheme` is the trait of a way to sign, with one file for each implementor: `hmac`, `hashed`,
//!   `token`, `ed25519`, `public`, `jwt`; `keys` has public keys that are fetched;
//! - `message` is the data that is signed, put together from parts of the request;
//! - `field` and `candidates` read signatures, `timestamp` reads the time of sending, `place` finds
//!   values in headers, the address and the body;
//! - `challenge` has the texts that a handshake signs for anybody;
//! - `check` is one rule made ready, `keyed` its scheme with the keys; `verifier` is a source;
//! - `whole` checks by rules that need the body to find a signature, or that have alternatives;
//! - `digest` is what a request is by its signature, for deduplication;
//! - `hint` explains a refusal to the operator, after it;
//! - `sign` is the other direction, for `hookbox send` and tests.
//!
//! Invariant: signatures made with a secret are compared in constant time, every candidate with
//! every key, without stopping at the first match: neither the key nor the candidate that matched
//! can be timed.

mod candidates;
mod challenge;
mod check;
mod digest;
mod ed25519;
mod fetches;
mod field;
mod hashed;
mod hint;
mod hmac;
mod jwt;
mod keyed;
mod keys;
mod message;
mod place;
mod public;
mod refusal;
mod scheme;
mod sign;
mod sign_request;
mod timestamp;
mod token;
mod verifier;
mod whole;

pub(super) use challenge::is_challenge;
pub(super) use check::Proof;
pub(super) use hint::{MAX_BODY_BYTES as MAX_HINT_BYTES, find as find_hint, shape};
pub(super) use keys::{FetchDuty, KeyRing, is_pinned};
pub(super) use place::{ConditionCheck, PointedRequest, Spot};
pub use refusal::Refusal;
pub use sign::{SignError, sign};
pub use sign_request::{SignedParts, sign_request};
pub(super) use verifier::{Claimed, Verifier};
