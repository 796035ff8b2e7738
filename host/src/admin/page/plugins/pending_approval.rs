//! A file that waits to be approved, beside the one that runs.

use crate::admin::page::parts::html::{Html, shown};
use crate::admin::page::parts::link::{Link, word};
use crate::admin::page::parts::measure::bytes;
use crate::admin::page::parts::when::when_text;
use crate::admin::plugins::{GrantLineJson, HeldJson, PluginJson};

/// A file that waits.
#[derive(Debug)]
pub(super) struct HeldPart {
    pub(super) digest: String,
    pub(super) since: Html,
    pub(super) runs: Option<String>,
    /// Sizes and capabilities of the file that runs, and of the one that waits.
    pub(super) sizes: [String; 2],
    pub(super) uses: [String; 2],
    pub(super) capabilities: Vec<&'static str>,
    /// The imports of both files: those of the one that runs, and whether the other has them too;
    /// and those of the one that waits, and whether they are new.
    pub(super) imports: [Vec<(String, bool)>; 2],
    /// The configuration's grants.
    pub(super) grants: Vec<String>,
    /// The new capabilities, each with the lines of the configuration that would grant it.
    pub(super) lines: Vec<(&'static str, String)>,
    pub(super) path: String,
    pub(super) command: String,
}

impl HeldPart {
    pub(super) fn of(plugin: &PluginJson, held: &HeldJson, now_ms: i64) -> Self {
        let path = Link::to("/plugins").segment(&plugin.name).segment("approve");
        let digest = &held.digest;
        let runs = |it: &String| (it.clone(), held.imports.contains(it));
        let waits = |it: &String| (it.clone(), held.imports_added.contains(it));
        Self {
            digest: digest.clone(),
            since: when_text(&held.since, now_ms),
            runs: plugin.digest.clone(),
            sizes: [plugin.size.map(bytes).unwrap_or_default(), bytes(held.size)],
            uses: [plugin.capabilities.join(", "), held.capabilities.join(", ")],
            capabilities: held.capabilities_added.clone(),
            imports: [
                plugin.imports.iter().map(runs).collect(),
                held.imports.iter().map(waits).collect(),
            ],
            grants: plugin.grants.clone(),
            lines: lines(held),
            path: path.with("digest", digest).into_text(),
            command: format!("hookbox plugins approve {} --digest {digest}", word(&plugin.name)),
        }
    }
}

fn lines(held: &HeldJson) -> Vec<(&'static str, String)> {
    let of = |it: &GrantLineJson| (it.capability, format!("{}\n{}", it.section, it.line));
    held.granted_by.iter().map(of).collect()
}

/// The same, for the page that asks.
pub(super) fn sentences(held: &HeldJson) -> Vec<Html> {
    let of = |it: &GrantLineJson| {
        let mut html = shown(&format!("Instead of an approval, {} in ", it.line));
        html.raw(shown(&it.section)).text(&format!(" would grant {}.", it.capability));
        html
    };
    held.granted_by.iter().map(of).collect()
}
