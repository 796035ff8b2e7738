//! The fixed reasons for which requests are refused: the word in metrics and listings, the meaning,
//! and the remedy.

/// Why a request was not answered with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`meaning` says what each is")]
pub enum RefusalReason {
    BadSignature,
    EndedSecret,
    StaleTimestamp,
    NoSignature,
    MalformedSignature,
    NoTimestamp,
    NoId,
    NoPart,
    NoForm,
    UsedToken,
    UntrustedKey,
    NoKey,
    RepeatedHeader,
    NoSecret,
    Malformed,
    Method,
    UnknownSource,
    UnknownCallback,
    UnaskedSecret,
    UnkeptSecret,
    Encoded,
    TooLarge,
    SlowBody,
    BrokenBody,
    BadEvents,
    NoRoom,
    ClientShare,
    Saturated,
    SlowStore,
    Disk,
    Full,
    Files,
    Store,
}

/// Word, meaning and remedy.
type Explained = (&'static str, &'static str, &'static str);

impl RefusalReason {
    /// Every reason.
    pub const ALL: [Self; 33] = [
        Self::BadSignature,
        Self::EndedSecret,
        Self::StaleTimestamp,
        Self::NoSignature,
        Self::MalformedSignature,
        Self::NoTimestamp,
        Self::NoId,
        Self::NoPart,
        Self::NoForm,
        Self::UsedToken,
        Self::UntrustedKey,
        Self::NoKey,
        Self::RepeatedHeader,
        Self::NoSecret,
        Self::Malformed,
        Self::Method,
        Self::UnknownSource,
        Self::UnknownCallback,
        Self::UnaskedSecret,
        Self::UnkeptSecret,
        Self::Encoded,
        Self::TooLarge,
        Self::SlowBody,
        Self::BrokenBody,
        Self::BadEvents,
        Self::NoRoom,
        Self::ClientShare,
        Self::Saturated,
        Self::SlowStore,
        Self::Disk,
        Self::Full,
        Self::Files,
        Self::Store,
    ];

    /// The value of the metrics' `reason` label.
    pub fn name(self) -> &'static str {
        self.explained().0
    }

    /// The meaning, one sentence.
    pub fn meaning(self) -> &'static str {
        self.explained().1
    }

    /// The remedy, one sentence.
    pub fn remedy(self) -> &'static str {
        self.explained().2
    }

    fn explained(self) -> Explained {
        match self {
            Self::BadSignature
            | Self::StaleTimestamp
            | Self::NoSignature
            | Self::MalformedSignature
            | Self::NoTimestamp
            | Self::NoId
            | Self::NoPart
            | Self::NoForm
            | Self::RepeatedHeader
            | Self::NoSecret => self.of_proof(),
            Self::EndedSecret | Self::UsedToken => self.of_end(),
            Self::UntrustedKey | Self::NoKey => self.of_key(),
            Self::Malformed
            | Self::Method
            | Self::UnknownSource
            | Self::UnknownCallback
            | Self::UnaskedSecret
            | Self::UnkeptSecret
            | Self::Encoded
            | Self::TooLarge
            | Self::SlowBody
            | Self::BrokenBody
            | Self::BadEvents => self.of_request(),
            _ => self.of_host(),
        }
    }

    /// Reasons in what should prove that a request is authentic.
    fn of_proof(self) -> Explained {
        match self {
            Self::StaleTimestamp => (
                "stale_timestamp",
                "The signature is right, but the request was signed too long ago or in the future.",
                "Compare the clocks of both sides; a request that was recorded is refused on purpose.",
            ),
            Self::NoSignature => (
                "no_signature",
                "None of the headers is there in which the source looks for a signature.",
                "Turn signing on at the provider, and compare the header's name with the source's `verify`.",
            ),
            Self::MalformedSignature => (
                "malformed_signature",
                "The signature's header holds nothing of the right prefix, encoding and length.",
                "Compare `prefix`, `encoding` and `scheme` of the source with the provider's documentation.",
            ),
            Self::NoTimestamp => (
                "no_timestamp",
                "The time of sending is missing, or is not a number of seconds.",
                "Compare the source's `timestamp` with the provider's documentation.",
            ),
            Self::NoId => (
                "no_id",
                "The signature covers the provider's id of the delivery, and there is none.",
                "Compare the source's `id` with the headers that the provider sends.",
            ),
            Self::NoPart => (
                "no_part",
                "A header or query parameter that the signature covers is missing or repeated.",
                "Compare `signed` of the source with the provider's documentation, and look for a proxy that drops headers.",
            ),
            Self::NoForm => (
                "no_form",
                "The signature covers the fields of a form, and the body is not one.",
                "Let the provider send `application/x-www-form-urlencoded`, or change `signed` of the source.",
            ),
            Self::RepeatedHeader => (
                "repeated_header",
                "A header that may occur once, such as the signature, occurs several times.",
                "Look for a proxy that adds or doubles headers.",
            ),
            Self::NoSecret => (
                "no_secret",
                "The source has no secret, so nobody can sign for it, and every post gets 503.",
                "Set one of the source's secrets; the host reads it at once.",
            ),
            _ => (
                "bad_signature",
                "The signature has the right form, and no active key makes it over these bytes.",
                "Compare the secret with the provider's, and look for a proxy that changes bodies.",
            ),
        }
    }

    /// Reasons in a proof that was good once.
    fn of_end(self) -> Explained {
        match self {
            Self::EndedSecret => (
                "ended_secret",
                "The signature is made with a secret from before a rotation, and its time is over.",
                "Look whether the provider still signs with it; `overlap` of the source says how long it stays active.",
            ),
            _ => (
                "used_token",
                "The token is right and covers no body, and it has proved another event before.",
                "Nothing, if it happens now and then: the provider sends it again with a new token.",
            ),
        }
    }

    /// Reasons in public keys that are fetched.
    fn of_key(self) -> Explained {
        match self {
            Self::UntrustedKey => (
                "untrusted_key",
                "The request names a public key at an address that the source does not pin.",
                "Compare `key_url` of the source with the provider's documentation.",
            ),
            _ => (
                "no_key",
                "The public key that the request names could not be fetched, so the sender gets 503.",
                "Look at the log for the reason, and whether this host may reach the provider.",
            ),
        }
    }

    /// Reasons in the request itself.
    fn of_request(self) -> Explained {
        match self {
            Self::Method => (
                "method",
                "The request is neither a POST nor a handshake.",
                "Let the provider send webhooks with POST; scanners and browsers send others.",
            ),
            Self::UnknownSource => (
                "unknown_source",
                "The configuration has no source of this name.",
                "Compare the address at the provider with `/webhook/NAME`.",
            ),
            Self::UnaskedSecret => (
                "unasked_secret",
                "A handshake brought a secret, and no operator waits for one.",
                "Run `hookbox sources NAME take-secret`, and let the provider send the handshake again.",
            ),
            Self::UnkeptSecret => (
                "unkept_secret",
                "The secret of a handshake could not be written, so the handshake was not answered.",
                "Look at the log for the reason, and let the provider send the handshake again.",
            ),
            Self::UnknownCallback => (
                "unknown_callback",
                "The callback has no key that `known` of the source asks for, so nobody waits for it.",
                "Let the plugin that starts a job write its key before the job can end.",
            ),
            Self::Encoded => (
                "encoded",
                "The body has a content encoding, and signatures cover bodies as they are sent.",
                "Turn compression of requests off at the provider or at the proxy in between.",
            ),
            Self::TooLarge => (
                "too_large",
                "The body is longer than `max_body` allows.",
                "Raise `max_body` of the source if the provider may send bodies of this length.",
            ),
            Self::SlowBody => (
                "slow_body",
                "The body did not arrive in time.",
                "Look at the network in between; a client may also hold connections on purpose.",
            ),
            Self::BrokenBody => (
                "broken_body",
                "The connection ended before the body did.",
                "Look at timeouts of the provider and of proxies in between; the provider sends it again.",
            ),
            Self::BadEvents => (
                "bad_events",
                "The request is authentic, but its events are not what `split` or `cloudevents` of the source says.",
                "Read the hint, compare the source with what the provider sends, and let it send the events again.",
            ),
            _ => (
                "malformed",
                "The request's header can be read in several ways.",
                "Look for a proxy that builds such requests; providers do not.",
            ),
        }
    }

    /// Reasons in the state of the host.
    fn of_host(self) -> Explained {
        match self {
            Self::NoRoom => (
                "no_room",
                "The memory for bodies is used up by requests that are being received.",
                "Wait: senders get 503 and try again; many large bodies at once need more memory.",
            ),
            Self::ClientShare => (
                "client_share",
                "One client has reserved a quarter of the memory for bodies, which is its limit.",
                "Name the proxy in front in `server.trusted_proxies` if many senders come through it.",
            ),
            Self::Saturated => (
                "saturated",
                "More events wait for the disk than the queue holds.",
                "Wait: senders get 503 and try again; a faster disk takes more.",
            ),
            Self::SlowStore => (
                "slow_store",
                "The store did not answer in time; the event may be stored all the same.",
                "Look at the disk: commits take longer than senders wait.",
            ),
            Self::Disk => (
                "disk",
                "The disk gave an error, and the host acknowledges nothing more.",
                "Look at the host's log and at the disk, then start the host again.",
            ),
            Self::Full => (
                "full",
                "The disk or `store.max_size` is full.",
                "Make room on the disk, shorten `store.retention`, or raise `store.max_size`.",
            ),
            Self::Files => (
                "files",
                "The files of the store were moved or deleted while the host ran.",
                "Put them back, or start the host again.",
            ),
            _ => {
                ("store", "The store refused the event or has stopped.", "Look at the host's log.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_word_and_two_sentences_of_its_own() {
        let all = RefusalReason::ALL;
        let distinct = |of: fn(RefusalReason) -> &'static str| {
            all.into_iter().map(of).collect::<BTreeSet<_>>().len()
        };
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(distinct(RefusalReason::name), all.len());
        assert_eq!(distinct(RefusalReason::meaning), all.len());
        assert_eq!(distinct(RefusalReason::remedy), all.len());
        assert_eq!(all.last().map(|last| *last as usize + 1), Some(all.len()), "all are listed");
        for reason in all {
            for sentence in [reason.meaning(), reason.remedy()] {
                assert!(sentence.ends_with('.') && !sentence.contains(". "), "{sentence}");
            }
        }
    }
}
