//! `hookbox listen`: takes events of a running host, and posts them to the one of this machine.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Common;
use super::client::{AdminClient, HostArg, Param};
use super::failure::Failure;
use super::known;
use super::output::{printable, text};
use super::remarks::{remark, warning};
use super::send::local_address;
use crate::event::EventId;

mod relay;

use relay::{Relay, RelayFault};

/// Time between two tries to reach a host that is gone.
const PAUSE: Duration = Duration::from_secs(1);

/// Tries to get an event of the other host.
const TRIES: u32 = 3;

/// Events that the stream leaves out and that are asked for all the same; of more the newest.
const WINDOW: usize = 100_000;

#[derive(Debug, Args)]
#[command(after_help = "\
Events that came before are not taken, unless --last asks for some. Each is posted to the source of the same name here, \
signed with the secret of this configuration. The other host changes nothing and knows nothing of it; a token of a viewer \
who may read payloads is enough. If the other host is gone for a while, events that came meanwhile are taken when it is \
back.

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

/// Whether there are more events to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    On,
    Ended,
}

/// The stream of events, its filter, and how far it has come.
struct Listening<'a> {
    client: &'a AdminClient,
    filter: [Param<'a>; 2],
    relay: Relay<'a>,
    /// The newest event that was posted or left out: the stream begins behind it.
    last: String,
    /// Events still to be posted; `None` for all.
    left: Option<u64>,
    /// Tries of the event behind `last` that failed.
    tries: u32,
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
        let filter = [("source", self.source.as_deref()), ("type", self.kind.as_deref())];
        let wanted = newer(&client, &filter, None, usize::from(self.last))?;
        let none = EventId::from_row(0).to_string();
        let last = match wanted.last() {
            // Every one of them is behind it.
            Some(_) => none,
            None => newest(&client)?.unwrap_or(none),
        };
        let relay = Relay::new(&client, format!("http://{to}"), config);
        let mut listening =
            Listening { client: &client, filter, relay, last, left: self.count, tries: 0 };
        for event in wanted.iter().rev() {
            if listening.take(event).map_err(RelayFault::into_failure)? == Goes::Ended {
                return Ok(ExitCode::SUCCESS);
            }
        }
        listening.follow().map(|()| ExitCode::SUCCESS)
    }
}

impl Listening<'_> {
    /// Takes events from the stream until there were enough, or until the local host is gone.
    fn follow(&mut self) -> Result<(), Failure> {
        let (client, filter) = (self.client, self.filter);
        let (mut was_followed, mut is_lost) = (false, false);
        loop {
            let last = self.last.clone();
            let query = [&filter[..], &[("after", Some(last.as_str()))]].concat();
            let mut end = None;
            let followed = client.lines("/api/v1/events/stream", &query, &mut |line| {
                (was_followed, is_lost) = (true, false);
                match self.line(&line) {
                    Ok(Goes::On) => return Ok(()),
                    Ok(Goes::Ended) => end = Some(Ok(())),
                    Err(RelayFault::Here(failure)) => end = Some(Err(failure)),
                    Err(RelayFault::There(failure)) => return Err(failure),
                }
                Err(Failure::NobodyReads)
            });
            if let Some(end) = end {
                return end;
            }
            match followed {
                // A host that restarts comes back; one that never answered does not.
                Err(failure) if !was_followed => return Err(failure),
                Err(failure) if !std::mem::replace(&mut is_lost, true) => {
                    remark(&format!("{failure}; trying again"));
                }
                Ok(()) | Err(_) => {}
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes what a line of the stream is about.
    fn line(&mut self, line: &Value) -> Result<Goes, RelayFault> {
        if line["skipped"].is_null() {
            return self.take(line);
        }
        // The events that follow in the stream are known then.
        let (client, filter) = (self.client, self.filter);
        let missed = newer(client, &filter, Some(&self.last), WINDOW).map_err(RelayFault::There)?;
        if missed.len() >= WINDOW {
            warning(&format!("more than {WINDOW} events came meanwhile: the oldest are left out"));
        }
        for event in missed.iter().rev() {
            if self.take(event)? == Goes::Ended {
                return Ok(Goes::Ended);
            }
        }
        Ok(Goes::On)
    }

    /// Posts an event, unless it was taken before.
    fn take(&mut self, event: &Value) -> Result<Goes, RelayFault> {
        let id = text(&event["id"]);
        // Ids grow with time.
        if id <= self.last {
            return Ok(Goes::On);
        }
        let is_posted = match self.relay.pass(event) {
            Ok(is_posted) => is_posted,
            Err(RelayFault::There(failure)) => {
                self.tries += 1;
                if self.tries < TRIES {
                    return Err(RelayFault::There(failure));
                }
                warning(&format!("{} is left out: {failure}", printable(&id)));
                false
            }
            here => here?,
        };
        (self.tries, self.last) = (0, id);
        if is_posted && let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        Ok(if self.left == Some(0) { Goes::Ended } else { Goes::On })
    }
}

/// The id of the newest event of all.
fn newest(client: &AdminClient) -> Result<Option<String>, Failure> {
    let (items, _) = client.list("/api/v1/events", &[], None, 1)?;
    Ok(items.first().map(|event| text(&event["id"])))
}

/// Events after `last`, newest first, at most `window`.
fn newer(
    client: &AdminClient,
    filter: &[Param<'_>],
    last: Option<&str>,
    window: usize,
) -> Result<Vec<Value>, Failure> {
    const PAGE: usize = 500;
    let query = [filter, &[("after", last)]].concat();
    let mut found = Vec::new();
    let mut cursor = None;
    while found.len() < window {
        let rows = PAGE.min(window - found.len());
        let (items, next) = client.list("/api/v1/events", &query, cursor, rows)?;
        found.extend(items.into_iter().map(|event| about(&event)));
        if next.is_none() {
            break;
        }
        cursor = next;
    }
    Ok(found)
}

/// The part of an event of a listing that is needed to take it.
fn about(event: &Value) -> Value {
    serde_json::json!({ "id": event["id"], "source": event["source"], "type": event["type"] })
}
