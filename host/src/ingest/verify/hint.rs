//! Explains a refused signature: which variation of the request or of the secret would have
//! matched.
//!
//! - `find` tries variations on a request that is refused and answered; `bodies` and `secrets` have
//!   them;
//! - `shape` reads the head alone, for signatures that no body could make authentic.
//!
//! Invariant: a hint is text that names a variation, and never a key, a signature or a part of a
//! body. Nothing here decides whether a request is accepted.

use secrecy::{ExposeSecret, SecretSlice};

use super::candidates::Candidates;
use super::check::SignatureCheck;
use super::hmac::HmacSha256;
use super::message::{Message, MessageTemplate};
use super::scheme::Scheme;
use super::verifier::Verifier;
use crate::config::Source;
use crate::config::source::{Part, Secrets, Signature, SignatureScheme, Verify};
use crate::ingest::head::Head;

mod bodies;
mod respaced;
mod secrets;
mod shape;

pub(in crate::ingest) use shape::shape;

/// The longest body on which variations are tried, in bytes.
pub(in crate::ingest) const MAX_BODY_BYTES: usize = 64 << 10;

/// The most other sources whose keys are tried.
const MAX_OTHERS: usize = 32;

/// A refused request, and the source that refused it.
struct RefusedCheck<'a> {
    check: &'a SignatureCheck,
    signature: &'a Signature,
    secrets: &'a Secrets,
    candidates: Candidates,
    head: &'a Head,
    timestamp: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    body: &'a [u8],
}

/// The variation with which a refused request would have been authentic, for people.
///
/// `others` are the sources that the request may have been meant for.
pub(in crate::ingest) fn find<'o>(
    source: &Source,
    verifier: &Verifier,
    head: &Head,
    body: &[u8],
    others: impl Iterator<Item = (&'o Source, &'o Verifier)>,
) -> Option<String> {
    let (Verify::Signature(signature), Verifier::Signed(check)) = (&source.verify, verifier) else {
        return None;
    };
    // Variations are those of an HMAC over the head and the raw body.
    let is_tried = check.is_plain && signature.scheme == SignatureScheme::HmacSha256;
    if body.len() > MAX_BODY_BYTES || !is_tried {
        return None;
    }
    let trial = RefusedCheck {
        check,
        signature,
        secrets: &source.secrets,
        candidates: check.candidates(head).ok()?,
        head,
        timestamp: check.timestamp(head).ok()?,
        id: check.id(head).ok()?,
        body,
    };
    let what = trial.bodies().or_else(|| trial.secrets()).or_else(|| trial.templates());
    what.or_else(|| trial.others(others)).map(|what| format!("matches {what}"))
}

impl RefusedCheck<'_> {
    fn is_made_by(&self, scheme: &dyn Scheme, template: &MessageTemplate, body: &[u8]) -> bool {
        let (timestamp, id) = (self.timestamp, self.id);
        let message = Message { timestamp, id, ..Message::plain(template, self.head, body) };
        scheme.matching_key(&message, &self.candidates).is_some()
    }

    /// The same secret over another body.
    fn bodies(&self) -> Option<String> {
        let tried = bodies::VARIATIONS.iter().find(|variation| {
            let varied = (variation.make)(self.body).filter(|varied| varied != self.body);
            varied.is_some_and(|body| {
                self.is_made_by(&*self.check.scheme, &self.check.message, &body)
            })
        })?;
        Some(tried.what.to_owned())
    }

    /// The same body with another reading of the secret.
    fn secrets(&self) -> Option<String> {
        keys(self.secrets).iter().find_map(|key| {
            secrets::variations(key.expose_secret()).into_iter().find_map(|(what, varied)| {
                let scheme = HmacSha256::new(&[varied])?;
                self.is_made_by(&scheme, &self.check.message, self.body).then(|| what.to_owned())
            })
        })
    }

    /// The same secret over other parts of the request.
    fn templates(&self) -> Option<String> {
        let literal = |text: &str| Part::Literal(text.to_owned());
        let mut tried =
            vec![("over the body alone: compare `signed` of the source", vec![Part::Body])];
        if self.timestamp.is_some() {
            tried.push((
                "over `{timestamp}.{body}`: compare `signed` of the source",
                vec![Part::Timestamp, literal("."), Part::Body],
            ));
        }
        if self.timestamp.is_some() && self.id.is_some() {
            tried.push((
                "over `{id}.{timestamp}.{body}`: compare `signed` of the source",
                vec![Part::Id, literal("."), Part::Timestamp, literal("."), Part::Body],
            ));
        }
        tried.retain(|(_, parts)| *parts != self.signature.signed);
        let found = tried.into_iter().find_map(|(what, signed)| {
            let varied = Signature { signed, ..self.signature.clone() };
            self.is_made_with(&varied).then(|| what.to_owned())
        });
        found.or_else(|| self.addresses())
    }

    /// Another spelling of the host's address, if that is signed.
    fn addresses(&self) -> Option<String> {
        let url = self.signature.public_url.as_deref()?;
        let other = match url.split_once("://")? {
            ("https", rest) => format!("http://{rest}"),
            (_, rest) => format!("https://{rest}"),
        };
        let what = format!("with the address {other}: compare `public_url` of the source");
        let varied = Signature { public_url: Some(other), ..self.signature.clone() };
        (self.signature.signed.contains(&Part::Url) && self.is_made_with(&varied)).then_some(what)
    }

    fn is_made_with(&self, signature: &Signature) -> bool {
        MessageTemplate::new(signature).is_ok_and(|template| {
            template.check(self.head).is_ok()
                && self.is_made_by(&*self.check.scheme, &template, self.body)
        })
    }

    /// The keys of other sources.
    fn others<'o>(
        &self,
        others: impl Iterator<Item = (&'o Source, &'o Verifier)>,
    ) -> Option<String> {
        let signed = others.filter_map(|(source, verifier)| match verifier {
            Verifier::Signed(check) if check.is_plain => Some((source, check)),
            _ => None,
        });
        let mut tried = signed.take(MAX_OTHERS);
        let (source, _) = tried
            .find(|(_, check)| self.is_made_by(&*check.scheme, &self.check.message, self.body))?;
        Some(format!(
            "with a secret of the source `{}`: is it sent to the wrong address, or are the secrets swapped?",
            source.name
        ))
    }
}

fn keys(secrets: &Secrets) -> &[SecretSlice<u8>] {
    match secrets {
        Secrets::Set(all) => all,
        Secrets::Generated { secret, .. } => std::slice::from_ref(secret),
        Secrets::Pair { .. } | Secrets::Missing(_) => &[],
    }
}

#[cfg(test)]
mod tests;
