//! Reads the headers with credentials that the host adds to requests, and the authorities that
//! servers prove themselves to.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secrecy::SecretString;

use super::{Authorities, Injected, is_framing};
use crate::config::inputs::Input;
use crate::config::places;
use crate::config::raw::{Item, Section};
use crate::config::secrets::{self, Places};
use crate::config::template;

/// The most headers that are added to a request.
const MAX_HEADERS: usize = 8;
/// The longest text before a value, in bytes.
const MAX_PREFIX_BYTES: usize = 64;
/// The largest file of certificates, in bytes.
const MAX_AUTHORITIES_BYTES: u64 = 1 << 20;

/// The headers that can be added to a kind of request.
#[derive(Debug)]
pub(in crate::config) struct HeaderTerms {
    /// Headers that the host sets itself, in lower case, beside those that frame a message.
    pub(in crate::config) own: &'static [&'static str],
    /// The shortest value, in bytes.
    pub(in crate::config) min_value_bytes: usize,
    /// The fault of a shorter one.
    pub(in crate::config) too_short: &'static str,
    /// Ends the help for a literal value.
    pub(in crate::config) no_secret: &'static str,
}

/// Reads headers with credentials.
pub(in crate::config) fn read_headers(
    section: Section<'_>,
    terms: &HeaderTerms,
    places: &Places<'_>,
) -> Vec<Injected> {
    let mut headers: Vec<Injected> = Vec::new();
    for item in section.entries() {
        secrets::mask_but(&item, &["env", "file", "prefix"]);
        let Some(name) = template::header_name(item.key) else {
            item.refuse_key(
                "is not the name of a header",
                "write it as the service does, such as `X-Api-Key`",
            );
            continue;
        };
        if is_framing(&name) || terms.own.contains(&name.as_str()) {
            item.refuse_key("is a header that the host sets itself", "take it out");
            continue;
        }
        if headers.len() == MAX_HEADERS {
            item.refuse_key("is one header too many", format!("{MAX_HEADERS} can be added"));
            break;
        }
        if headers.iter().any(|other| other.name == name) {
            item.refuse_key(
                "is there twice",
                "names of headers are the same in upper and lower case",
            );
            continue;
        }
        headers.extend(read_header(&item, name, terms, places));
    }
    headers
}

fn read_header(
    item: &Item<'_>,
    name: String,
    terms: &HeaderTerms,
    places: &Places<'_>,
) -> Option<Injected> {
    if !item.value.is_table() {
        let help = format!(
            "a credential in a file of settings ends up in backups and repositories: put it into an environment \
             variable and write {{ env = \"NAME\" }}, or into a file of its own and write {{ file = \"PATH\" }}{}",
            terms.no_secret
        );
        item.refuse("holds a literal value", help);
        return None;
    }
    let mut section = item.section("{ prefix = \"Bearer \", env = \"API_TOKEN\" }")?;
    let prefix = section.take("prefix").and_then(|item| read_prefix(&item)).unwrap_or_default();
    let (place, text) = secrets::read_place(item, section, places)?;
    let Some(text) = text else { return Some(Injected { name, prefix, value: Err(place) }) };
    let fault = match std::str::from_utf8(&text) {
        Ok(text) if text.len() < terms.min_value_bytes => Some(terms.too_short),
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => None,
        _ => Some("is not visible ASCII in one line"),
    };
    if let Some(fault) = fault {
        item.refuse(
            format_args!("names {place}, whose value {fault}"),
            format!(
                "it has to be what the service gave out, {} characters or more",
                terms.min_value_bytes
            ),
        );
        return None;
    }
    let value = SecretString::from(String::from_utf8_lossy(&text).into_owned());
    Some(Injected { name, prefix, value: Ok(value) })
}

fn read_prefix(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"Bearer \"")?;
    let fits = text.len() <= MAX_PREFIX_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !fits {
        item.refuse(
            "cannot stand in a header",
            format!("write at most {MAX_PREFIX_BYTES} visible ASCII characters"),
        );
    }
    fits.then(|| text.to_owned())
}

/// Reads the certificates of the authorities to trust.
pub(in crate::config) fn read_authorities(item: &Item<'_>, base: &Path) -> Option<Authorities> {
    let path = places::tidy(&base.join(item.text("\"certs/internal.pem\"")?));
    let refuse = |why: String| {
        item.refuse(
            format_args!("names {}, {why}", path.display()),
            "write the path of a PEM file with the certificates of the authorities that vouch for these hosts",
        );
    };
    let (input, pem) = Input::read(&item.path, &path, MAX_AUTHORITIES_BYTES, |pem| !pem.is_empty());
    item.sink().input(input);
    match pem {
        Err(error) => refuse(format!("which cannot be read: {error}")),
        Ok(pem) => {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem)
                .map(|read| read.map(|der| der.to_vec()))
                .collect();
            match read {
                Ok(list) if !list.is_empty() => return Some(Arc::new(list)),
                Ok(_) => refuse("which holds no certificate".to_owned()),
                Err(error) => refuse(format!("which is not PEM: {error}")),
            }
        }
    }
    None
}
