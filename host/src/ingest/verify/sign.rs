//! The other direction of `verify`: the headers a provider would send.

use hmac::KeyInit;
use secrecy::ExposeSecret;

use super::gate::{HmacSha256, active};
use super::verify::Signed;
use crate::config::source::{Encoding, Hmac, Part, Pick, Source, Verify};

/// Why a request cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The source has no secret. The text says what to set.
    #[error("the source `{name}` has no secret: {what}")]
    NoSecret {
        /// The source.
        name: String,
        /// What is missing.
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
}

/// The headers that the source's provider would send with `body`, made with the first active secret: signature,
/// timestamp and id, where the source has them in headers. A type that is taken from a header is the caller's to add.
///
/// `id` is the provider's id of the delivery, `unix_seconds` the time of sending.
pub fn sign(source: &Source, body: &[u8], id: &str, unix_seconds: i64) -> Result<Vec<(String, String)>, SignError> {
    let mut headers = Vec::new();
    let id_header = match &source.id {
        Some(Pick::Header(header)) => Some(header),
        _ => None,
    };
    if let Some(header) = id_header {
        headers.push((header.clone(), id.to_owned()));
    }
    let Verify::Hmac(hmac) = &source.verify else { return Ok(headers) };
    if hmac.signed.contains(&Part::Id) && id_header.is_none() {
        return Err(SignError::NoIdHeader { name: source.name.to_string() });
    }
    headers.extend(signature(source, hmac, body, id, &unix_seconds.to_string())?);
    Ok(headers)
}

fn signature(
    source: &Source,
    hmac: &Hmac,
    body: &[u8],
    id: &str,
    timestamp: &str,
) -> Result<Vec<(String, String)>, SignError> {
    let no_secret = |what: String| SignError::NoSecret { name: source.name.to_string(), what };
    let secret = active(&hmac.secrets)
        .map_err(no_secret)?
        .iter()
        .find(|secret| !secret.expose_secret().is_empty())
        .ok_or_else(|| no_secret("every secret is empty".to_owned()))?;
    let field =
        hmac.signatures.first().ok_or_else(|| SignError::NoSignatureHeader { name: source.name.to_string() })?;
    let key = HmacSha256::new_from_slice(secret.expose_secret()).expect("HMAC takes keys of any length");
    let signed = Signed { parts: &hmac.signed, timestamp: Some(timestamp.as_bytes()), id: Some(id.as_bytes()), body };
    let signature = format!("{}{}", field.prefix, encode(&signed.tag(key), hmac.encoding));
    let Some(at) = &hmac.timestamp else { return Ok(vec![(field.header.clone(), signature)]) };
    let timestamp = format!("{}{timestamp}", at.field.prefix);
    // Stripe's way: both are items of one header.
    Ok(match field.separator.filter(|_| at.field.header == field.header) {
        Some(separator) => vec![(field.header.clone(), format!("{timestamp}{separator}{signature}"))],
        None => vec![(at.field.header.clone(), timestamp), (field.header.clone(), signature)],
    })
}

fn encode(tag: &[u8], encoding: Encoding) -> String {
    use base64::Engine;
    match encoding {
        Encoding::Hex => hex::encode(tag),
        Encoding::Base64 => base64::engine::general_purpose::STANDARD.encode(tag),
    }
}
