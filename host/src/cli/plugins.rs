//! `hookbox plugins`: plugins of a running host, listed, shown and approved.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::settings::{compiled, settings};
use super::Common;
use super::client::{AdminClient, HostArg, encoded};
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, printable, text};
use crate::event::State;

mod hours;
mod lately;
pub(super) mod pause;
mod reloads;
mod settings;
mod trial;

/// Where the API has plugins.
const PLUGINS: &str = "/api/v1/plugins";

/// Digits of a digest that a listing shows.
const SHORT_DIGEST: usize = 12;

/// The use of capabilities, and where the API says it.
const USED: [(&str, &str); 9] = [
    ("http answered", "/used/http/answered"),
    ("http refused", "/used/http/refused"),
    ("last refused", "/used/http/last_refused/url"),
    ("refused because", "/used/http/last_refused/error"),
    ("http unanswered", "/used/http/unanswered"),
    ("last unanswered", "/used/http/last_unanswered/url"),
    ("unanswered because", "/used/http/last_unanswered/error"),
    ("kv reads", "/used/kv/reads"),
    ("kv writes", "/used/kv/writes"),
];

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
One is shown with its settings, its attempts in each of the last 24 hours by outcome, and its section of the configuration. \
With --json it is what the API says of the plugin alone.

Examples:
  hookbox plugins
  hookbox plugins video-orders --json
  hookbox plugins diff video-orders
  hookbox plugins approve video-orders
  hookbox plugins load video-orders
  hookbox plugins reloads video-orders
  hookbox plugins pause video-orders --reason \"their API is down\""
)]
pub(super) struct Plugins {
    #[command(subcommand)]
    verb: Option<PluginsVerb>,
    /// Show this plugin
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Subcommand)]
enum PluginsVerb {
    /// Let a plugin's new file in that is held because it asks for more
    #[command(after_help = "\
Approves the one file that this command shows, and no other: should another one have taken its place meanwhile, it says \
so.

Examples:
  hookbox plugins approve video-orders")]
    Approve {
        /// The plugin
        #[arg(value_name = "NAME")]
        name: String,
        /// SHA-256 of the file, if you have looked at it before
        #[arg(long, value_name = "SHA256")]
        digest: Option<String>,
    },
    /// Load a plugin's file again, as if it had been touched
    #[command(after_help = "\
For a file that was not taken for a reason that is over: the compiler was killed, or had too little memory. A file that \
runs already goes on.

Examples:
  hookbox plugins load video-orders")]
    Load {
        /// The plugin
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Begin no attempt of a plugin until it is resumed; its events are taken in
    #[command(after_help = "\
Its deliveries stay ready. Attempts that run go on to their end. A pause survives a restart of the host.

Examples:
  hookbox plugins pause video-orders --reason \"their API is down\"")]
    Pause {
        /// The plugin
        #[arg(value_name = "NAME")]
        name: String,
        /// Why: others will read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    Try(trial::TryArgs),
    /// Show what became of a plugin's files since the host started, and how often attempts failed
    #[command(after_help = "\
FAILED BEFORE is the share of failed attempts of the file that ran until then, AFTER that of the new one.

Examples:
  hookbox plugins reloads video-orders")]
    Reloads {
        /// The plugin
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show what a file asks for that waits to be approved, beside the one that runs
    #[command(after_help = "\
Examples:
  hookbox plugins diff video-orders")]
    Diff {
        /// The plugin
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Let a paused plugin go on
    #[command(after_help = "\
Examples:
  hookbox plugins resume video-orders")]
    Resume {
        /// The plugin
        #[arg(value_name = "NAME")]
        name: String,
    },
}

impl Plugins {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.host.client(common)?;
        match (&self.verb, &self.name) {
            (Some(PluginsVerb::Approve { name, digest }), _) => {
                self.approve(&client, name, digest.as_deref())?
            }
            (Some(PluginsVerb::Load { name }), _) => self.load(&client, name)?,
            (Some(PluginsVerb::Try(asked)), _) => asked.run(&client, self.json)?,
            (Some(PluginsVerb::Reloads { name }), _) => reloads::reloads(&client, name, self.json)?,
            (Some(PluginsVerb::Diff { name }), _) => reloads::diff(&client, name, self.json)?,
            (Some(PluginsVerb::Pause { name, reason }), _) => {
                pause::pause(&client, PLUGINS, name, reason, self.json)?
            }
            (Some(PluginsVerb::Resume { name }), _) => {
                pause::resume(&client, PLUGINS, name, self.json)?
            }
            (None, Some(name)) => self.show(&client, name)?,
            (None, None) => self.list(&client)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, client: &AdminClient) -> Result<(), Failure> {
        let answer = client.get(PLUGINS, &[])?;
        if self.json {
            return print_json(&answer);
        }
        let items = elements(&answer["items"]);
        let mut out = Printout::new();
        if items.is_empty() {
            out.line("no plugin");
        } else {
            let head = [
                "NAME",
                "STATE",
                "CONTRACT",
                "DIGEST",
                "ATTEMPTS/S",
                "SUCCEEDED",
                "DONE",
                "DEAD",
                "OPEN",
                "PROBLEM",
            ]
            .map(str::to_owned)
            .to_vec();
            out.table(&std::iter::once(head).chain(items.iter().map(row)).collect::<Vec<_>>());
        }
        out.print()
    }

    fn show(&self, client: &AdminClient, name: &str) -> Result<(), Failure> {
        let plugin = client.get(&format!("/api/v1/plugins/{}", encoded(name)), &[])?;
        if self.json {
            return print_json(&plugin);
        }
        let mut out = Printout::new();
        let fields = [
            "name",
            "state",
            "contract",
            "instance",
            "log",
            "digest",
            "path",
            "loaded_at",
            "compiling_since",
            "error",
        ];
        for name in fields {
            out.field(name, &plugin[name]);
        }
        out.field("compiled", &json!(compiled(&plugin)));
        out.field("pause", &json!(pause::line(&plugin["paused"])));
        let lists = [
            ("imports", "import"),
            ("grants", "grant"),
            ("routes", "route"),
            ("warnings", "warning"),
        ];
        for (field, name) in lists {
            elements(&plugin[field]).iter().for_each(|item| out.field(name, item));
        }
        for (name, pointer) in USED {
            out.field(name, plugin.pointer(pointer).unwrap_or(&Value::Null));
        }
        lately::fields(&mut out, &plugin["recent"]);
        breaker(&mut out, &plugin["breaker"]);
        for emits in elements(&plugin["emits"]) {
            out.field("emits", &emits["type"]);
        }
        for failure in elements(&plugin["failures"]) {
            let (id, kind) = (text(&failure["id"]), text(&failure["text"]));
            let (dead, waiting) = (text(&failure["dead"]), text(&failure["waiting"]));
            out.field("failure", &json!(format!("{id} {dead} dead, {waiting} waiting: {kind}")));
        }
        held(&mut out, &plugin);
        for state in State::ALL.map(State::name) {
            out.field(state, &plugin["deliveries"][state]);
        }
        settings(&mut out, &plugin);
        hours::hours(&mut out, client, name);
        out.print()
    }

    fn approve(
        &self,
        client: &AdminClient,
        name: &str,
        digest: Option<&str>,
    ) -> Result<(), Failure> {
        let path = format!("/api/v1/plugins/{}", encoded(name));
        let plugin = client.get(&path, &[])?;
        let held = &plugin["held"];
        // The approved file is the one that is shown, also if another file comes meanwhile.
        let digest = digest.or_else(|| held["digest"].as_str());
        let approved = client.post(&format!("{path}/approve"), &[("digest", digest)])?;
        if self.json {
            return print_json(&approved);
        }
        let asks_for = match held["digest"] == approved["digest"] {
            true => format!(", which asks for {}", words(&held["capabilities_added"])),
            false => String::new(),
        };
        let mut out = Printout::new();
        out.line(format!(
            "{} may run {}{asks_for}",
            text(&approved["name"]),
            text(&approved["digest"])
        ));
        out.print()
    }
}

impl Plugins {
    fn load(&self, client: &AdminClient, name: &str) -> Result<(), Failure> {
        let answer = client.post(&format!("{PLUGINS}/{}/load", encoded(name)), &[])?;
        if self.json {
            return print_json(&answer);
        }
        let mut out = Printout::new();
        let name = text(&answer["name"]);
        out.line(format!(
            "the file of {name} is read again: `hookbox plugins {name}` says what came of it"
        ));
        out.print()
    }
}

/// Adds a circuit breaker: its state, and more when attempts fail.
fn breaker(out: &mut Printout, breaker: &Value) {
    out.field("breaker", &breaker["state"]);
    if breaker["failures_in_a_row"] == 0 {
        return;
    }
    let fields = [
        ("open since", "since"),
        ("next attempt", "next_attempt_at"),
        ("failed in a row", "failures_in_a_row"),
        ("last error", "last_error"),
    ];
    for (name, member) in fields {
        out.field(name, &breaker[member]);
    }
}

/// Adds the file that waits, if there is one.
fn held(out: &mut Printout, plugin: &Value) {
    let held = &plugin["held"];
    if held.is_null() {
        return;
    }
    out.field("held", &held["digest"]);
    out.field("held since", &held["since"]);
    elements(&held["capabilities_added"]).iter().for_each(|item| out.field("asks for", item));
    elements(&held["imports_added"]).iter().for_each(|item| out.field("new import", item));
    out.field("let it in", &json!(command(plugin)));
}

/// The command that approves the file that waits.
fn command(plugin: &Value) -> String {
    format!(
        "hookbox plugins approve {} --digest {}",
        text(&plugin["name"]),
        text(&plugin["held"]["digest"])
    )
}

fn words(values: &Value) -> String {
    elements(values).iter().map(text).collect::<Vec<_>>().join(", ")
}

fn row(plugin: &Value) -> Vec<String> {
    let count = |state: &str| plugin["deliveries"][state].as_u64().unwrap_or(0);
    let digest = text(&plugin["digest"]).chars().take(SHORT_DIGEST).collect();
    let open = count("ready") + count("leased") + count("waiting");
    let mut cells =
        vec![text(&plugin["name"]), text(&plugin["state"]), text(&plugin["contract"]), digest];
    let recent = lately::lately(&plugin["recent"]);
    cells.extend([recent.per_second, recent.succeeded]);
    cells.extend([count("done"), count("dead"), open].map(|count| count.to_string()));
    let (held, breaker) = (&plugin["held"], &plugin["breaker"]);
    cells.push(if let Some(paused) = pause::line(&plugin["paused"]) {
        paused
    } else if !held.is_null() {
        format!(
            "asks for {}: hookbox plugins approve {}",
            words(&held["capabilities_added"]),
            cells[0]
        )
    } else if let (true, Some(since)) =
        (plugin["state"] != "compiling", plugin["compiling_since"].as_str())
    {
        format!("a newer file is being compiled since {}, this one runs", printable(since))
    } else if breaker["state"] == "open" && plugin["error"].is_null() {
        format!("slowed down, it only fails: {}", text(&breaker["last_error"]))
    } else {
        text(&plugin["error"]).lines().next().unwrap_or_default().to_owned()
    });
    cells
}
