//! Presets: what is known of providers, as data.
//!
//! A preset is one file, `presets/NAME.toml`. Its keys are those of a section `[sources.NAME]`,
//! read by the same code, and four of its own:
//! - `about = { name, page, register, confirmed, differs, everybody }`: the provider (see
//!   [`AboutProvider`]);
//! - `placeholder = { prefix, json, value }`: ids that name no event (see `Placeholder`);
//! - `types = { known, more }`: the types of its events, for warnings (see `EventTypes`);
//! - `[samples]`: bodies by event type for `hookbox send`, as JSON; `*.fail` and `*` are for types
//!   without one of their own, and `{id}` is a fresh id.
//!
//! To add one: the file, its name in the list below, and its vectors in `tests/vectors.json`. The
//! tests read every file and name the one that is bad.

use std::sync::OnceLock;

pub use super::preset_file::AboutProvider;
use super::preset_file::{Preset, read};
use super::source::SourceTemplate;

macro_rules! presets {
    ($($name:literal),*) => {
        /// Every preset's name.
        pub const NAMES: [&str; [$($name),*].len()] = [$($name),*];
        const FILES: [&str; NAMES.len()] = [$(include_str!(concat!("presets/", $name, ".toml"))),*];
    };
}

presets!(
    "acuity",
    "adyen",
    "airtable",
    "asana",
    "assemblyai",
    "attio",
    "auth0",
    "authorize-net",
    "aws-sns",
    "azure-event-grid",
    "azure-event-grid-cloudevents",
    "bandwidth",
    "beehiiv",
    "bird",
    "bitbucket",
    "bitbucket-data-center",
    "box",
    "braintree",
    "brex",
    "buildkite",
    "cal-com",
    "calendly",
    "chargebee",
    "checkout-com",
    "checkr",
    "circleci",
    "clerk",
    "clicksign",
    "close",
    "cloudevents",
    "cloudflare-notifications",
    "cloudflare-stream",
    "cloudinary",
    "coinbase-cdp",
    "coinbase-commerce",
    "coinify",
    "contentful",
    "crisp",
    "cursor",
    "customer-io",
    "daily",
    "datadog",
    "deepgram",
    "discord",
    "docker-hub",
    "docusign",
    "dropbox",
    "dwolla",
    "easypost",
    "elevenlabs",
    "facebook",
    "fal",
    "fireflies",
    "flutterwave",
    "forgejo",
    "freshdesk",
    "front",
    "fusionauth",
    "gitea",
    "gitea-form",
    "github",
    "gitlab",
    "gitlab-signing-token",
    "gocardless",
    "gogs",
    "google-calendar",
    "google-drive",
    "gorgias",
    "guesty",
    "help-scout",
    "heygen",
    "hubspot",
    "hubspot-v1",
    "hubspot-v2",
    "hugging-face",
    "incident-io",
    "instagram",
    "intercom",
    "jira",
    "juspay",
    "klaviyo",
    "kustomer",
    "lemon-squeezy",
    "line",
    "linear",
    "lithic",
    "livekit",
    "loops",
    "mailchimp",
    "mailgun",
    "make",
    "mandrill",
    "meta",
    "microsoft-graph",
    "microsoft-teams",
    "modern-treasury",
    "mollie",
    "monday",
    "mux",
    "nash",
    "netlify",
    "notion",
    "nylas",
    "okta",
    "openai",
    "paddle",
    "pagerduty",
    "pandadoc",
    "paypal",
    "paystack",
    "pipedrive",
    "plaid",
    "pleo",
    "plivo",
    "postmark",
    "psifi",
    "qstash",
    "ramp",
    "razorpay",
    "recurly",
    "render",
    "replicate",
    "resend",
    "retell",
    "revenuecat",
    "ringcentral",
    "safebase",
    "sanity",
    "sardine",
    "savvycal",
    "segment",
    "sendgrid",
    "sentry",
    "shopify",
    "slack",
    "smartsheet",
    "snyk",
    "square",
    "standard-webhooks",
    "stripe",
    "stytch",
    "supabase",
    "supabase-database",
    "svix",
    "synthesia",
    "tally",
    "telegram",
    "telnyx",
    "terraform-cloud",
    "trello",
    "twilio",
    "twitch",
    "typeform",
    "vapi",
    "vercel",
    "vonage",
    "webex",
    "webflow",
    "websub",
    "whatsapp",
    "whereby",
    "wise",
    "woocommerce",
    "workos",
    "x-twitter",
    "xero",
    "yousign",
    "zapier",
    "zendesk",
    "zoom"
);

/// Each preset is read when it is first used.
static PRESETS: [OnceLock<Preset>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];

/// The facts about the provider of this preset.
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

/// The event types of a preset for which there is a sample of their own, in its order.
pub fn types(name: &str) -> impl Iterator<Item = &'static str> {
    samples(name).iter().map(|(kind, _)| kind.as_str()).filter(|kind| !kind.contains('*'))
}

fn preset(name: &str) -> Option<&'static Preset> {
    let at = NAMES.iter().position(|known| *known == name)?;
    let text = FILES.get(at)?;
    Some(PRESETS.get(at)?.get_or_init(|| read(name, text).expect("a test reads every file")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::source::DedupeBy;
    use crate::config::sources::may_be_repeated;

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
    fn no_captured_request_of_a_preset_is_another_event_once_it_is_written_in_other_bytes() {
        let open: Vec<_> = NAMES
            .into_iter()
            .filter(|name| find(name).is_some_and(|preset| may_be_repeated(&preset)))
            .collect();
        assert_eq!(open, [""; 0]);
        let mailgun =
            SourceTemplate { dedupe: Some(vec![DedupeBy::Id]), ..find("mailgun").unwrap() };
        assert!(may_be_repeated(&mailgun));
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
