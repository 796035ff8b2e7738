//! The other direction of the check: the headers that a provider would send.

use axum::http::{HeaderMap, Method};

use super::keyed::scheme;
use super::message::{Message, MessageTemplate};
use crate::config::source::{
    KeyAddress, Part, Pick, Place, Signature, Source, TimeFormat, Timestamp, Verify,
};
use crate::ingest::head::Head;

/// Why a request cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The source has no secret. The text says what to set.
    #[error("the source `{name}` has no secret: {what}")]
    NoSecret {
        /// The source.
        name: String,
        /// The missing part.
        what: String,
    },
    /// The signature covers the id, but the source does not name the header it is in.
    #[error("the source `{name}` signs the id, but takes it from no header")]
    NoIdHeader {
        /// The source.
        name: String,
    },
    /// No header is named for the signature.
    #[error("the source `{name}` names no signature header")]
    NoSignatureHeader {
        /// The source.
        name: String,
    },
    /// The key is at an address of the provider.
    #[error(
        "only the provider can sign for the source `{name}`: its public key is fetched from {host}, and \
         the provider alone has the private key"
    )]
    KeyByAddress {
        /// The source.
        name: String,
        /// The hosts that are asked for the public key.
        host: String,
    },
    /// The signature covers something that only the provider can send, or is made with a key that
    /// only the provider has. The text says what.
    #[error("only the provider can sign for the source `{name}`: {what}")]
    OnlyProvider {
        /// The source.
        name: String,
        /// The missing part.
        what: String,
    },
}

/// The headers that the source's provider would send with `body`, made with the first active
/// secret: signature, timestamp and id, where the source has them in headers. A type that is taken
/// from a header is the caller's to add.
///
/// `id` is the provider's id of the delivery, `unix_seconds` the time of sending.
///
/// # Errors
/// The source has no secret, or its signature covers what only the provider has.
pub fn sign(
    source: &Source,
    body: &[u8],
    id: &str,
    unix_seconds: i64,
) -> Result<Vec<(String, String)>, SignError> {
    let mut headers = Vec::new();
    let id_header = match &source.id {
        Some(Pick::Header(header)) => Some(header),
        _ => None,
    };
    if let Some(header) = id_header {
        headers.push((header.clone(), id.to_owned()));
    }
    let Verify::Signature(signature) = &source.verify else { return Ok(headers) };
    if signature.signed.contains(&Part::Id) && id_header.is_none() {
        return Err(SignError::NoIdHeader { name: source.name.to_string() });
    }
    headers.extend(signed(source, signature, body, id, unix_seconds)?);
    Ok(headers)
}

fn signed(
    source: &Source,
    signature: &Signature,
    body: &[u8],
    id: &str,
    unix_seconds: i64,
) -> Result<Vec<(String, String)>, SignError> {
    let name = || source.name.to_string();
    let only_provider =
        |what: &str| SignError::OnlyProvider { name: name(), what: what.to_owned() };
    check_own_key(source, signature)?;
    let scheme = scheme(signature, &source.secrets)
        .map_err(|what| SignError::NoSecret { name: name(), what })?;
    let field = signature
        .signatures
        .first()
        .ok_or_else(|| SignError::NoSignatureHeader { name: name() })?;
    let name_of = |place: &Place| {
        let elsewhere = || only_provider("the signature stands in its body or in its address");
        place.header().map(str::to_owned).ok_or_else(elsewhere)
    };
    let header = name_of(&field.place)?;
    let timestamp = time_text(signature.timestamp.as_ref(), unix_seconds);
    let template = MessageTemplate::new(signature).map_err(|what| only_provider(&what))?;
    let head = head(source);
    let message = Message {
        timestamp: Some(timestamp.as_bytes()),
        id: Some(id.as_bytes()),
        now_ms: unix_seconds.saturating_mul(1_000),
        ..Message::plain(&template, &head, body)
    };
    if !template.is_plain() && template.needs_body() || template.check(message.head).is_err() {
        return Err(only_provider("the signature covers other parts of its requests"));
    }
    let bytes = scheme.sign(&message).ok_or_else(|| only_provider(NOT_OURS))?;
    let text = format!("{}{}", field.prefix, signature.encoding.encode(&bytes));
    let Some(at) = &signature.timestamp else { return Ok(vec![(header, text)]) };
    let time_header = name_of(&at.field.place)?;
    let timestamp = format!("{}{timestamp}", at.field.prefix);
    // Stripe's way: both are items of one header.
    Ok(match field.separator {
        Some(separator) if time_header == header => {
            vec![(header, format!("{timestamp}{separator}{text}"))]
        }
        _ => vec![(time_header, timestamp), (header, text)],
    })
}

/// The reason for which no signature is made with public keys of the configuration.
pub(super) const NOT_OURS: &str =
    "it has the private key; without `public_keys` a host on loopback makes a pair for tests";

/// Refuses a rule whose key is fetched.
pub(super) fn check_own_key(source: &Source, signature: &Signature) -> Result<(), SignError> {
    let refuse = |address: &KeyAddress| SignError::KeyByAddress {
        name: source.name.to_string(),
        host: address.hosts.join(", "),
    };
    signature.key_address.as_ref().map_or(Ok(()), |address| Err(refuse(address)))
}

/// A webhook's head, as far as it is known before signing.
fn head(source: &Source) -> Head {
    let uri = format!("/webhook/{}", source.name).parse().unwrap_or_default();
    Head { method: Method::POST, uri, headers: HeaderMap::new() }
}

/// The time as a provider writes it.
pub(super) fn time_text(rule: Option<&Timestamp>, unix_seconds: i64) -> String {
    match rule.map(|rule| rule.format) {
        Some(TimeFormat::Milliseconds) => format!("{unix_seconds}000"),
        Some(TimeFormat::Rfc3339) => crate::clock::rfc3339(unix_seconds.saturating_mul(1_000)),
        Some(TimeFormat::Seconds) | None => unix_seconds.to_string(),
    }
}
