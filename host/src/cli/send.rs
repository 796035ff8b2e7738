//! `hookbox send`: what a provider would send, signed as it would sign it.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Common;
use super::client::{agent, loading_agent, no_answer};
use super::failure::Failure;
use super::output::{Page, bytes, print_json, printable};
use super::{known, remarks};
use crate::admin::closest;
use crate::clock::Clock;
use crate::config::{Partial, Source};
use crate::event::EventId;
use crate::ingest;

mod duplicate;
pub(super) mod load;
mod sample;
mod set;

use load::{End, MAX_EVENTS, Plan};
use sample::Sample;
use set::Assignment;

/// How long a reply may take; the host answers within 2.5 s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most of a reply that is read, in bytes.
const MAX_REPLY_BYTES: u64 = 64 << 10;

/// The largest `--data` file, in bytes.
const MAX_DATA_BYTES: u64 = 256 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
The body is a sample of what the provider sends for TYPE, with fresh ids. With --data it is that file, byte for byte \
unless --set or TYPE ask for something else. Sent again as it is, it may be a duplicate: the reply says of which event.

Exit code 0 if the host has every event, also where one is a duplicate of an event it had before; 1 if one was refused \
or not answered.

Examples:
  hookbox send heygen avatar_video.success --set event_data.callback_id=order_1
  hookbox send heygen avatar_video.fail --set event_data.msg='\"Script too long\"'
  hookbox send heygen avatar_video.success --count 10000 --rate 200
  hookbox send acme acme.order --data order.json
  hookbox send heygen video_translate.success --url https://hooks.example.com")]
pub(super) struct Send {
    #[command(flatten)]
    aim: Aim,
    /// Send this many, each with fresh ids
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_EVENTS)))]
    count: u32,
    /// So many a second at most [default: as fast as it goes]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Connections that --count uses
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    connections: u16,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Which events go where; what `send` and `bench` have in common.
#[derive(Debug, Args)]
pub(super) struct Aim {
    /// A source of the configuration
    #[arg(value_name = "SOURCE")]
    pub(super) source: String,
    /// The event type, for example avatar_video.success
    #[arg(value_name = "TYPE")]
    pub(super) kind: String,
    /// Send this file (`-` is stdin) instead of a sample
    #[arg(long, value_name = "FILE")]
    data: Option<String>,
    /// Set a member of the JSON body: JSON if it reads as JSON, otherwise a string
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Assignment>,
    /// Where the host is, if not at `server.listen` of the configuration
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "not a number between 0.001 and 1000000".to_owned())
}

/// A request that is ready to be sent.
#[derive(Debug)]
struct Signed {
    body: Vec<u8>,
    headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    status: u16,
    reason: &'static str,
    body: Vec<u8>,
    took: Duration,
}

/// A host's word that an event is durable.
#[derive(Debug, Clone, Copy)]
struct Ack {
    id: EventId,
    /// It was so before.
    is_duplicate: bool,
}

/// Builds, signs and posts; shared by all connections.
#[derive(Debug)]
pub(super) struct Sender {
    source: std::sync::Arc<Source>,
    sample: Sample,
    pub(super) url: String,
}

impl Send {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let mut config = known::partial(common)?;
        let sender = self.aim.sender(&mut config, Bodies::AsGiven)?;
        self.aim.doubts(&sender, &config, common).iter().for_each(|doubt| remarks::warning(doubt));
        if self.count == 1 {
            return sender.one(&self.aim.kind, self.json);
        }
        let source = std::sync::Arc::clone(&sender.source);
        let plan = Plan { end: End::Count(self.count), rate: self.rate, connections: self.connections };
        let seen = load::run(sender, &plan)?;
        if self.json {
            print_json(&seen.json(&source))?;
        } else {
            seen.page(&source).print()?;
        }
        Ok(if seen.tally.successes == u64::from(self.count) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What becomes of a body that the user gave.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bodies {
    /// Sent as it is, again and again: the host is to recognise it.
    AsGiven,
    /// Every one is another event.
    Varied,
}

impl Aim {
    /// Everything that can be wrong with the event or its address is found here, before anything is sent.
    pub(super) fn sender(&self, config: &mut Partial, bodies: Bodies) -> Result<Sender, Failure> {
        let source = config.take_source(&self.source).ok_or_else(|| self.no_source(config))??;
        let url = self.target(config)?;
        let data = self.data.as_deref().map(read).transpose()?;
        let is_given = data.is_some();
        let sample = Sample::new(&source, &self.kind, data, self.set.clone());
        let sample =
            if is_given && matches!(bodies, Bodies::Varied) { sample.and_then(Sample::varied) } else { sample };
        let sample = sample.map_err(|problem| match &self.data {
            Some(file) => Failure::usage(format!("{problem} (in --data {file})")),
            None => Failure::usage(problem),
        })?;
        let sender = Sender { source, sample, url };
        // A secret that is missing is missing for all of them.
        sender.sign()?;
        Ok(sender)
    }

    /// What is likely a mistake, though it can be sent: a type that the provider does not have, and one without a route.
    fn doubts(&self, sender: &Sender, config: &Partial, common: &Common) -> Vec<String> {
        let (source, kind) = (&self.source, printable(&self.kind));
        let preset = sender.source.preset.as_deref().unwrap_or_default();
        let types = sample::types(preset);
        let mut doubts = Vec::new();
        if !types.is_empty() && !types.contains(&self.kind.as_str()) {
            let near = closest(&self.kind, types.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let near = near.unwrap_or_else(|| format!(", which are {}", types.join(", ")));
            doubts.push(format!("`{kind}` is not among the types of preset `{preset}` that are known here{near}"));
        }
        let is_here = self.url.is_none() || is_loopback(&sender.url);
        if let Some(config) = config.whole.as_ref().ok().filter(|_| is_here)
            && config.routes.targets(source, &self.kind).is_empty()
        {
            let file = common.config.display();
            doubts.push(format!("no route of {file} takes `{kind}` from `{source}`, so no plugin will run"));
        }
        doubts
    }

    fn no_source(&self, config: &Partial) -> Failure {
        let names = || config.source_names();
        let hint = match closest(&self.source, names()) {
            Some(hint) => format!("did you mean `{hint}`?"),
            None if names().next().is_none() => "the configuration has none".to_owned(),
            None => format!(
                "the configuration has {}",
                names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            ),
        };
        Failure::usage(format!("there is no source `{}`: {hint}", printable(&self.source)))
    }

    fn target(&self, config: &mut Partial) -> Result<String, Failure> {
        let path = format!("/webhook/{}", self.source);
        let Some(url) = &self.url else {
            let mut address = config.take_listen()?;
            if address.ip().is_unspecified() {
                address.set_ip(if address.is_ipv4() {
                    [127, 0, 0, 1].into()
                } else {
                    std::net::Ipv6Addr::LOCALHOST.into()
                });
            }
            return Ok(format!("http://{address}{path}"));
        };
        let uri: ureq::http::Uri = url.parse().map_err(|error| Failure::usage(format!("--url: {error}")))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(Failure::usage("--url must start with http:// or https://"));
        }
        // An address alone means the host there; a path is taken as it is.
        Ok(if uri.path() == "/" { format!("{}{path}", url.trim_end_matches('/')) } else { url.clone() })
    }
}

/// Whether the address is of this machine, as far as it can be told without asking anybody.
pub(super) fn is_loopback(url: &str) -> bool {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    let result = if file == "-" {
        std::io::stdin().lock().take(MAX_DATA_BYTES + 1).read_to_end(&mut data)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(MAX_DATA_BYTES + 1).read_to_end(&mut data))
    };
    let file = if file == "-" { "standard input" } else { file };
    result.map_err(|error| Failure::usage(format!("failed to read {file}: {error}")))?;
    if data.len() as u64 > MAX_DATA_BYTES {
        return Err(Failure::usage(format!("{file} is longer than {MAX_DATA_BYTES} bytes")));
    }
    Ok(data)
}

impl Sender {
    fn one(&self, kind: &str, as_json: bool) -> Result<ExitCode, Failure> {
        let signed = self.sign()?;
        let length = signed.body.len() as u64;
        let reply = self.post(&agent(TIMEOUT), &signed).map_err(|error| self.unreachable(&error))?;
        if as_json {
            print_json(&self.reply_json(kind, length, &reply))?;
        } else {
            self.reply_page(kind, length, &reply).print()?;
        }
        Ok(if reply.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn reply_page(&self, kind: &str, length: u64, reply: &Reply) -> Page {
        let mut page = Page::new();
        page.line(format!("POST {}  {}, {}", self.url, printable(kind), bytes(length)));
        let word = page.state(if reply.is_success() { "ok" } else { "failed" });
        page.line(format!("{} {} in {:.1} ms ({word})", reply.status, reply.reason, reply.took.as_secs_f64() * 1000.0));
        page.line(printable(&String::from_utf8_lossy(&reply.body)));
        if let Some(first) = reply.duplicate_of() {
            duplicate::lines(&self.source, first).iter().for_each(|line| page.line(line));
        }
        page
    }

    fn reply_json(&self, kind: &str, length: u64, reply: &Reply) -> Value {
        let first = reply.duplicate_of();
        let said = serde_json::from_slice(&reply.body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&reply.body).into_owned()));
        json!({
            "url": self.url, "type": kind, "data_bytes": length,
            "http_status": reply.status, "took_ms": reply.took.as_secs_f64() * 1000.0, "reply": said,
            "duplicate_of": first.map(|first| first.to_string()),
            "to_send_another": first.map(|_| duplicate::another(&self.source)),
        })
    }

    /// A new event, signed now.
    fn sign(&self) -> Result<Signed, Failure> {
        let made = self.sample.make();
        let now_s = Clock::system().now_ms() / 1000;
        let mut headers = ingest::sign(&self.source, &made.body, &made.id, now_s)
            .map_err(|error| Failure::usage(error.to_string()))?;
        headers.extend(made.headers);
        Ok(Signed { body: made.body, headers })
    }

    /// Fails if nobody is there to answer; what is answered does not matter.
    pub(super) fn knock(&self) -> Result<(), ureq::Error> {
        agent(TIMEOUT).options(&self.url).call().map(drop)
    }

    fn post(&self, agent: &ureq::Agent, signed: &Signed) -> Result<Reply, ureq::Error> {
        let mut request = agent.post(&self.url).header("content-type", self.sample.content_type());
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        let start = Instant::now();
        let mut response = request.send(&signed.body[..])?;
        let body = response.body_mut().with_config().limit(MAX_REPLY_BYTES).read_to_vec()?;
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or_default();
        Ok(Reply { status: status.as_u16(), reason, body, took: start.elapsed() })
    }

    fn unreachable(&self, error: &ureq::Error) -> Failure {
        Failure::failed(no_answer(&self.url, error, "a host's public listener"))
    }
}

impl Reply {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The event that this one repeats, if the host says so.
    fn duplicate_of(&self) -> Option<EventId> {
        self.ack().filter(|ack| ack.is_duplicate && self.is_success()).map(|ack| ack.id)
    }

    /// What a hookbox host says of an event that it has.
    fn ack(&self) -> Option<Ack> {
        #[derive(Deserialize)]
        struct Body<'a> {
            id: &'a str,
            status: &'a str,
        }
        let body: Body<'_> = serde_json::from_slice(&self.body).ok()?;
        Some(Ack { id: body.id.parse().ok()?, is_duplicate: body.status == "duplicate" })
    }
}
