//! The encoding of signatures.

/// The encoding of signature bytes in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hex digits, in either case.
    Hex,
    /// Base64, RFC 4648 §4, padded.
    Base64,
    /// Base64 for addresses, RFC 4648 §5, padded or not.
    Base64Url,
    /// The bytes themselves.
    Text,
}
