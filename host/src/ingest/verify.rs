//! Does a request come from the provider of its source?
//!
//! The check has two steps, because a body costs memory: [`Verifier::claim`] looks at the head
//! alone and refuses whatever no body could make authentic; [`Verifier::check`] looks at the whole
//! request. A sender is told the same after either.
//!
//! - `scheme` is the trait of a way to sign, with one file for each implementor: `hmac`, `ed25519`;
//! - `message` is the data that is signed, put together from parts of the request;
//! - `field` and `candidates` read signatures from headers, `timestamp` reads the time of sending;
//! - `hint` explains a refusal to the operator, after it;
//! - `sign` is the other direction, for `hookbox send` and tests.
//!
//! Invariant: signatures made with a secret are compared in constant time, every candidate with
//! every key, without stopping at the first match: neither the key nor the candidate that matched
//! can be timed.

mod candidates;
mod ed25519;
mod field;
mod head;
mod hint;
mod hmac;
mod message;
mod refusal;
mod scheme;
mod sign;
mod timestamp;
mod verifier;

pub use head::Head;
pub(super) use hint::{MAX_BODY_BYTES as MAX_HINT_BYTES, find as find_hint, shape};
pub use refusal::Refusal;
pub use sign::{SignError, sign};
pub(super) use verifier::{Claimed, Proof, Verifier};
