//! `hookbox plugins`: what a running host has on its shelf.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::{Client, Target};
use super::deliveries::encoded;
use super::events::list;
use super::failure::Failure;
use super::output::{Page, print_json, text};

/// Digits of a digest that a listing shows.
const SHORT_DIGEST: usize = 12;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hookbox plugins
  hookbox plugins video-orders --json")]
pub(super) struct Plugins {
    /// Show this plugin
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Plugins {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.target.client(common)?;
        match &self.name {
            Some(name) => self.show(&client, name)?,
            None => self.list(&client)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, client: &Client) -> Result<(), Failure> {
        let answer = client.get("/api/v1/plugins", &[])?;
        if self.json {
            return print_json(&answer);
        }
        let items = list(&answer["items"]);
        let mut page = Page::new();
        if items.is_empty() {
            page.line("no plugin");
        } else {
            let head =
                ["NAME", "STATE", "CONTRACT", "DIGEST", "DONE", "DEAD", "OPEN", "PROBLEM"].map(str::to_owned).to_vec();
            page.table(&std::iter::once(head).chain(items.iter().map(row)).collect::<Vec<_>>());
        }
        page.print()
    }

    fn show(&self, client: &Client, name: &str) -> Result<(), Failure> {
        let plugin = client.get(&format!("/api/v1/plugins/{}", encoded(name)), &[])?;
        if self.json {
            return print_json(&plugin);
        }
        let mut page = Page::new();
        for name in ["name", "state", "contract", "instance", "digest", "path", "loaded_at", "error"] {
            page.field(name, &plugin[name]);
        }
        for (field, name) in [("imports", "import"), ("grants", "grant"), ("routes", "route")] {
            list(&plugin[field]).iter().for_each(|item| page.field(name, item));
        }
        for state in ["ready", "leased", "waiting", "done", "dead"] {
            page.field(state, &plugin["deliveries"][state]);
        }
        page.print()
    }
}

fn row(plugin: &Value) -> Vec<String> {
    let count = |state: &str| plugin["deliveries"][state].as_u64().unwrap_or(0);
    let digest = text(&plugin["digest"]).chars().take(SHORT_DIGEST).collect();
    let open = count("ready") + count("leased") + count("waiting");
    let mut cells = vec![text(&plugin["name"]), text(&plugin["state"]), text(&plugin["contract"]), digest];
    cells.extend([count("done"), count("dead"), open].map(|count| count.to_string()));
    cells.push(text(&plugin["error"]).lines().next().unwrap_or_default().to_owned());
    cells
}
