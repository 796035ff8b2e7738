//! `hookbox listen`: takes events of a running host, and posts them to the one of this machine.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::{AdminClient, HostArg, Param, agent, encoded, no_answer};
use super::failure::Failure;
use super::known;
use super::listing::elements;
use super::output::{Printout, printable, text};
use super::remarks::warning;
use super::send::local_address;
use crate::clock::Clock;
use crate::config::{Partial, Source};
use crate::ingest;

/// Time between two questions.
const POLL: Duration = Duration::from_secs(1);

/// The longest time for a reply of the local host.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Events that are taken at once; of more that came in between two questions the newest are taken.
const WINDOW: usize = 1_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Events that came before are not taken, unless --last asks for some. Each is posted to the source of the same name here, \
signed with the secret of this configuration. The other host changes nothing and knows nothing of it; a token of a viewer \
who may read payloads is enough.

Examples:
  hookbox listen --from https://hookbox.example.com --token-file viewer.token
  hookbox listen --from http://127.0.0.1:3101 --source heygen
  hookbox listen --from http://127.0.0.1:3101 --last 10")]
pub(super) struct Listen {
    /// The admin address of the host whose events are taken
    #[arg(long, value_name = "URL")]
    from: String,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only this type, or a pattern such as 'order.*'
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Take so many of the newest events first
    #[arg(long, value_name = "N", default_value_t = 0)]
    last: u16,
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The address of the local host [default: `server.listen`]
    #[arg(long, value_name = "ADDRESS")]
    to: Option<std::net::SocketAddr>,
    /// The file with the token to show [default: HOOKBOX_ADMIN_TOKEN_FILE, or no token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
}

/// Posts events to the local host.
struct Relay {
    client: AdminClient,
    base: String,
    config: Partial,
    sources: BTreeMap<String, Option<Arc<Source>>>,
}

impl Listen {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let host = HostArg::at(self.from.clone(), self.token_file.clone());
        let client = host.client(common)?;
        let mut config = known::partial(common)?;
        let to = match self.to {
            Some(to) => to,
            None => local_address(&mut config)?,
        };
        let mut relay =
            Relay { client, base: format!("http://{to}"), config, sources: BTreeMap::new() };
        let filter = [("source", self.source.as_deref()), ("type", self.kind.as_deref())];
        let first = newer(&relay.client, &filter, "", usize::from(self.last).max(1))?;
        let mut newest = first.first().map(|event| text(&event["id"])).unwrap_or_default();
        let mut waiting = if self.last > 0 { first } else { Vec::new() };
        let mut taken = 0;
        loop {
            for event in waiting.iter().rev() {
                newest = text(&event["id"]);
                taken += u64::from(relay.pass(event)?);
                if self.count.is_some_and(|count| taken >= count) {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            std::thread::sleep(POLL);
            // A host that restarts comes back.
            waiting = newer(&relay.client, &filter, &newest, WINDOW).unwrap_or_default();
        }
    }
}

impl Relay {
    /// Posts an event; says whether it is one of a source that is here.
    fn pass(&mut self, event: &Value) -> Result<bool, Failure> {
        let (id, name) = (text(&event["id"]), text(&event["source"]));
        let Some(source) = self.source(&name)? else { return Ok(false) };
        let path = format!("/api/v1/events/{}", encoded(&id));
        let whole = self.client.get(&path, &[])?;
        let mut body = Vec::new();
        self.client.copy(&format!("{path}/body"), &[], &mut body)?;
        let provider_id = whole["provider_id"].as_str().unwrap_or(&id);
        let now_s = Clock::system().now_ms() / 1000;
        let signed = ingest::sign(&source, &body, provider_id, now_s)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let url = format!("{}/webhook/{name}", self.base);
        let mut request = agent(TIMEOUT).post(&url);
        let is_signed =
            |name: &str| signed.iter().any(|(signed, _)| signed.eq_ignore_ascii_case(name));
        for header in elements(&whole["headers"]) {
            let name = text(&header["name"]);
            if !is_signed(&name) && name != "user-agent" {
                request = request.header(name, text(&header["value"]));
            }
        }
        for (name, value) in &signed {
            request = request.header(name, value);
        }
        let answered = request.send(&body[..]);
        let response = answered.map_err(|error| {
            Failure::failed(no_answer(&url, &error, "a host's public listener"))
        })?;
        let status = response.status();
        let mut out = Printout::new();
        let word = out.state(if status.is_success() { "ok" } else { "failed" });
        let kind = text(&event["type"]);
        out.line(format!("{}  {}  {status} ({word})", printable(&id), printable(&kind)));
        out.print()?;
        Ok(true)
    }

    /// The source of this name here; its absence is told once.
    fn source(&mut self, name: &str) -> Result<Option<Arc<Source>>, Failure> {
        if let Some(known) = self.sources.get(name) {
            return Ok(known.clone());
        }
        let found = self.config.take_source(name).transpose()?;
        if found.is_none() {
            let name = printable(name);
            warning(&format!(
                "events of `{name}` are not taken: this configuration has no such source"
            ));
        }
        self.sources.insert(name.to_owned(), found.clone());
        Ok(found)
    }
}

/// Events after `newest`, newest first, at most `window`. Ids grow with time, so an id not above
/// ends the search.
fn newer(
    client: &AdminClient,
    filter: &[Param<'_>],
    newest: &str,
    window: usize,
) -> Result<Vec<Value>, Failure> {
    const PAGE: usize = 100;
    let mut fresh: Vec<Value> = Vec::new();
    let mut cursor = None;
    loop {
        let rows = PAGE.min(window - fresh.len());
        let (items, next) = client.list("/api/v1/events", filter, cursor, rows)?;
        let known =
            items.iter().position(|event| event["id"].as_str().is_none_or(|id| id <= newest));
        fresh.extend(items.into_iter().take(known.unwrap_or(usize::MAX)));
        if next.is_none() || known.is_some() || fresh.len() >= window {
            return Ok(fresh);
        }
        cursor = next;
    }
}
