//! Reads `key_url = { header = "X-Cert-Url", hosts = ["api.acme.com"] }`: the address of a public
//! key, and the hosts that are asked for one.

use super::place;
use crate::config::raw::{Item, Section};
use crate::config::source::{KeyAddress, KeyDocument, KeyFrom};

/// The most hosts that are asked.
const MAX_HOSTS: usize = 16;

/// The longest text, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// Reads the table.
pub(super) fn read(item: &Item<'_>) -> Option<KeyAddress> {
    let mut section =
        item.section("{ json = \"/SigningCertURL\", hosts = [\"sns.us-east-1.amazonaws.com\"] }")?;
    let hosts = read_hosts(&mut section);
    let path = section.take("path").and_then(|item| Some(item.text("\"/certs/\"")?.to_owned()));
    let fixed = section.take("url").and_then(|item| url(&item));
    let kind = section.take("kind");
    let kind = kind
        .and_then(|item| item.word(&[("x509", KeyDocument::X509), ("jwks", KeyDocument::Jwks)]));
    let place = place::take(item, &mut section);
    section.finish();
    let path = path.unwrap_or_else(|| "/".to_owned());
    let kind = kind.unwrap_or(KeyDocument::X509);
    match (fixed, place) {
        (Some(url), None) => {
            let host = url.split('/').nth(2).unwrap_or_default().to_owned();
            Some(KeyAddress { from: KeyFrom::Fixed(url), hosts: vec![host], path, kind })
        }
        (None, Some(place)) if !hosts.is_empty() => {
            Some(KeyAddress { from: KeyFrom::Request(place), hosts, path, kind })
        }
        (None, Some(_)) => {
            let help = "anybody could name a key of their own: write `hosts = [\"api.acme.com\"]`";
            item.refuse("pins no host", help);
            None
        }
        _ => {
            let help =
                "write `url = \"https://…\"`, or where the request has it and `hosts = [\"…\"]`";
            item.refuse("does not say where the key is", help);
            None
        }
    }
}

/// Reads `hosts` of a section.
pub(super) fn read_hosts(section: &mut Section<'_>) -> Vec<String> {
    let hosts = section.take("hosts").map(|item| item.one_or_many()).unwrap_or_default();
    hosts.iter().take(MAX_HOSTS).filter_map(host).collect()
}

fn host(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"api.acme.com\"")?;
    let plain = text.replacen("*.", "", 1);
    let fits =
        plain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b));
    if !fits || !plain.contains('.') || text.len() > MAX_TEXT_BYTES {
        item.refuse(
            "is not the name of a host",
            "write it in small letters, without scheme and port, such as \"api.acme.com\"",
        );
        return None;
    }
    Some(text.to_owned())
}

fn url(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"https://acme.com/.well-known/jwks.json\"")?;
    let rest = text.strip_prefix("https://");
    let host = rest.and_then(|rest| rest.split('/').next());
    let fits = host.is_some_and(|host| host.contains('.') && !host.contains(['@', ':', '?', '#']));
    if !fits || text.len() > MAX_TEXT_BYTES || !text.chars().all(|c| c.is_ascii_graphic()) {
        item.refuse("is not an https address", "write for example \"https://acme.com/keys.json\"");
        return None;
    }
    Some(text.to_owned())
}
