//! What is known of providers, as data: each preset is a [`Template`] that a section of the file could spell out too, but
//! for the placeholders that some send in place of an id.
//!
//! A header's name that a provider changes is a change of this file alone.

use super::source::{
    DedupeBy, Encoding, Field, KeyEncoding, KeyFormat, Part, Pick, Placeholder, Stale, Template, Timestamp, Types,
};
use super::units::MINUTE_MS;

/// Every preset's name.
pub const NAMES: [&str; 4] = ["github", "heygen", "standard-webhooks", "stripe"];

/// How far a timestamp may be from now, if a provider or a section does not say otherwise, in milliseconds.
pub const DEFAULT_TOLERANCE_MS: u64 = 5 * MINUTE_MS;

/// The preset of this name.
pub fn find(name: &str) -> Option<Template> {
    match name {
        "github" => Some(github()),
        "heygen" => Some(heygen()),
        "standard-webhooks" => Some(standard_webhooks()),
        "stripe" => Some(stripe()),
        _ => None,
    }
}

/// The largest body that a provider sends, in bytes, where that is more than `server.max_body` usually allows.
pub fn max_body_bytes(name: &str) -> Option<usize> {
    // GitHub's documentation, "Webhook events and payloads": payloads are capped at 25 MB.
    (name == "github").then_some(25 << 20)
}

/// GitHub's documentation, "Validating webhook deliveries": `X-Hub-Signature-256: sha256=HEX` over the raw body. The
/// delivery's id is not covered, but it alone tells two deliveries apart: those of `workflow_dispatch` can have equal bodies.
fn github() -> Template {
    Template {
        signatures: vec![field("x-hub-signature-256", "sha256=", None)],
        encoding: Encoding::Hex,
        signed: vec![Part::Body],
        timestamp: None,
        key: plain_key(),
        kind: Some(header("x-github-event")),
        id: Some(header("x-github-delivery")),
        dedupe: Some(vec![DedupeBy::Id]),
        placeholder: None,
        subject: None,
        // Its default content type is a form; its types are names without an action.
        form: Some("payload".to_owned()),
        types: Types::Words {
            known: &GITHUB_EVENTS,
            more: "`type = \"{header:X-GitHub-Event}.{json:/action}\"` adds the action, where there is one",
        },
    }
}

/// The names of GitHub's events, from its documentation "Webhook events and payloads". They only help to see what a
/// pattern is meant for.
const GITHUB_EVENTS: [&str; 73] = [
    "branch_protection_configuration",
    "branch_protection_rule",
    "check_run",
    "check_suite",
    "code_scanning_alert",
    "commit_comment",
    "create",
    "custom_property",
    "custom_property_values",
    "delete",
    "dependabot_alert",
    "deploy_key",
    "deployment",
    "deployment_protection_rule",
    "deployment_review",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "github_app_authorization",
    "gollum",
    "installation",
    "installation_repositories",
    "installation_target",
    "issue_comment",
    "issues",
    "label",
    "marketplace_purchase",
    "member",
    "membership",
    "merge_group",
    "meta",
    "milestone",
    "org_block",
    "organization",
    "package",
    "page_build",
    "personal_access_token_request",
    "ping",
    "project",
    "project_card",
    "project_column",
    "projects_v2",
    "projects_v2_item",
    "projects_v2_status_update",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_review_thread",
    "push",
    "registry_package",
    "release",
    "repository",
    "repository_advisory",
    "repository_dispatch",
    "repository_import",
    "repository_ruleset",
    "repository_vulnerability_alert",
    "secret_scanning_alert",
    "secret_scanning_alert_location",
    "security_advisory",
    "security_and_analysis",
    "sponsorship",
    "star",
    "status",
    "sub_issues",
    "team",
    "team_add",
    "watch",
    "workflow_dispatch",
    "workflow_job",
    "workflow_run",
];

/// HeyGen's webhook endpoints: hex over the raw body, keyed with the secret as it is shown, `whsec_` included. The
/// header had other names before; the timestamp and the id came later and are not covered. Its retries go on for a
/// day and may carry the first time of sending, so that a stale one is accepted and noted. Equal bodies mean the same event:
/// as a second key they keep a captured request from being sent again under a new id.
fn heygen() -> Template {
    Template {
        signatures: ["heygen-signature", "signature", "x-heygen-signature"].map(|name| field(name, "", None)).to_vec(),
        encoding: Encoding::Hex,
        signed: vec![Part::Body],
        timestamp: Some(Timestamp {
            field: field("heygen-timestamp", "", None),
            required: false,
            tolerance_ms: DEFAULT_TOLERANCE_MS,
            stale: Stale::Accept,
        }),
        key: plain_key(),
        kind: Some(json("/event_type")),
        id: Some(header("heygen-event-id")),
        dedupe: Some(vec![DedupeBy::Id, DedupeBy::Body]),
        placeholder: None,
        subject: Some(json("/event_data/callback_id")),
        form: None,
        types: Types::Any,
    }
}

/// The Standard Webhooks specification, §"Signature scheme": `v1,BASE64` items between spaces over id, timestamp and
/// body; the key is base64 after `whsec_`.
fn standard_webhooks() -> Template {
    Template {
        signatures: vec![field("webhook-signature", "v1,", Some(' '))],
        encoding: Encoding::Base64,
        signed: vec![Part::Id, dot(), Part::Timestamp, dot(), Part::Body],
        timestamp: Some(signed_timestamp(field("webhook-timestamp", "", None))),
        key: KeyFormat { prefix: "whsec_".to_owned(), encoding: KeyEncoding::Base64 },
        kind: Some(json("/type")),
        id: Some(header("webhook-id")),
        dedupe: Some(vec![DedupeBy::Id]),
        placeholder: None,
        subject: None,
        form: None,
        types: Types::Any,
    }
}

/// Stripe's documentation, "Verify webhook signatures manually": `t=SECONDS,v1=HEX,…` over timestamp and body. Samples
/// that it shows and sends in test mode all have the id `evt_00000000000000`.
fn stripe() -> Template {
    Template {
        signatures: vec![field("stripe-signature", "v1=", Some(','))],
        encoding: Encoding::Hex,
        signed: vec![Part::Timestamp, dot(), Part::Body],
        timestamp: Some(signed_timestamp(field("stripe-signature", "t=", Some(',')))),
        key: plain_key(),
        kind: Some(json("/type")),
        id: Some(json("/id")),
        dedupe: Some(vec![DedupeBy::Id]),
        placeholder: Some(Placeholder {
            prefix: "evt_".to_owned(),
            pointer: "/livemode".to_owned(),
            value: "false".to_owned(),
        }),
        subject: None,
        form: None,
        types: Types::Any,
    }
}

fn field(header: &str, prefix: &str, separator: Option<char>) -> Field {
    Field { header: header.to_owned(), prefix: prefix.to_owned(), separator }
}

fn signed_timestamp(field: Field) -> Timestamp {
    Timestamp { field, required: true, tolerance_ms: DEFAULT_TOLERANCE_MS, stale: Stale::Reject }
}

fn header(name: &str) -> Pick {
    Pick::Header(name.to_owned())
}

fn json(pointer: &str) -> Pick {
    Pick::Json(pointer.to_owned())
}

fn dot() -> Part {
    Part::Literal(".".to_owned())
}

fn plain_key() -> KeyFormat {
    KeyFormat { prefix: String::new(), encoding: KeyEncoding::Utf8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_preset_exists() {
        for name in NAMES {
            assert!(find(name).is_some_and(|preset| preset.kind.is_some()), "{name}");
        }
        assert_eq!(find("paypal"), None);
    }

    #[test]
    fn every_preset_says_what_makes_a_duplicate() {
        let said = NAMES.map(|name| find(name).and_then(|preset| preset.dedupe));
        let id = || Some(vec![DedupeBy::Id]);
        assert_eq!(said, [id(), Some(vec![DedupeBy::Id, DedupeBy::Body]), id(), id()]);
    }
}
