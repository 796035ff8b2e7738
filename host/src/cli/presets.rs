//! `hookbox sources presets`: the providers that the program knows, and what each preset checks.
//! It needs neither a host nor a configuration.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json};
use crate::config::presets::{self, AboutProvider};
use crate::config::source::{
    DedupeBy, HandshakeRule, Part, Pick, Signature, SourceTemplate, ValueCondition,
};
use crate::names::{closest, did_you_mean};

/// The text for a rule that others have reported.
const NOT_CONFIRMED: &str = "not confirmed with the provider";

/// Lists all presets, or shows the one of this name.
pub(super) fn run(name: Option<&str>, as_json: bool) -> Result<(), Failure> {
    match name {
        Some(name) => show(name, as_json),
        None => list(as_json),
    }
}

fn list(as_json: bool) -> Result<(), Failure> {
    let all: Vec<Value> = presets::NAMES.into_iter().filter_map(described).collect();
    if as_json {
        return print_json(&json!({ "items": all }));
    }
    let mut out = Printout::new();
    let head = ["NAME", "PROVIDER", "SCHEME", "PAGE", "NOTE"].map(str::to_owned).to_vec();
    let row = |preset: &Value| {
        let cell = |name: &str| preset[name].as_str().unwrap_or_default().to_owned();
        let note = if preset["confirmed"] == true { "" } else { NOT_CONFIRMED };
        vec![cell("name"), cell("provider"), cell("scheme"), cell("page"), note.to_owned()]
    };
    out.table(&std::iter::once(head).chain(all.iter().map(row)).collect::<Vec<_>>());
    out.print()
}

fn show(name: &str, as_json: bool) -> Result<(), Failure> {
    let Some(preset) = described(name) else {
        let near = closest(name, presets::NAMES);
        let near = near.map(|near| did_you_mean(near) + " ").unwrap_or_default();
        let text =
            format!("there is no preset `{name}`: {near}`hookbox sources presets` lists all");
        return Err(Failure::usage(text));
    };
    if as_json {
        return print_json(&preset);
    }
    let mut out = Printout::new();
    let provider = preset["provider"].as_str().unwrap_or_default();
    let note = if preset["confirmed"] == true { "" } else { NOT_CONFIRMED };
    out.line(format!("{name}  {provider}  {note}").trim_end());
    for field in ["page", "register", "everybody", "keys"] {
        out.field(field, &preset[field]);
    }
    let rules = elements(&preset["rules"]);
    for (index, rule) in rules.iter().enumerate() {
        if rules.len() > 1 {
            out.line(format!("rule {} of {}", index + 1, rules.len()));
        }
        for field in ["when", "scheme", "signature", "encoding", "signed", "time", "tolerance_s"] {
            out.field(field, &rule[field]);
        }
    }
    if rules.len() > 1 {
        out.line("all rules");
    }
    for field in ["split", "type", "id", "subject", "dedupe", "bodies"] {
        out.field(field, &preset[field]);
    }
    for field in ["handshakes", "answer", "refuse_status", "methods", "samples"] {
        out.field(field, &preset[field]);
    }
    section(name, &preset).iter().for_each(|line| out.line(line));
    out.print()
}

/// The section that an operator writes.
fn section(name: &str, preset: &Value) -> Vec<String> {
    let mut lines = vec![format!("[sources.{name}]"), format!("preset = \"{name}\"")];
    if preset["takes_secret"] == true {
        lines.push(format!("# `hookbox sources {name} take-secret` takes the secret"));
    } else if preset["keys"] == "secret" {
        let variable = name.to_ascii_uppercase().replace('-', "_");
        lines.push(format!("secrets = [{{ env = \"{variable}_WEBHOOK_SECRET\" }}]"));
    } else if preset["key_url"] != true {
        lines.push("verify = { public_keys = [\"…\"] }".to_owned());
    }
    let params = elements(&preset["params"]).iter().filter_map(Value::as_str);
    let params: Vec<_> = params.map(|param| format!("{param} = \"…\"")).collect();
    if !params.is_empty() {
        lines.push(format!("params = {{ {} }}", params.join(", ")));
    }
    if preset["needs_url"] == true {
        lines.push("public_url = \"https://hooks.example.com\"".to_owned());
    }
    lines
}

/// A preset as JSON.
fn described(name: &str) -> Option<Value> {
    let (template, about) = (presets::find(name)?, presets::about(name)?);
    let rule = &template.signature;
    let pick = |pick: &Option<Pick>| pick.as_ref().map(ToString::to_string);
    let samples = presets::samples(name).iter().map(|(kind, _)| kind.as_str());
    Some(json!({
        "name": name,
        "provider": about.name,
        "page": about.page,
        "register": about.register,
        "everybody": about.everybody,
        "confirmed": about.confirmed,
        "rules": rule.all().map(described_rule).collect::<Vec<_>>(),
        "params": params(&template),
        "takes_secret": template.handshakes.iter().any(|rule| rule.offers.is_some()),
        "key_url": rule.all().any(|rule| rule.key_address.is_some()),
        "needs_url": rule.needs_url(),
        "handshakes": handshakes(&template),
        "scheme": rule.scheme.name(),
        "keys": if rule.has_secrets() { "secret" } else { "public key" },
        "signature": places(rule),
        "encoding": rule.encoding.name(),
        "signed": rule.signed.iter().map(Part::to_string).collect::<String>(),
        "time": rule.timestamp.as_ref().map(|time| time.field.place.to_string()),
        "tolerance_s": rule.timestamp.as_ref().map(|time| time.tolerance_ms / 1_000),
        "split": template.split.as_deref().map(|list| match list {
            "" => "the whole body",
            list => list,
        }),
        "type": pick(&template.kind),
        "id": pick(&template.id),
        "subject": pick(&template.subject),
        "dedupe": template.dedupe(true).to_string(),
        "bodies": bodies(&template, about),
        "answer": template.replies.accepted.as_ref().map(ToString::to_string),
        "refuse_status": template.replies.refuse_status,
        "methods": template.replies.methods().join(", "),
        "samples": samples.collect::<Vec<_>>().join(", "),
    }))
}

/// How bodies differ, where type and body are a key.
fn bodies(template: &SourceTemplate, about: &AboutProvider) -> Option<String> {
    let dedupe = template.dedupe(true);
    let repeat = "two events with equal bodies are one; take another `dedupe` if that may be";
    match &about.differs {
        Some(part) if dedupe.keys.contains(&DedupeBy::Body) => Some(format!("differ by {part}")),
        None if dedupe.is_body_for_want_of_better() => Some(repeat.to_owned()),
        _ => None,
    }
}

/// Where signatures stand, as `Header: prefix…`.
fn places(rule: &Signature) -> String {
    const SHOWN: usize = 8;
    let fields = rule.signatures.iter().take(SHOWN);
    let mut texts: Vec<_> =
        fields.map(|field| format!("{}: {}…", field.place, field.prefix)).collect();
    if let Some(last) = rule.signatures.get(SHOWN..).and_then(<[_]>::last) {
        texts.push(format!("and so on to {}", last.place));
    }
    texts.join(", ")
}

fn described_rule(rule: &Signature) -> Value {
    json!({
        "when": all_of(&rule.when),
        "scheme": rule.scheme.name(),
        "signature": places(rule),
        "encoding": rule.encoding.name(),
        "signed": rule.signed.iter().map(Part::to_string).collect::<String>(),
        "time": rule.timestamp.as_ref().map(|rule| rule.field.place.to_string()),
        "tolerance_s": rule.timestamp.as_ref().map(|rule| rule.tolerance_ms / 1_000),
    })
}

/// Conditions that all hold, in words.
fn all_of(conditions: &[ValueCondition]) -> Option<String> {
    let all: Vec<_> = conditions.iter().map(ToString::to_string).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

/// The parameters that it needs.
fn params(template: &SourceTemplate) -> BTreeSet<String> {
    let signed = template.signature.needed_params().into_iter().map(str::to_owned);
    signed.chain(template.handshakes.iter().flat_map(|rule| rule.params())).collect()
}

/// The handshakes, each by its method and the condition that it goes by.
fn handshakes(template: &SourceTemplate) -> Option<String> {
    let one = |rule: &HandshakeRule| {
        let when = rule.when.iter().map(ToString::to_string);
        let empty = rule.empty.as_ref().map(|pointer| format!("{{json:{pointer}}} is empty"));
        let when = when.chain(empty).collect::<Vec<_>>().join(" and ");
        let verified = if rule.verified { ", signed" } else { "" };
        format!("{} if {when}{verified}", rule.method.name())
    };
    let all: Vec<_> = template.handshakes.iter().map(one).collect();
    (!all.is_empty()).then(|| all.join("; "))
}
