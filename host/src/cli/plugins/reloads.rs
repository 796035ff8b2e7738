//! `hookbox plugins reloads` and `diff`: what became of the files of a plugin, and what a new one
//! asks for.

use serde_json::{Value, json};

use super::{PLUGINS, SHORT_DIGEST, command};
use crate::cli::client::{AdminClient, encoded};
use crate::cli::failure::Failure;
use crate::cli::listing::elements;
use crate::cli::output::{Printout, bytes, print_json, text};

/// The columns of the reloads.
const COLUMNS: [&str; 7] = ["TIME", "FROM", "TO", "RESULT", "FAILED BEFORE", "AFTER", "DETAIL"];

/// Prints the reloads of a plugin, newest first.
pub(super) fn reloads(client: &AdminClient, name: &str, as_json: bool) -> Result<(), Failure> {
    let answer = client.get(&format!("{PLUGINS}/{}/reloads", encoded(name)), &[])?;
    if as_json {
        return print_json(&answer);
    }
    let items = elements(&answer["items"]);
    let mut out = Printout::new();
    if items.is_empty() {
        out.line(format!("no file of {name} was loaded since the host started"));
    } else {
        let rows = items.iter().map(|reload| {
            let detail = text(&reload["detail"]).lines().next().unwrap_or_default().to_owned();
            vec![
                text(&reload["at"]),
                short(&reload["from"]),
                short(&reload["to"]),
                text(&reload["result"]),
                percent(&reload["failed_before"]),
                percent(&reload["failed_after"]),
                detail,
            ]
        });
        let head = COLUMNS.map(str::to_owned).to_vec();
        out.table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    }
    out.print()
}

/// Prints the file that runs beside the one that waits to be approved.
pub(super) fn diff(client: &AdminClient, name: &str, as_json: bool) -> Result<(), Failure> {
    let plugin = client.get(&format!("{PLUGINS}/{}", encoded(name)), &[])?;
    let held = &plugin["held"];
    let imports = |file: &Value| elements(&file["imports"]).to_vec();
    let (runs, waits) = (imports(&plugin), imports(held));
    let without = |these: &[Value], those: &[Value]| -> Vec<Value> {
        these.iter().filter(|it| !those.contains(it)).cloned().collect()
    };
    let (added, removed) = match held.is_null() {
        true => (Vec::new(), Vec::new()),
        false => (without(&waits, &runs), without(&runs, &waits)),
    };
    if as_json {
        let file = |file: &Value| {
            let of = |member: &str| file[member].clone();
            json!({
                "digest": of("digest"), "size": of("size"), "capabilities": of("capabilities"),
                "imports": of("imports"),
            })
        };
        return print_json(&json!({
            "name": plugin["name"],
            "runs": (!plugin["digest"].is_null()).then(|| file(&plugin)),
            "waits": (!held.is_null()).then(|| file(held)),
            "imports_added": added,
            "imports_removed": removed,
            "grants": plugin["grants"],
            "granted_by": held["granted_by"],
        }));
    }
    let mut out = Printout::new();
    if held.is_null() {
        out.line(format!(
            "no file of {} waits to be approved: it is {}",
            text(&plugin["name"]),
            text(&plugin["state"])
        ));
        return out.print();
    }
    let pair = |what: &str, of: fn(&Value) -> String| vec![what.to_owned(), of(&plugin), of(held)];
    let rows = [
        vec![String::new(), "RUNS".to_owned(), "WAITS".to_owned()],
        pair("digest", |file| short(&file["digest"])),
        pair("size", |file| file["size"].as_u64().map(bytes).unwrap_or_default()),
        pair("capabilities", |file| words(&file["capabilities"])),
        vec!["since".to_owned(), text(&plugin["loaded_at"]), text(&held["since"])],
    ];
    out.table(&rows);
    let lines = [("+", &added), ("-", &removed)];
    for (sign, imports) in lines {
        imports.iter().for_each(|import| out.line(format!("{sign} {}", text(import))));
    }
    grants(&mut out, &plugin);
    out.line(format!("let it in: {}", command(&plugin)));
    out.print()
}

/// Adds what is granted, and what would grant the new capabilities.
fn grants(out: &mut Printout, plugin: &Value) {
    let grants = words(&plugin["grants"]);
    out.line(format!("granted: {}", if grants.is_empty() { "nothing" } else { &grants }));
    for grant in elements(&plugin["held"]["granted_by"]) {
        let (capability, section) = (text(&grant["capability"]), text(&grant["section"]));
        out.line(format!("to grant {capability}: {} in {section}", text(&grant["line"])));
    }
}

fn words(values: &Value) -> String {
    elements(values).iter().map(text).collect::<Vec<_>>().join(", ")
}

fn short(digest: &Value) -> String {
    let digest: String = text(digest).chars().take(SHORT_DIGEST).collect();
    if digest.is_empty() { "-".to_owned() } else { digest }
}

/// A share as people read it.
fn percent(share: &Value) -> String {
    share.as_f64().map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}
