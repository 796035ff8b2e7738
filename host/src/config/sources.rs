//! Reads `[sources.NAME]`: a preset, what the section says differently, and where the keys are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::presets;
use super::raw::{Item, Section, did_you_mean};
use super::secrets::{self, Fallback, Found, MakeSecrets, Places};
use super::server::MAX_BODY_BOUNDS;
use super::source::{Part, Pick, Source, Template, Types, Verify};

mod dedupe;
mod pick;
mod verify;

pub(super) use pick::header_name;

/// The most sources a file may have.
const MAX_SOURCES: usize = 256;

/// The longest name of a source, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// A source that is read, but whose missing keys are not made yet.
#[derive(Debug)]
pub(super) struct Draft {
    name: String,
    preset: Option<String>,
    template: Template,
    /// `None` only for `scheme = "none"`: what was refused must not end as an open door.
    found: Option<Found>,
    max_body_bytes: Option<usize>,
}

/// What completing a source's keys needs to know.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    pub(super) loopback: bool,
    /// The folder of the keys that the host makes.
    pub(super) folder: &'a Path,
    pub(super) make: MakeSecrets,
}

/// Reads every `[sources.NAME]`.
pub(super) fn read_all(section: Section<'_>, places: &Places<'_>) -> Vec<Draft> {
    let items = section.entries();
    if let Some(item) = items.get(MAX_SOURCES) {
        item.refuse_key("is one source too many", format!("a file can have {MAX_SOURCES}"));
    }
    items.iter().take(MAX_SOURCES).filter_map(|item| read(item, places)).collect()
}

/// Completes the keys. A problem on the way leaves its mark in the sink.
pub(super) fn complete(drafts: Vec<Draft>, keys: &Keys<'_>, sink: &super::raw::Sink) -> BTreeMap<String, Arc<Source>> {
    let complete = |draft: Draft| {
        let Draft { name, preset, template, found, max_body_bytes } = draft;
        let (kind, id, subject) = (template.kind.clone()?, template.id.clone(), template.subject.clone());
        let (form, types, dedupe) = (template.form.clone(), template.types, template.dedupe(found.is_some()));
        let verify = match found {
            None => Verify::None,
            Some(found) => {
                let path = keys.folder.join(&name);
                let fallback = Fallback { loopback: keys.loopback, path, make: keys.make, format: &template.key };
                let secrets = secrets::settle(found, &name, &fallback, sink);
                Verify::Hmac(template.hmac(secrets))
            }
        };
        let name_of = name.as_str().into();
        let source = Source { name: name_of, preset, verify, kind, id, dedupe, subject, max_body_bytes, form, types };
        Some((name, Arc::new(source)))
    };
    drafts.into_iter().filter_map(complete).collect()
}

/// `None` if what was refused leaves nothing to go on with.
fn read(item: &Item<'_>, places: &Places<'_>) -> Option<Draft> {
    check_name(item);
    let mut section = item.section("{ preset = \"heygen\" }")?;
    let preset_item = section.take("preset");
    let mut template = preset_item.as_ref().and_then(read_preset).unwrap_or_else(verify::blank);
    let verify_item = section.take("verify");
    let says_how = preset_item.is_some() || verify_item.is_some();
    if !says_how {
        refuse_unverified(item);
    }
    let scheme = verify_item.as_ref().and_then(|item| verify::read(item, &mut template, preset_item.is_some()));
    let wants_keys = scheme != Some(verify::Scheme::None);
    read_picks(item, &mut section, &mut template, preset_item.is_some());
    if wants_keys && template.signed.contains(&Part::Id) && !matches!(template.id, Some(Pick::Header(_))) {
        let help = "say which header carries it: `id = { header = \"X-Delivery-Id\" }`";
        verify_item.as_ref().unwrap_or(item).refuse_key("signs the {id}, but no header is named for it", help);
    }
    if let Some(item) = section.take("dedupe") {
        // A value that was refused where it stands is reported there only.
        let says_timestamp = verify_item.as_ref().and_then(|item| item.value.as_table());
        let says_timestamp = says_timestamp.is_some_and(|table| table.get_key_value("timestamp").is_some());
        let given = dedupe::Given {
            id: template.id.is_some() || section.keys().any(|key| key == "id"),
            timestamp: template.timestamp.is_some() || says_timestamp,
            is_verified: wants_keys,
        };
        template.dedupe = dedupe::read(&item, given).or(template.dedupe);
    }
    let secrets_item = section.take("secrets");
    let found = match (wants_keys, &secrets_item) {
        (true, Some(list)) => Some(secrets::read(list, &template.key, places)),
        (true, None) => {
            if says_how {
                refuse_without_secrets(item);
            }
            Some(Found::default())
        }
        (false, Some(list)) => {
            secrets::mask(list);
            list.refuse_key("has no use without verification", "take it out, or take `scheme = \"none\"` out");
            None
        }
        (false, None) => None,
    };
    let max_body = section.take("max_body").and_then(|item| item.size_bytes(MAX_BODY_BOUNDS));
    section.finish();
    let preset = preset_item.and_then(|item| item.value.as_str()).map(str::to_owned);
    let max_body = max_body.and_then(|bytes| usize::try_from(bytes).ok());
    let max_body_bytes = max_body.or_else(|| preset.as_deref().and_then(presets::max_body_bytes));
    Some(Draft { name: item.key.to_owned(), preset, template, found, max_body_bytes })
}

fn refuse_unverified(item: &Item<'_>) {
    let presets = presets::NAMES.map(|name| format!("\"{name}\"")).join(", ");
    let own = "`verify = { scheme = \"hmac-sha256\", header = \"X-Signature\" }`";
    let help = format!("write `preset = …` ({presets}) or for example {own}");
    item.refuse_key("does not say how its requests are verified", help);
}

fn refuse_without_secrets(item: &Item<'_>) {
    let variable = item.key.to_ascii_uppercase().replace('-', "_");
    let help = format!("write where the secret is kept: secrets = [{{ env = \"{variable}_WEBHOOK_SECRET\" }}]");
    item.refuse_key("has no `secrets`", help);
}

fn check_name(item: &Item<'_>) {
    let plain = item.key.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if item.key.is_empty() || item.key.len() > MAX_NAME_BYTES || !plain {
        let help = format!(
            "a source is a part of its URL, /webhook/NAME: write 1 to {MAX_NAME_BYTES} of a to z, 0 to 9, _ and -"
        );
        item.refuse_key("cannot be the name of a source", help);
    }
}

fn read_preset(item: &Item<'_>) -> Option<Template> {
    let name = item.text("\"heygen\"")?;
    let preset = presets::find(name);
    if preset.is_none() {
        let all = presets::NAMES.map(|name| format!("\"{name}\"")).join(", ");
        let help = format!(
            "{}presets are {all}; for other providers write `verify = {{ … }}`",
            did_you_mean(name, presets::NAMES)
        );
        item.refuse(format_args!("is the unknown preset \"{name}\""), help);
    }
    preset
}

fn read_picks(item: &Item<'_>, section: &mut Section<'_>, template: &mut Template, preset: bool) {
    match section.take("type") {
        Some(kind) => {
            template.kind = pick::read(&kind, pick::Attribute::Type);
            template.types = Types::Any;
        }
        None if template.kind.is_none() && !preset => {
            let help =
                "write `type = { json = \"/event/type\" }`, or { header = \"X-Event\" }, or { fixed = \"acme.event\" }";
            item.refuse_key("does not say where the event type is found", help);
        }
        None => {}
    }
    if let Some(id) = section.take("id") {
        template.id = pick::read(&id, pick::Attribute::Id);
    }
    if let Some(form) = section.take("form").and_then(|item| pick::form_field(&item)) {
        template.form = Some(form);
    }
    if let Some(subject) = section.take("subject") {
        template.subject = pick::read(&subject, pick::Attribute::Subject);
    }
}
