//! `hookbox sources`: what came through each source of a running host, what was refused and why.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use super::Common;
use super::client::{AdminClient, HostArg, encoded};
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, duration_of, print_json, printable, text};
use super::since::seconds;
use super::{presets, take_secret};

#[derive(Debug, Args)]
#[command(after_help = "\
Counts are those since the host started. A refused request is not stored: its reason, the names of its headers and a hint \
stay in the memory of the host.

With `test` the host signs a sample with the first secret of the source and posts it to its own public address. Plugins \
get it like any other event.

With `take-secret` the host keeps the secret of the next handshake, whoever sends it: run it just before you register \
at the provider, and compare the address that it prints. Ctrl-c ends the command, not the wait of the host.

Examples:
  hookbox sources
  hookbox sources heygen                          one, with what was refused
  hookbox sources heygen test                     send it a test event
  hookbox sources heygen test --type avatar_video.fail
  hookbox sources acme test --type order.paid --set order.id=1
  hookbox sources asana take-secret               wait for a handshake
  hookbox sources presets                         the providers that are known
  hookbox sources presets slack                   what a preset checks")]
pub(super) struct SourcesArgs {
    /// Show this source
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// `test` sends it a test event, `take-secret` takes the secret of its next handshake; after
    /// `presets`, the preset to show
    #[arg(value_name = "ACTION", requires = "name")]
    action: Option<String>,
    /// The type of the test event [default: the first one that the source's preset knows]
    #[arg(long = "type", value_name = "TYPE", requires = "action")]
    kind: Option<String>,
    /// Set a member of its JSON body: JSON if it reads as JSON, otherwise a string
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment, requires = "action")]
    set: Vec<(String, Value)>,
    /// How long `take-secret` waits: up to 1h; 0s ends the wait of another command
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, default_value = "10m")]
    wait: u32,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

/// The word in place of a source's name that lists the presets.
const PRESETS: &str = "presets";

/// The action that takes the secret of a handshake.
const TAKE_SECRET: &str = "take-secret";

const ACTIONS: [&str; 2] = ["test", TAKE_SECRET];

/// A path and a value.
fn assignment(text: &str) -> Result<(String, Value), String> {
    let (path, value) = text.split_once('=').ok_or("write PATH=VALUE, for example order.id=1")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((path.to_owned(), value))
}

impl SourcesArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        if self.name.as_deref() == Some(PRESETS) {
            presets::run(self.action.as_deref(), self.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(other) = self.action.as_deref().filter(|action| !ACTIONS.contains(action)) {
            let actions = "write `test` or `take-secret` after the name of the source";
            return Err(Failure::usage(format!("`{other}` is no action: {actions}")));
        }
        let client = self.host.client(common)?;
        match &self.name {
            Some(name) if self.action.as_deref() == Some(TAKE_SECRET) => {
                return take_secret::run(&client, name, self.wait, self.json);
            }
            Some(name) if self.action.is_some() => return self.test(&client, name),
            Some(name) => self.show(&client, name)?,
            None => {
                let answer = client.get("/api/v1/sources", &[])?;
                match self.json {
                    true => print_json(&answer)?,
                    false => list(elements(&answer["items"]))?,
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn show(&self, client: &AdminClient, name: &str) -> Result<(), Failure> {
        let path = format!("/api/v1/sources/{}", encoded(name));
        let mut source = client.get(&path, &[])?;
        if self.json {
            let refusals = client.get(&format!("{path}/refusals"), &[])?;
            source["refusals"] = refusals["items"].clone();
            return print_json(&source);
        }
        let mut out = Printout::new();
        out.line(printable(&headline(&source)));
        if let Some(closed) = source["closed"].as_str() {
            out.line(printable(&format!("every post is refused: {closed}")));
        }
        if let Some(host) = source["confirmation"]["host"].as_str() {
            let line = match source["confirmation"]["error"].as_str() {
                None => format!("a subscription was confirmed at {host}"),
                Some(error) => format!("a subscription could not be confirmed at {host}: {error}"),
            };
            out.line(printable(&line));
        }
        if let Some(until) = source["secret_window"]["until"].as_str() {
            out.line(printable(&format!("the secret of a handshake is taken until {until}")));
        }
        for reason in elements(&source["reasons"]) {
            reason_lines(&mut out, reason);
        }
        for seen in elements(&source["types"]) {
            let route = if seen["routed"] == true { "" } else { "  no route" };
            let (kind, hour, day) = (text(&seen["type"]), &seen["hour"], &seen["day"]);
            let rate = match seen["per_minute"].as_f64() {
                Some(rate) if rate > 0.0 => format!("{rate:.2} a minute, "),
                _ => String::new(),
            };
            out.field("type", &json!(format!("{kind}  {rate}{hour} in 1 h, {day} in 24 h{route}")));
        }
        for secret in elements(&source["secrets"]) {
            let used = match (secret["set"].as_bool(), secret["last_used_at"].as_str()) {
                (Some(false), _) => "not set".to_owned(),
                (_, None) => match source["key_uses_since"].as_str() {
                    Some(since) => format!("not used since {since}"),
                    None => "not used since the host started".to_owned(),
                },
                (_, Some(at)) => format!("last used {at}"),
            };
            out.field("key", &json!(format!("{}: {used}", text(&secret["from"]))));
        }
        out.print()
    }

    fn test(&self, client: &AdminClient, name: &str) -> Result<ExitCode, Failure> {
        let path = format!("/api/v1/sources/{}", encoded(name));
        let kind = match &self.kind {
            Some(kind) => kind.clone(),
            None => {
                let source = client.get(&path, &[])?;
                let first = source["samples"][0].as_str().map(str::to_owned);
                first.ok_or_else(|| {
                    let help = "no type is known for this source: name one with --type";
                    Failure::usage(help.to_owned())
                })?
            }
        };
        let set: Map<String, Value> = self.set.iter().cloned().collect();
        let request = json!({ "type": kind, "set": set }).to_string();
        let body = ("application/json", request.as_bytes());
        let answer = client.post_body(&format!("{path}/test"), body, None)?;
        let status = answer["status"].as_u64().unwrap_or_default();
        let is_stored = (200..300).contains(&status);
        if self.json {
            print_json(&answer)?;
        } else {
            let mut out = Printout::new();
            let word = out.state(if is_stored { "ok" } else { "failed" });
            out.line(format!("{status} in {} ({word})", duration_of(&answer["ms"])));
            match answer["event_id"].as_str() {
                Some(id) => out.line(printable(id)),
                None => out.line(printable(&text(&answer["reply"]))),
            }
            out.print()?;
        }
        Ok(if is_stored { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// `heygen  POST /webhook/heygen  accepted 98211  duplicates 204  refused 212  last event …`.
fn headline(source: &Value) -> String {
    format!(
        "{}  POST {}  accepted {}  duplicates {}  refused {}  last event {}",
        text(&source["name"]),
        text(&source["path"]),
        source["accepted"],
        source["duplicates"],
        refused(source),
        source["last_at"].as_str().unwrap_or("none"),
    )
}

fn refused(source: &Value) -> u64 {
    let reasons = source["refused"].as_object();
    reasons.into_iter().flat_map(Map::values).filter_map(Value::as_u64).sum()
}

fn reason_lines(out: &mut Printout, reason: &Value) {
    let name = text(&reason["reason"]);
    let line = format!("{name:<20} {:>6}  last {}", reason["count"], text(&reason["last_at"]));
    out.line(printable(&line));
    out.line(printable(&format!("  {}", text(&reason["meaning"]))));
    match reason["hint"].as_str() {
        Some(hint) => out.line(printable(&format!("  hint: {hint}"))),
        None => out.line(printable(&format!("  {}", text(&reason["remedy"])))),
    }
}

fn list(items: &[Value]) -> Result<(), Failure> {
    let mut out = Printout::new();
    if items.is_empty() {
        out.line("no source");
        return out.print();
    }
    let head = ["NAME", "ADDRESS", "SCHEME", "ACCEPTED", "DUPLICATES", "REFUSED", "LAST EVENT"];
    let row = |source: &Value| {
        let cell = |name: &str| text(&source[name]);
        let last = source["last_at"].as_str().unwrap_or("none").to_owned();
        vec![
            cell("name"),
            format!("POST {}", cell("path")),
            if source["closed"].is_null() { cell("scheme") } else { "no secret".to_owned() },
            cell("accepted"),
            cell("duplicates"),
            refused(source).to_string(),
            last,
        ]
    };
    let head = head.map(str::to_owned).to_vec();
    out.table(&std::iter::once(head).chain(items.iter().map(row)).collect::<Vec<_>>());
    out.print()
}
