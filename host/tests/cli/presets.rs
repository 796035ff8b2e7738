//! `hookbox sources presets`: what a preset checks, and what the operator writes.

use serde_json::json;

use super::site;

#[test]
fn every_rule_of_a_preset_is_shown_with_the_requests_that_it_is_for() {
    let site = site();
    let shown = site.run(&["sources", "presets", "websub", "--json"]).json();
    let rules = shown["rules"].as_array().unwrap();
    let schemes: Vec<_> = rules.iter().map(|rule| &rule["scheme"]).collect();
    assert_eq!(schemes, [&json!("hmac-sha256"), &json!("hmac-sha512"), &json!("hmac-sha1")]);
    assert_eq!(rules[2]["when"], "{header:x-hub-signature} starts with \"sha1=\"");
    assert_eq!(shown["params"], json!(["topic"]));
    let said = site.run(&["sources", "presets", "websub"]).said();
    for text in
        ["rule 1 of 3", "rule 3 of 3", "hmac-sha512", "GET if {query:hub.mode} is \"subscribe\""]
    {
        assert!(said.contains(text), "{text}: {said}");
    }
    assert!(said.contains("not confirmed with the provider"), "{said}");
    let one = site.run(&["sources", "presets", "stripe"]).said();
    assert!(one.contains("hmac-sha256") && !one.contains("rule 1"), "{one}");
}

#[test]
fn a_preset_shows_the_section_that_it_needs() {
    let site = site();
    let said = |name: &str| site.run(&["sources", "presets", name]).said();
    for (name, lines) in [
        ("braintree", ["BRAINTREE_WEBHOOK_SECRET", "params = { public_key = \"…\" }"]),
        ("twilio", ["TWILIO_WEBHOOK_SECRET", "public_url = \"https://hooks.example.com\""]),
        ("notion", ["preset = \"notion\"", "hookbox sources notion take-secret"]),
        ("paypal", ["preset = \"paypal\"", "params = { webhook_id = \"…\" }"]),
        ("discord", ["preset = \"discord\"", "public_keys"]),
    ] {
        let said = said(name);
        assert!(lines.iter().all(|line| said.contains(line)), "{name}: {said}");
    }
    assert!(!said("notion").contains("NOTION_WEBHOOK_SECRET"));
    assert!(!said("aws-sns").contains("public_keys"), "its keys are fetched");
}

#[test]
fn a_preset_that_goes_by_the_body_says_whether_two_events_may_be_one() {
    let site = site();
    let shown = |name: &str| site.run(&["sources", "presets", name, "--json"]).json();
    assert_eq!(shown("airtable")["bodies"], "differ by timestamp");
    assert_eq!(shown("github")["bodies"], json!(null));
    assert_eq!(shown("jira")["bodies"], "differ by timestamp");
    assert_eq!(shown("revenuecat")["bodies"], json!(null), "the id is in the body");
    let said = site.run(&["sources", "presets", "paystack"]).said();
    assert!(said.contains("two events with equal bodies are one"), "{said}");
    let said = site.run(&["sources", "presets", "plaid"]).said();
    assert!(said.contains("everybody") && said.contains("`item_id`"), "{said}");
}
