//! Reads `[sources.NAME]`: a preset, the section's own values over it, and where the keys are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::raw::{Item, Section, did_you_mean};
use super::secrets::{self, Fallback, FoundSecrets, Keyless, MakeSecrets, Places};
use super::server::Reach;
use super::source::{KeyEncoding, ProviderSettings, Secrets, Source, SourceTemplate, Verify};
use super::warnings::Warning;
use super::{presets, template};
use crate::names::{MAX_NAME_BYTES, is_source_name};
use crate::providers::{Provider, registered};

mod callback;
mod params;
mod provider;
mod weaknesses;

#[cfg(test)]
pub(super) use weaknesses::may_be_repeated;
use weaknesses::{shared_key, weaknesses};

/// The most sources a file may have.
const MAX_SOURCES: usize = 256;

/// Where the presets are listed, for people.
const LISTED: &str = "`hookbox sources presets` lists the presets";

/// The ending of the name of a file with a pair of keys. No name of a source has a dot.
const PAIR_ENDING: &str = ".pair";

/// The name that `hookbox sources presets` takes.
const RESERVED: &str = "presets";

/// A source that is read, but whose missing keys are not made yet.
#[derive(Debug)]
pub(super) struct UnkeyedSource {
    name: String,
    preset: Option<String>,
    template: SourceTemplate,
    /// False only for `scheme = "none"`: a refused value must not end as an open source.
    is_verified: bool,
    /// `None` for a source without secrets.
    found: Option<FoundSecrets>,
    /// The facts about the public key that it lacks.
    keyless: Option<Keyless>,
    provider: ProviderSettings,
    /// The place of `callback` in the file.
    callback_span: Option<Range<usize>>,
    /// The place of the rule that signs the address of the host without saying what it is.
    lacks_url: Option<Range<usize>>,
}

/// The facts on which completing a source's keys depends.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    /// The reach of the listener.
    pub(super) reach: Reach,
    /// The folder of the keys that the host makes.
    pub(super) folder: &'a Path,
    pub(super) make: MakeSecrets,
    /// `server.public_url`.
    pub(super) public_url: Option<&'a str>,
}

/// The facts about the verification that a section has beside its template.
struct VerifySection {
    is_verified: bool,
    /// Whether there is a preset that is known, or `verify`.
    says_how: bool,
    min_key_bytes: usize,
    /// The provider, if its API is known.
    provider: Option<&'static dyn Provider>,
    takes_secrets: bool,
}

/// Reads every `[sources.NAME]`.
pub(super) fn read_all(section: Section<'_>, places: &Places<'_>) -> Vec<UnkeyedSource> {
    let items = section.entries();
    if let Some(item) = items.get(MAX_SOURCES) {
        item.refuse_key("is one source too many", format!("a file can have {MAX_SOURCES}"));
    }
    items.iter().take(MAX_SOURCES).filter_map(|item| read(item, places)).collect()
}

/// Completes the keys. Problems are written to the sink.
pub(super) fn complete(
    sources: Vec<UnkeyedSource>,
    keys: &Keys<'_>,
    sink: &super::raw::Sink,
) -> BTreeMap<String, Arc<Source>> {
    let complete = |source: UnkeyedSource| {
        let UnkeyedSource { name, preset, mut template, is_verified, keyless, .. } = source;
        let UnkeyedSource { lacks_url, .. } = source;
        let UnkeyedSource { mut found, mut provider, callback_span, .. } = source;
        if provider.public_url.is_none() {
            provider.public_url = keys.public_url.map(str::to_owned);
        }
        settle_url(&mut template, provider.public_url.as_ref(), (&name, lacks_url), sink);
        if let Some(rule) = &mut provider.callback {
            callback::complete(rule, (&name, callback_span), keys.folder, sink);
        }
        if let Some(found) = &mut found {
            let path = keys.folder.join(registered::file_name(&name));
            secrets::read_registration(found, &name, &path, (&template.key, &mut provider), sink);
        }
        let kind = template.kind.clone()?;
        let secret_places = found.as_ref().map(|found| found.places.clone()).unwrap_or_default();
        let secrets = settle(&mut template, &name, (found, keyless), keys, sink);
        if is_verified {
            for what in weaknesses(&template) {
                sink.warn(Warning::of_working_source(&name, what));
            }
        }
        if let Some(what) = preset.as_deref().and_then(|preset| shared_key(preset, &template)) {
            sink.warn(Warning::of_working_source(&name, &what));
        }
        let rules = is_verified.then(|| template.rules());
        let verify = rules.map_or(Verify::None, Verify::Signature);
        let source = Source {
            name: name.as_str().into(),
            preset,
            verify,
            secrets,
            secret_places,
            kind,
            dedupe: template.dedupe(is_verified),
            id: template.id,
            subject: template.subject,
            max_body_bytes: template.max_body_bytes,
            form: template.form,
            split: template.split,
            cloudevents: template.cloudevents,
            origins: template.origins,
            types: template.types,
            trust_traceparent: template.trust_traceparent,
            handshakes: template.handshakes,
            replies: template.replies,
            params: template.params,
            provider,
        };
        Some((name, Arc::new(source)))
    };
    sources.into_iter().filter_map(complete).collect()
}

/// The keys of the source `name`: its secrets, or a pair where a public key is missing.
fn settle(
    template: &mut SourceTemplate,
    name: &str,
    (found, keyless): (Option<FoundSecrets>, Option<Keyless>),
    keys: &Keys<'_>,
    sink: &super::raw::Sink,
) -> Secrets {
    let (reach, make) = (keys.reach, keys.make);
    if let Some(missing) = keyless {
        let path = keys.folder.join(format!("{name}{PAIR_ENDING}"));
        let secrets = secrets::settle_pair(&missing, name, path, (reach, make), sink);
        if let Secrets::Pair { pair, .. } = &secrets {
            template.signature.take_key(&pair.public());
        }
        return secrets;
    }
    let Some(found) = found else { return Secrets::Set(Vec::new()) };
    let path = keys.folder.join(name);
    let fallback = Fallback { reach, path, make, format: &template.key };
    secrets::settle(found, name, &fallback, sink)
}

/// Takes the address of the host where a rule depends on it and names none of its own.
fn settle_url(
    template: &mut SourceTemplate,
    url: Option<&String>,
    (name, lacks_url): (&str, Option<Range<usize>>),
    sink: &super::raw::Sink,
) {
    if let (None, Some(span)) = (url, lacks_url) {
        let message = format!("`sources.{name}` signs the {{url}}, but does not say what it is");
        let help = "say how the provider reaches this host, under [server] or in the section: \
                    `public_url = \"https://hooks.example.com\"`";
        sink.problem(Some(span), message, help);
    }
    if template.uses_url() {
        template.signature.take_url(url);
    }
}

/// `None` if what was refused leaves nothing to go on with.
fn read(item: &Item<'_>, places: &Places<'_>) -> Option<UnkeyedSource> {
    check_name(item);
    let mut section = item.section("{ preset = \"heygen\" }")?;
    let preset_item = section.take("preset");
    let (mut template, is_known) = template_of(preset_item.as_ref());
    let verify_item = section.take("verify");
    let says_how = preset_item.is_some() || verify_item.is_some();
    if !says_how {
        refuse_unverified(item);
    }
    let over_preset = preset_item.is_some();
    let is_verified =
        template::read(item, &mut section, verify_item.as_ref(), &mut template, over_preset);
    let checked = verify_item.as_ref().unwrap_or(item);
    let (lacks_url, keyless) = match is_verified {
        true => check_own(checked, &template),
        false => (false, None),
    };
    params::read(item, &mut section, &mut template, places);
    let named = preset_item.as_ref().and_then(|item| item.value.as_str());
    let mut provider = provider::read(&mut section, named, template.uses_url(), places);
    let callback_item = section.take("callback");
    let callback_item = if provider.name.is_some() { callback_item } else { None };
    provider.callback = callback_item.as_ref().and_then(callback::read);
    let callback_span = callback_item.map(|item| item.span);
    let secrets_item = section.take("secrets");
    let min_key_bytes = read_min_key_bytes(&mut section);
    provider.takes_secrets = template.handshakes.iter().any(|rule| rule.offers.is_some());
    if provider.takes_secrets && template.key.encoding != KeyEncoding::Utf8 {
        let help = "take `offers` out of the handshake, or `secret_encoding`";
        item.refuse_key("takes secrets of handshakes, which are not encoded", help);
    }
    let takes_secrets = provider.takes_secrets;
    let how = VerifySection {
        is_verified,
        says_how: says_how && is_known,
        min_key_bytes,
        provider: provider.provider(),
        takes_secrets,
    };
    let found = read_secrets(item, secrets_item.as_ref(), how, &template, places);
    template::read_max_body(&mut section, &mut template);
    let trusts = section.take("trust_traceparent").and_then(|item| item.truth());
    template.trust_traceparent = trusts.unwrap_or(false);
    section.finish();
    let (name, preset) = (item.key.to_owned(), named.map(str::to_owned));
    let lacks_url = lacks_url.then(|| checked.key_span.clone());
    Some(UnkeyedSource {
        name,
        preset,
        template,
        is_verified,
        found,
        keyless,
        provider,
        callback_span,
        lacks_url,
    })
}

/// Reads where the secrets are; `None` for a source without any.
fn read_secrets(
    item: &Item<'_>,
    list: Option<&Item<'_>>,
    how: VerifySection,
    template: &SourceTemplate,
    places: &Places<'_>,
) -> Option<FoundSecrets> {
    let VerifySection { is_verified, says_how, min_key_bytes, provider, takes_secrets } = how;
    let format = &template.key;
    match (is_verified && template.signature.has_secrets(), list) {
        (true, Some(list)) => Some(secrets::read(list, format, min_key_bytes, places)),
        (true, None) => {
            if let Some(provider) = provider {
                let env = provider.secret_env();
                return Some(secrets::usual(item, env, format, min_key_bytes, places));
            }
            if takes_secrets {
                return Some(FoundSecrets::registered(item.key_span.clone()));
            }
            if says_how {
                refuse_without_secrets(item);
            }
            Some(FoundSecrets::default())
        }
        (false, Some(list)) => {
            secrets::mask(list);
            match is_verified {
                true => list.refuse_key(
                    "has no use with public keys",
                    "take it out, or take another `scheme`",
                ),
                false => list.refuse_key(
                    "has no use without verification",
                    "take it out, or take `scheme = \"none\"` out",
                ),
            }
            None
        }
        (false, None) => None,
    }
}

/// The shortest secret that the section takes, in bytes.
fn read_min_key_bytes(section: &mut Section<'_>) -> usize {
    let Some(item) = section.take("allow_short_secrets") else { return secrets::MIN_KEY_BYTES };
    if item.truth() != Some(true) {
        return secrets::MIN_KEY_BYTES;
    }
    item.sink().warn(Warning::new(format!(
        "`{}` takes secrets that can be guessed: take it out once the provider has a longer one",
        item.path
    )));
    1
}

/// Says whether a source lacks the address of the host, and what is known of a public key that is
/// missing: no preset can say either. A value that was refused is reported in its own place only.
fn check_own(item: &Item<'_>, template: &SourceTemplate) -> (bool, Option<Keyless>) {
    let says = |key| item.value.as_table().is_some_and(|table| table.get_key_value(key).is_some());
    let (key, span, kind) =
        (item.path.clone(), item.key_span.clone(), template.signature.pair_kind());
    let is_keyless = template.signature.is_keyless() && !says("public_keys");
    let rule = &template.signature;
    let lacks_url = rule.needs_url() && rule.public_url.is_none() && !says("public_url");
    (lacks_url, is_keyless.then_some(Keyless { key, span, kind }))
}

fn refuse_unverified(item: &Item<'_>) {
    let own = "`verify = { scheme = \"hmac-sha256\", header = \"X-Signature\" }`";
    let help = format!("write `preset = …` ({LISTED}) or for example {own}");
    item.refuse_key("does not say how its requests are verified", help);
}

fn refuse_without_secrets(item: &Item<'_>) {
    let variable = item.key.to_ascii_uppercase().replace('-', "_");
    let help = format!(
        "write where the secret is kept: secrets = [{{ env = \"{variable}_WEBHOOK_SECRET\" }}]"
    );
    item.refuse_key("has no `secrets`", help);
}

fn check_name(item: &Item<'_>) {
    if item.key == RESERVED {
        let help = "`hookbox sources presets` lists the presets: give the source another name";
        item.refuse_key("cannot be the name of a source", help);
    }
    if !is_source_name(item.key) {
        let help = format!(
            "a source is a part of its URL, /webhook/NAME: write 1 to {MAX_NAME_BYTES} of a to z, 0 to 9, _ and -"
        );
        item.refuse_key("cannot be the name of a source", help);
    }
}

/// The template of a preset, and whether it is known what the source needs.
fn template_of(preset: Option<&Item<'_>>) -> (SourceTemplate, bool) {
    match preset.map(read_preset) {
        None => (SourceTemplate::default(), true),
        Some(found) => (found.clone().unwrap_or_default(), found.is_some()),
    }
}

fn read_preset(item: &Item<'_>) -> Option<SourceTemplate> {
    let name = item.text("\"heygen\"")?;
    let preset = presets::find(name);
    if preset.is_none() {
        let help = format!(
            "{}{LISTED}; for other providers write `verify = {{ … }}`",
            did_you_mean(name, presets::NAMES)
        );
        item.refuse(format_args!("is the unknown preset \"{name}\""), help);
    }
    preset
}
