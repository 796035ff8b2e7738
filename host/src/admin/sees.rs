//! The parts of what is stored that a client reads: payloads, header values, logs and the values of
//! keys are for those whose token says so. This is the one place that decides.

use axum::http::StatusCode;

use super::problem::ProblemJson;
use crate::event::KeySource;

/// Stands where something is hidden.
const HIDDEN: &str = "hidden: your token does not read payloads";

/// Stands before a digest.
const DIGEST: &str = "sha256:";

/// Whether a client reads payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sees {
    payloads: bool,
}

impl Sees {
    /// A client that reads everything.
    pub(super) const ALL: Self = Self { payloads: true };

    /// A client that reads no payload.
    pub(super) const NO_PAYLOADS: Self = Self { payloads: false };

    /// Whether it reads payloads.
    pub(super) fn payloads(self) -> bool {
        self.payloads
    }

    /// The sentence that stands for so many bytes, if they are hidden.
    pub(super) fn hidden(self, bytes: usize) -> Option<String> {
        let unit = if bytes == 1 { "byte" } else { "bytes" };
        (!self.payloads).then(|| format!("{HIDDEN} ({bytes} {unit})"))
    }

    /// The text, or the sentence that stands for it.
    pub(super) fn text(self, text: String) -> String {
        self.hidden(text.len()).unwrap_or(text)
    }

    /// A detail of the audit log. The length and the digest of a value would tell whether a guess
    /// is right.
    pub(super) fn detail(self, detail: String) -> String {
        if self.payloads {
            return detail;
        }
        let (mut shown, mut rest) = (String::with_capacity(detail.len()), detail.as_str());
        while let Some((before, after)) = rest.split_once(DIGEST) {
            shown += match before.strip_suffix(" bytes, ") {
                Some(before) => before.trim_end_matches(|c: char| c.is_ascii_digit()),
                None => before,
            };
            shown += "(hidden)";
            rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        }
        shown + rest
    }

    /// A key by which events belong together; `source` is the part of an event that it is, if that
    /// is known. A key that may be of a body is a part of a payload.
    pub(super) fn key(self, source: Option<&KeySource>, key: String) -> String {
        if is_of_body(source) { self.text(key) } else { key }
    }

    /// Refuses what cannot be answered without payloads; `what` begins the sentence.
    pub(super) fn need(self, what: &str) -> Result<(), ProblemJson> {
        if self.payloads {
            return Ok(());
        }
        let detail = format!(
            "{what}, and your token does not read payloads: `payloads = true` in `server.admin_tokens`, or the role \
             `operator`, lets it"
        );
        Err(ProblemJson::new(StatusCode::FORBIDDEN, detail))
    }
}

/// Whether a key may be a part of a body.
pub(super) fn is_of_body(source: Option<&KeySource>) -> bool {
    !matches!(source, Some(KeySource::Subject | KeySource::Root | KeySource::Source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_of_a_body_is_hidden_with_it() {
        fn key(sees: Sees, source: Option<&KeySource>) -> String {
            sees.key(source, "order_1".to_owned())
        }
        let hidden = "hidden: your token does not read payloads (7 bytes)";
        for source in [None, Some(&KeySource::Json("/id".into()))] {
            assert_eq!(key(Sees::ALL, source), "order_1");
            assert_eq!(key(Sees::NO_PAYLOADS, source), hidden);
        }
        for source in [KeySource::Subject, KeySource::Root, KeySource::Source] {
            assert_eq!(key(Sees::NO_PAYLOADS, Some(&source)), "order_1");
        }
    }

    #[test]
    fn hidden_text_leaves_nothing_but_its_size() {
        let secret = || "order_1 was paid".to_owned();
        assert_eq!(Sees::ALL.text(secret()), secret());
        assert_eq!(
            Sees::NO_PAYLOADS.text(secret()),
            "hidden: your token does not read payloads (16 bytes)"
        );
        assert_eq!(Sees::ALL.hidden(3), None);
        let detail = || "12 bytes, sha256:0123456789abcdef; if it is not there".to_owned();
        assert_eq!(Sees::ALL.detail(detail()), detail());
        assert_eq!(Sees::NO_PAYLOADS.detail(detail()), "(hidden); if it is not there");
        let edited = "type a.b, data sha256:00ff; audit".to_owned();
        assert_eq!(Sees::NO_PAYLOADS.detail(edited), "type a.b, data (hidden); audit");
        assert!(Sees::ALL.need("x").is_ok());
        let refused = Sees::NO_PAYLOADS.need("`q` looks into payloads").unwrap_err();
        let (status, detail) = refused.parts();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(detail.starts_with("`q` looks into payloads, and your token"), "{detail}");
    }
}
