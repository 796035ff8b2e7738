//! The workflows that are measured, and what becomes of a webhook in each.

use std::path::{Path, PathBuf};

use crate::receivers::plugin;
use crate::requests::{HANDLED, Subjects};
use crate::rows::PLUGIN;
use hookbox_tools::{Result, root};

/// The plugins of a chain, the last of which returns nothing.
const CHAIN: [&str; 5] = ["link-1", "link-2", "link-3", "link-4", PLUGIN];

/// Members of a join, and of a batch.
const JOIN: usize = 3;
const BATCH: usize = 100;

/// Files of plugins, each with the name that it gets.
pub(super) type PluginFiles = Vec<(String, PathBuf)>;

/// A host's configuration, its load, and what has to come of it.
pub(super) struct Workflow {
    pub(super) name: &'static str,
    /// The deliveries and events that a webhook makes, in words.
    pub(super) counted: &'static str,
    /// Webhooks for each second that is asked for.
    pub(super) per_second: usize,
    pub(super) subjects: Subjects,
    pub(super) plugins: fn(&Path) -> Result<PluginFiles>,
    pub(super) config: String,
    /// Each plugin, and of how many webhooks it settles one delivery.
    pub(super) settles: Vec<(&'static str, usize)>,
    /// Of how many webhooks one more event is emitted, for each that is.
    emits: Vec<usize>,
}

impl Workflow {
    /// The events of so many webhooks.
    pub(super) fn stored(&self, count: usize) -> u64 {
        (count + self.emits.iter().map(|of| count / of).sum::<usize>()) as u64
    }
}

/// The plain road, and all others.
pub(super) fn all() -> (Workflow, Vec<Workflow>) {
    let others = vec![
        keyed("one key, strict order", 500, 1),
        keyed("10,000 keys", 10_000, 10_000),
        gathered("join of 3", "joins", JOIN, &format!("need = {JOIN}")),
        gathered("batch of 100", "batches", BATCH, &format!("size = {BATCH}")),
        chain(),
    ];
    (plain(), others)
}

fn plain() -> Workflow {
    Workflow {
        name: "plain road",
        counted: "1 delivery",
        per_second: 10_000,
        subjects: Subjects::Own,
        plugins: audit,
        config: route(HANDLED),
        settles: vec![(PLUGIN, 1)],
        emits: Vec::new(),
    }
}

/// Deliveries that are ordered by their subjects, of which there are so many.
fn keyed(name: &'static str, per_second: usize, keys: usize) -> Workflow {
    let order = format!("[plugins.{PLUGIN}]\nkey = \"subject\"\nmax_waiting_per_key = 1_000_000\n");
    Workflow {
        name,
        counted: "1 delivery with a key",
        per_second,
        subjects: Subjects::Among(keys),
        config: route(HANDLED) + &order,
        ..plain()
    }
}

/// A join or batch, which is full with so many webhooks of one subject.
fn gathered(name: &'static str, section: &str, size: usize, full: &str) -> Workflow {
    let config = format!(
        "{}[{section}.gathered]\non = \"{HANDLED}\"\nkey = \"subject\"\n{full}\nwithin = \"1h\"\n\
         emit = \"bench.gathered\"\n",
        route("bench.gathered")
    );
    let (builtin, counted) = if section == "joins" {
        ("joins/gathered", "1/3 of a join and of the delivery of its event")
    } else {
        ("batches/gathered", "1/100 of a batch and of the delivery of its event")
    };
    Workflow {
        name,
        counted,
        per_second: 30 * size * (300 / size),
        subjects: Subjects::Groups(size),
        config,
        settles: vec![(builtin, size), (PLUGIN, size)],
        emits: vec![size],
        ..plain()
    }
}

/// Five plugins, of which each takes the event of the one before it.
fn chain() -> Workflow {
    let lines = CHAIN.iter().enumerate().map(|(at, plugin)| match at {
        0 => format!("\"{HANDLED}\" = \"{plugin}\"\n"),
        _ => format!("\"{}\" = \"{plugin}\"\n", link_type(at)),
    });
    Workflow {
        name: "chain of 5",
        counted: "5 deliveries of 5 events",
        per_second: 3_000,
        plugins: links,
        config: format!("[routes]\n{}", lines.collect::<String>()),
        settles: CHAIN.iter().map(|plugin| (*plugin, 1)).collect(),
        emits: vec![1; CHAIN.len() - 1],
        ..plain()
    }
}

/// The type that the link of this number emits, as long as that of the guest it is made from.
fn link_type(number: usize) -> String {
    format!("chain.link.{number}")
}

fn route(kind: &str) -> String {
    format!("[routes]\n\"{kind}\" = \"{PLUGIN}\"\n")
}

fn audit(_folder: &Path) -> Result<PluginFiles> {
    Ok(vec![(format!("{PLUGIN}.wasm"), plugin("audit.wasm"))])
}

/// The plugins of a chain: a guest of the tests that returns one event, once for each type.
fn links(folder: &Path) -> Result<PluginFiles> {
    let guest = root().join("host/tests/guests/emit.wat");
    let text =
        std::fs::read_to_string(&guest).map_err(|error| format!("{}: {error}", guest.display()))?;
    let mut plugins = audit(folder)?;
    for (at, name) in CHAIN[..CHAIN.len() - 1].iter().enumerate() {
        let file = folder.join(format!("{name}.wat"));
        std::fs::write(&file, link(&text, &link_type(at + 1))?)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        plugins.push((format!("{name}.wat"), file));
    }
    Ok(plugins)
}

/// The same guest with another type, and without delay.
fn link(text: &str, kind: &str) -> Result<String> {
    const KIND: &str = "guest.echoed";
    const DELAY: &str = "(i32.store (i32.const 104) (i32.const 1))";
    if !text.contains(KIND) || !text.contains(DELAY) || kind.len() != KIND.len() {
        return Err(format!("no guest for `{kind}` can be made of emit.wat: it has changed"));
    }
    Ok(text.replace(KIND, kind).replace(DELAY, "(i32.store (i32.const 104) (i32.const 0))"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_of_a_chain_are_made_of_the_guest_of_the_tests() {
        let text = std::fs::read_to_string(root().join("host/tests/guests/emit.wat")).unwrap();
        let link = link(&text, &link_type(4)).unwrap();
        assert!(link.contains("\"chain.link.4\" \"application/json\""));
        assert!(!link.contains("guest.echoed"));
        assert!(super::link(&text, "chain.link.10").is_err());
        assert!(super::link("(component)", &link_type(1)).is_err());
    }

    #[test]
    fn the_events_of_a_workflow_are_its_webhooks_and_what_they_make() {
        let (plain, others) = all();
        assert_eq!(plain.stored(300), 300);
        let stored: Vec<u64> = others.iter().map(|workflow| workflow.stored(300)).collect();
        assert_eq!(stored, [300, 300, 400, 303, 1500]);
    }
}
