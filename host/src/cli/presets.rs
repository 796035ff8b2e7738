//! `hookbox sources presets`: the providers that the program knows, and what each preset checks.
//! It needs neither a host nor a configuration.

use serde_json::{Value, json};

use super::failure::Failure;
use super::output::{Printout, print_json};
use crate::config::presets;
use crate::config::source::{Part, Pick, SourceTemplate};
use crate::names::closest;

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
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
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
    for field in ["page", "register", "scheme", "keys", "signature", "encoding", "signed"] {
        out.field(field, &preset[field]);
    }
    for field in ["time", "tolerance_s", "split", "type", "id", "subject", "dedupe"] {
        out.field(field, &preset[field]);
    }
    for field in ["answer", "refuse_status", "methods", "samples"] {
        out.field(field, &preset[field]);
    }
    out.line(format!("[sources.{name}]"));
    out.line(format!("preset = \"{name}\""));
    if preset["keys"] == "secret" {
        let variable = name.to_ascii_uppercase().replace('-', "_");
        out.line(format!("secrets = [{{ env = \"{variable}_WEBHOOK_SECRET\" }}]"));
    } else {
        out.line("verify = { public_keys = [\"…\"] }");
    }
    out.print()
}

/// A preset as JSON.
fn described(name: &str) -> Option<Value> {
    let (template, about) = (presets::find(name)?, presets::about(name)?);
    let pick = |pick: &Option<Pick>| pick.as_ref().map(ToString::to_string);
    let samples = presets::samples(name).iter().map(|(kind, _)| kind.as_str());
    Some(json!({
        "name": name,
        "provider": about.name,
        "page": about.page,
        "register": about.register,
        "confirmed": about.confirmed,
        "scheme": template.scheme.name(),
        "keys": if template.has_secrets() { "secret" } else { "public key" },
        "signature": places(&template),
        "encoding": template.encoding.name(),
        "signed": template.signed.iter().map(Part::to_string).collect::<String>(),
        "time": template.timestamp.as_ref().map(|rule| rule.field.place.to_string()),
        "tolerance_s": template.timestamp.as_ref().map(|rule| rule.tolerance_ms / 1_000),
        "split": template.split.as_deref().map(|list| match list {
            "" => "the whole body",
            list => list,
        }),
        "type": pick(&template.kind),
        "id": pick(&template.id),
        "subject": pick(&template.subject),
        "dedupe": template.dedupe(true).to_string(),
        "answer": template.replies.accepted.as_ref().map(ToString::to_string),
        "refuse_status": template.replies.refuse_status,
        "methods": template.replies.methods().join(", "),
        "samples": samples.collect::<Vec<_>>().join(", "),
    }))
}

/// Where signatures stand, as `Header: prefix…`.
fn places(template: &SourceTemplate) -> String {
    let fields = template.signatures.iter();
    fields.map(|field| format!("{}: {}…", field.place, field.prefix)).collect::<Vec<_>>().join(", ")
}
