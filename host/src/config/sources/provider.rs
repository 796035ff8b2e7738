//! Reads the keys of a source that are about its provider's API: `api_key`, `api_url`,
//! `api_version`, `public_url` and `overlap`.

use std::ops::RangeInclusive;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::config::raw::{Item, Section};
use crate::config::secrets::{self, Places};
use crate::config::source::{ApiKey, ProviderSettings};
use crate::config::units::{DAY_MS, MINUTE_MS};
use crate::providers::{self, Provider};

const OVERLAP_BOUNDS_MS: RangeInclusive<u64> = MINUTE_MS..=30 * DAY_MS;

/// The longest address, in bytes.
const MAX_URL_BYTES: usize = 512;

/// The keys that have no use where the provider's API is not known.
const KEYS: [&str; 5] = ["api_key", "api_url", "api_version", "public_url", "overlap"];

/// Reads what a section says of its provider's API; `preset` is the preset that it names.
pub(super) fn read(
    section: &mut Section<'_>,
    preset: Option<&str>,
    places: &Places<'_>,
) -> ProviderSettings {
    let Some(provider) = preset.and_then(providers::find) else {
        let known = providers::names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
        let help = format!(
            "take it out: providers whose API is known have the preset {}",
            known.join(" or ")
        );
        for key in KEYS {
            section.refuse(
                key,
                "has no use: the API of this source's provider is not known",
                &help,
            );
        }
        return ProviderSettings::default();
    };
    let api_key = match section.take("api_key") {
        Some(item) => read_key(&item, places),
        None => usual_key(provider, places),
    };
    let versions: Vec<_> = provider.generations().iter().map(|name| (*name, *name)).collect();
    ProviderSettings {
        name: Some(provider.name()),
        api_key,
        api_url: section.take("api_url").and_then(|item| read_url(&item, provider.api_url())),
        api_version: section.take("api_version").and_then(|item| item.word(&versions)),
        public_url: section.take("public_url").and_then(|item| read_public_url(&item)),
        overlap_ms: section
            .take("overlap")
            .and_then(|item| item.duration_ms(OVERLAP_BOUNDS_MS))
            .unwrap_or(ProviderSettings::DEFAULT_OVERLAP_MS),
        names_registration: false,
        registration: None,
        key_ends: Vec::new(),
    }
}

/// Reads an address that this host is reached at from outside.
pub(in crate::config) fn read_public_url(item: &Item<'_>) -> Option<String> {
    read_url(item, "https://hooks.example.com")
}

/// Reads scheme and host, perhaps with a path, without a slash at the end.
fn read_url(item: &Item<'_>, example: &str) -> Option<String> {
    let text = item.text(&format!("\"{example}\""))?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_graphic() && !"?#@\\\"<>".contains(c);
    let fits = host.is_some_and(|host| !host.is_empty() && host.chars().all(plain))
        && !text.ends_with('/')
        && text.len() <= MAX_URL_BYTES;
    if !fits {
        let help = format!(
            "write scheme and host, without a slash at the end, query or user, such as \"{example}\""
        );
        item.refuse("is not such an address", help);
    }
    fits.then(|| text.to_owned())
}

fn usual_key(provider: &dyn Provider, places: &Places<'_>) -> ApiKey {
    let name = provider.api_key_env();
    let value = (places.env)(name).and_then(|value| value.into_string().ok());
    let value = value.map(Zeroizing::new).map(|text| text.trim().to_owned());
    let value = value.filter(|text| is_header_text(text.as_bytes())).map(SecretString::from);
    ApiKey { place: format!("the environment variable `{name}`"), value }
}

fn read_key(item: &Item<'_>, places: &Places<'_>) -> ApiKey {
    secrets::mask(item);
    if !item.value.is_table() {
        let help = "put the key into an environment variable and write { env = \"NAME\" }, or into a file of its own \
            and write { file = \"PATH\" }";
        item.refuse("holds a literal value", help);
        return ApiKey::default();
    }
    let section = item.section("{ env = \"HEYGEN_API_KEY\" }");
    let found = section.and_then(|section| secrets::read_place(item, section, places));
    let Some((place, text)) = found else { return ApiKey::default() };
    if text.as_ref().is_some_and(|text| !is_header_text(text)) {
        item.refuse(
            format_args!("names {place}, whose value is not visible ASCII in one line"),
            "copy the key from the provider",
        );
        return ApiKey { place, value: None };
    }
    let value = text.and_then(|text| String::from_utf8(text.to_vec()).ok());
    ApiKey { place, value: value.map(SecretString::from) }
}

fn is_header_text(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_graphic)
}
