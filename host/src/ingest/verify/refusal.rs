//! Why a request is not authentic.

use crate::ingest::header::RepeatedHeader;
use crate::ingest::reasons::RefusalReason;

/// Why a request is not accepted as authentic. For the log and the metrics: the sender is told one
/// text for all of them, except [`Refusal::Repeated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody can sign for this source: it has no secret.
    #[error("the source has no secret")]
    Closed,
    /// A header that may have one value occurs more than once: a malformed request.
    #[error("a header that may occur once occurs several times")]
    Repeated,
    /// None of the signature headers is there.
    #[error("no signature header")]
    NoSignature,
    /// The header holds nothing that could be a signature: wrong prefix, encoding or length.
    #[error("no signature of the right form in the header")]
    Malformed,
    /// No key makes this signature over these bytes.
    #[error("the signature does not match")]
    Mismatch,
    /// The secret that makes this signature has ended: the provider has another one.
    #[error("the secret of the signature has ended")]
    Ended,
    /// The timestamp is missing, or not a number of seconds.
    #[error("no readable timestamp")]
    NoTimestamp,
    /// The signature is right, but the timestamp is too far from now.
    #[error("the timestamp is out of tolerance")]
    Stale,
    /// The signature should cover the id, and there is none.
    #[error("no id to check the signature with")]
    NoId,
    /// The signature should cover a header or a query parameter that is missing or repeated.
    #[error("a part of the request that the signature covers is missing or repeated")]
    NoPart,
    /// The signature covers the fields of a form, and the body is no form, or one of too many
    /// fields.
    #[error("the signature covers a form, and the body is not one")]
    NoForm,
    /// The token has proved another event before.
    #[error("the token has proved another event")]
    UsedToken,
    /// The request names a public key from a host that is not the provider's.
    #[error("the public key is not from the provider")]
    ForeignKey,
}

impl Refusal {
    /// The reason, as it is counted.
    pub fn reason(self) -> RefusalReason {
        match self {
            Self::Closed => RefusalReason::NoSecret,
            Self::Repeated => RefusalReason::RepeatedHeader,
            Self::NoSignature => RefusalReason::NoSignature,
            Self::Malformed => RefusalReason::MalformedSignature,
            Self::Mismatch => RefusalReason::BadSignature,
            Self::Ended => RefusalReason::EndedSecret,
            Self::NoTimestamp => RefusalReason::NoTimestamp,
            Self::Stale => RefusalReason::StaleTimestamp,
            Self::NoId => RefusalReason::NoId,
            Self::NoPart => RefusalReason::NoPart,
            Self::NoForm => RefusalReason::NoForm,
            Self::UsedToken => RefusalReason::UsedToken,
            Self::ForeignKey => RefusalReason::UntrustedKey,
        }
    }
}

impl From<RepeatedHeader> for Refusal {
    fn from(_: RepeatedHeader) -> Self {
        Self::Repeated
    }
}
