//! Reads a preset's file.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::problems::Problems;
use super::raw::{Item, Section, Sink};
use super::source::{DedupeBy, EventTypes, Pick, Placeholder, SourceTemplate};
use super::template;

/// One preset.
#[derive(Debug)]
pub(super) struct Preset {
    pub(super) template: SourceTemplate,
    pub(super) about: AboutProvider,
    /// Event type and body, in the order of the file.
    pub(super) samples: Vec<(String, String)>,
}

/// Facts about a provider, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AboutProvider {
    /// The provider's name.
    pub name: String,
    /// The page of its documentation.
    pub page: String,
    /// Where an operator registers the address and finds the key.
    pub register: String,
    /// Whether the rule was read in the provider's own documentation or code; otherwise it comes
    /// from others.
    pub confirmed: bool,
    /// The part of a body that differs from event to event, where type and body are a key and the
    /// id is not in the body; `None` if two events may have equal bodies.
    pub differs: Option<String>,
    /// The remedy, where the provider signs for all customers with one key and no rule names the
    /// user's registration.
    pub everybody: Option<String>,
}

/// Reads a preset's file.
pub(super) fn read(name: &str, text: &str) -> Result<Preset, Problems> {
    let sink = Sink::default();
    let preset = match DeTable::parse(text) {
        Ok(table) => {
            let span = table.span();
            let value = DeValue::Table(table.into_inner());
            read_section(&Item::file(name, span, &value, &sink))
        }
        Err(error) => {
            sink.problem(
                error.span(),
                format!("this is not TOML: {}", error.message()),
                "see https://toml.io",
            );
            None
        }
    };
    match preset {
        Some(preset) if sink.is_empty() => Ok(preset),
        _ => {
            let (problems, masked) = sink.into_parts();
            Err(Problems::new(Path::new(&format!("presets/{name}.toml")), text, problems, &masked))
        }
    }
}

fn read_section(item: &Item<'_>) -> Option<Preset> {
    let mut section = item.section("{}")?;
    let mut template = SourceTemplate::default();
    let verify_item = section.take("verify");
    if verify_item.is_none() {
        item.refuse_key("does not say how its requests are verified", "write [verify]");
    }
    template::read(item, &mut section, verify_item.as_ref(), &mut template, false);
    template::read_max_body(&mut section, &mut template);
    template.placeholder = section.take("placeholder").and_then(|item| read_placeholder(&item));
    if let Some(types) = section.take("types").and_then(|item| read_types(&item)) {
        template.types = types;
    }
    let about = section.take("about").and_then(|item| read_about(&item));
    // An id that is a key names events. In the body it differs wherever they do.
    let is_key = template.dedupe.as_ref().is_some_and(|keys| keys.contains(&DedupeBy::Id));
    let is_told = is_key && template.id.as_ref().is_some_and(Pick::is_of_body);
    template.bodies_repeat =
        !is_told && about.as_ref().is_some_and(|about| about.differs.is_none());
    if about.is_none() {
        item.refuse_key("does not say whose preset it is", "write [about]");
    }
    let samples = section.take_section("samples", "{ \"*\" = \"{}\" }").entries();
    let samples = samples.iter().filter_map(read_sample).collect();
    section.finish();
    Some(Preset { template, about: about?, samples })
}

fn read_about(item: &Item<'_>) -> Option<AboutProvider> {
    let mut section =
        item.section("{ name = \"Acme\", page = \"https://…\", register = \"…\" }")?;
    let mut text = |key, example| read_text(item, &mut section, key, example);
    let (name, page, register) = (
        text("name", "Acme"),
        text("page", "https://docs.example.com/webhooks"),
        text("register", "Settings > Webhooks"),
    );
    let confirmed = section.take("confirmed").and_then(|item| item.truth()).unwrap_or(true);
    let mut remark =
        |key, example| section.take(key).and_then(|item| item.text(example).map(str::to_owned));
    let differs = remark("differs", "\"created_at\"");
    let everybody = remark("everybody", "\"let plugins compare the account\"");
    section.finish();
    let (name, page, register) = (name?, page?, register?);
    Some(AboutProvider { name, page, register, confirmed, differs, everybody })
}

fn read_placeholder(item: &Item<'_>) -> Option<Placeholder> {
    let mut section =
        item.section("{ prefix = \"evt_\", json = \"/livemode\", value = \"false\" }")?;
    let mut text = |key, example| read_text(item, &mut section, key, example);
    let (prefix, pointer, value) =
        (text("prefix", "evt_"), text("json", "/livemode"), text("value", "false"));
    section.finish();
    Some(Placeholder { prefix: prefix?, pointer: pointer?, value: value? })
}

fn read_types(item: &Item<'_>) -> Option<EventTypes> {
    let mut section = item.section("{ known = [\"push\"], more = \"…\" }")?;
    let known = section.take("known").map(|item| item.one_or_many()).unwrap_or_default();
    let known =
        known.iter().map(|item| item.text("\"push\"").map(str::to_owned)).collect::<Option<_>>()?;
    let more = read_text(item, &mut section, "more", "…")?;
    section.finish();
    Some(EventTypes::Words { known, more: more.into() })
}

fn read_text(
    item: &Item<'_>,
    section: &mut Section<'_>,
    key: &'static str,
    example: &str,
) -> Option<String> {
    let text =
        section.take(key).and_then(|item| item.text(&format!("\"{example}\"")).map(str::to_owned));
    if text.is_none() {
        item.refuse(
            format_args!("has no `{key}`"),
            format!("write for example `{key} = \"{example}\"`"),
        );
    }
    text
}

fn read_sample(item: &Item<'_>) -> Option<(String, String)> {
    let text = item.text("\"{}\"")?;
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        item.refuse(format_args!("is not JSON: {error}"), "write the body of an event");
    }
    Some((item.key.to_owned(), text.to_owned()))
}
