//! Reads the keys of a source that are about its provider's API: `api_key`, `api_url`,
//! `api_version`, `public_url`, `overlap` and `reconcile`.

use std::ops::RangeInclusive;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::config::presets;
use crate::config::raw::{Item, Section};
use crate::config::secrets::{self, Places};
use crate::config::source::{ApiKey, ProviderSettings};
use crate::config::units::{DAY_MS, MINUTE_MS};
use crate::config::urls::{read_public_url, read_url};
use crate::providers::{self, ApiRequest, Provider};

const OVERLAP_BOUNDS_MS: RangeInclusive<u64> = MINUTE_MS..=30 * DAY_MS;
const RECONCILE_BOUNDS_MS: RangeInclusive<u64> = MINUTE_MS..=DAY_MS;

/// The keys that have no use where the provider's API is not known.
const KEYS: [&str; 6] = ["api_key", "api_url", "api_version", "overlap", "reconcile", "callback"];

/// Reads what a section says of its provider's API; `preset` is the preset that it names.
pub(super) fn read(
    section: &mut Section<'_>,
    preset: Option<&str>,
    uses_url: bool,
    places: &Places<'_>,
) -> ProviderSettings {
    let url_item = section.take("public_url");
    let public_url = url_item.as_ref().and_then(read_public_url);
    let Some(provider) = preset.and_then(providers::find) else {
        let useless = if uses_url { None } else { url_item.as_ref() };
        refuse_keys(section, preset, useless);
        return ProviderSettings { public_url, ..ProviderSettings::default() };
    };
    let api_key = match section.take("api_key") {
        Some(item) => read_key(&item, places),
        None => usual_key(provider, places),
    };
    let reconcile = section.take("reconcile");
    let reconcile_ms = reconcile.as_ref().and_then(|item| item.duration_ms(RECONCILE_BOUNDS_MS));
    let versions: Vec<_> = provider.generations().iter().map(|name| (*name, *name)).collect();
    let settings = ProviderSettings {
        name: Some(provider.name()),
        api_key,
        api_url: section.take("api_url").and_then(|item| read_url(&item, provider.api_url())),
        api_version: section.take("api_version").and_then(|item| item.word(&versions)),
        public_url,
        callback: None,
        overlap_ms: section
            .take("overlap")
            .and_then(|item| item.duration_ms(OVERLAP_BOUNDS_MS))
            .unwrap_or(ProviderSettings::DEFAULT_OVERLAP_MS),
        reconcile_ms,
        takes_secrets: false,
        names_registration: false,
        registration: None,
        key_ends: Vec::new(),
    };
    let log = ApiRequest::Events { cursor: None, limit: 1 };
    if let (Some(item), Err(why)) = (reconcile, provider.call(&settings.api(provider), &log)) {
        item.refuse_key(format_args!("cannot work: {why}"), "or take it out");
    }
    settings
}

/// Refuses keys that have no use where the provider's API is not known.
fn refuse_keys(section: &mut Section<'_>, preset: Option<&str>, url_item: Option<&Item<'_>>) {
    // The preset is refused, and may be a misspelt one to which these belong.
    if preset.is_some_and(|name| presets::find(name).is_none()) {
        KEYS.into_iter().for_each(|key| drop(section.take(key)));
        return;
    }
    let known = providers::names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
    let help =
        format!("take it out: providers whose API is known have the preset {}", known.join(" or "));
    for key in KEYS {
        section.refuse(key, "has no use: the API of this source's provider is not known", &help);
    }
    if let Some(item) = url_item {
        let help = "take it out, or sign the {url}";
        item.refuse_key("has no use: nothing of this source depends on its address", help);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_whose_api_is_known_is_that_of_a_preset() {
        for name in providers::names() {
            assert!(presets::NAMES.contains(&name), "{name}");
        }
    }
}
