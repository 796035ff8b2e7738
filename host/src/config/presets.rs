//! Presets: what is known of providers, as data.
//!
//! A preset is one file, `presets/NAME.toml`. Its keys are those of a section `[sources.NAME]`,
//! read by the same code, and four of its own:
//! - `about = { name, page, register, confirmed }`: the provider (see [`AboutProvider`]);
//! - `placeholder = { prefix, json, value }`: ids that name no event (see [`Placeholder`]);
//! - `types = { known, more }`: the types of its events, for warnings (see [`EventTypes::Words`]);
//! - `[samples]`: bodies by event type for `hookbox send`, as JSON; `*.fail` and `*` are for types
//!   without one of their own, and `{id}` is a fresh id.
//!
//! To add one: the file, its name in the list below, and its vectors in `tests/vectors.json`. The
//! tests read every file and name the one that is bad.

use std::path::Path;
use std::sync::OnceLock;

use toml::de::{DeTable, DeValue};

use super::problems::Problems;
use super::raw::{Item, Section, Sink};
use super::source::{EventTypes, Placeholder, SourceTemplate};
use super::template;

macro_rules! presets {
    ($($name:literal),*) => {
        /// Every preset's name.
        pub const NAMES: [&str; [$($name),*].len()] = [$($name),*];
        const FILES: [&str; NAMES.len()] = [$(include_str!(concat!("presets/", $name, ".toml"))),*];
    };
}

presets!(
    "acuity",
    "airtable",
    "asana",
    "attio",
    "beehiiv",
    "bitbucket",
    "bitbucket-data-center",
    "brex",
    "buildkite",
    "cal-com",
    "calendly",
    "checkout-com",
    "checkr",
    "circleci",
    "clerk",
    "clicksign",
    "cloudflare-stream",
    "coinbase-cdp",
    "coinbase-commerce",
    "coinify",
    "cursor",
    "customer-io",
    "daily",
    "discord",
    "dropbox",
    "dwolla",
    "easypost",
    "elevenlabs",
    "facebook",
    "fireflies",
    "forgejo",
    "gitea",
    "github",
    "gitlab-signing-token",
    "gocardless",
    "gogs",
    "guesty",
    "heygen",
    "incident-io",
    "instagram",
    "jira",
    "lemon-squeezy",
    "line",
    "lithic",
    "loops",
    "mailchimp",
    "meta",
    "microsoft-teams",
    "modern-treasury",
    "mollie",
    "mux",
    "nash",
    "notion",
    "nylas",
    "openai",
    "paddle",
    "pagerduty",
    "pleo",
    "psifi",
    "ramp",
    "razorpay",
    "render",
    "replicate",
    "resend",
    "safebase",
    "sardine",
    "savvycal",
    "sentry",
    "shopify",
    "slack",
    "snyk",
    "standard-webhooks",
    "stripe",
    "stytch",
    "supabase",
    "svix",
    "synthesia",
    "tally",
    "telnyx",
    "typeform",
    "whatsapp",
    "whereby",
    "woocommerce",
    "x-twitter",
    "xero",
    "yousign",
    "zoom"
);

/// Each preset is read when it is first used.
static PRESETS: [OnceLock<Preset>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];

/// One preset.
#[derive(Debug)]
struct Preset {
    template: SourceTemplate,
    about: AboutProvider,
    /// Event type and body, in the order of the file.
    samples: Vec<(String, String)>,
}

/// What people need to know of a provider.
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
}

/// What is known of the provider of this preset.
pub fn about(name: &str) -> Option<&'static AboutProvider> {
    preset(name).map(|preset| &preset.about)
}

/// The preset of this name.
pub fn find(name: &str) -> Option<SourceTemplate> {
    preset(name).map(|preset| preset.template.clone())
}

/// Event types and bodies, as JSON, of the preset of this name; see the module's documentation.
pub fn samples(name: &str) -> &'static [(String, String)] {
    preset(name).map_or(&[], |preset| preset.samples.as_slice())
}

fn preset(name: &str) -> Option<&'static Preset> {
    let at = NAMES.iter().position(|known| *known == name)?;
    let text = FILES.get(at)?;
    Some(PRESETS.get(at)?.get_or_init(|| read(name, text).expect("a test reads every file")))
}

/// Reads a preset's file.
fn read(name: &str, text: &str) -> Result<Preset, Problems> {
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
    section.finish();
    Some(AboutProvider { name: name?, page: page?, register: register?, confirmed })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::config::source::DedupeBy;

    #[test]
    fn every_preset_file_is_listed_and_read_without_a_problem() {
        for (name, text) in NAMES.into_iter().zip(FILES) {
            match read(name, text) {
                Ok(preset) => assert!(preset.template.kind.is_some(), "presets/{name}.toml"),
                Err(problems) => panic!("{}", problems.render(false)),
            }
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/presets");
        let names = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap());
        let listed = NAMES.map(|name| format!("{name}.toml"));
        assert_eq!(names.collect::<BTreeSet<_>>(), BTreeSet::from(listed));
        assert_eq!(find("nobody"), None);
    }

    #[test]
    fn a_bad_preset_file_is_named_with_the_line() {
        let good = "type = { json = \"/type\" }\n[verify]\nscheme = \"hmac-sha256\"\nheader = \"X-S\"\n\
             [about]\nname = \"Acme\"\npage = \"https://acme.example\"\nregister = \"there\"\n";
        assert!(read("acme", good).is_ok());
        for (bad, says) in [
            (good.replace("json", "jsn"), "presets/acme.toml:1:10: `acme.type.jsn` is not a key"),
            (good.replace("X-S", "X S"), "presets/acme.toml:4:10: `acme.verify.header` is \"X S\""),
            (good.replace("type = ", "type "), "presets/acme.toml:1:6: this is not TOML"),
            (good.replace("[verify]", "[other]"), "does not say how its requests are verified"),
            (good.replace("[about]", "[abort]"), "does not say whose preset it is"),
            (
                format!("{good}[samples]\n\"*\" = \"{{\"\n"),
                "presets/acme.toml:10:7: `acme.samples.\"*\"` is not JSON",
            ),
            (
                format!("{good}[types]\nknown = [\"a\"]\n"),
                "presets/acme.toml:9:1: `acme.types` has no `more`",
            ),
            (format!("secrets = []\n{good}"), "`acme.secrets` is not a key of hookbox"),
        ] {
            let problems = read("acme", &bad).unwrap_err().to_string();
            assert!(problems.contains(says), "{says}\n{problems}");
        }
    }

    #[test]
    fn every_preset_says_what_makes_a_duplicate() {
        for name in NAMES {
            assert!(find(name).is_some_and(|preset| preset.dedupe.is_some()), "{name}");
        }
        let said = ["github", "heygen", "standard-webhooks", "stripe"]
            .map(|name| find(name).and_then(|preset| preset.dedupe));
        let id = || Some(vec![DedupeBy::Id]);
        assert_eq!(said, [id(), Some(vec![DedupeBy::Id, DedupeBy::Body]), id(), id()]);
    }
}
