//! `hookbox send`: an event as its provider would send and sign it.

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::de::IgnoredAny;

use super::Common;
use super::failure::Failure;
use super::output::{print_json, printable};
use super::{known, remarks};
use crate::cloudevents::HttpMode;
use crate::config::Partial;
use crate::ingest::sample::{self, Assignment, Sample};
use crate::names::{closest, did_you_mean, hint};
use crate::server::reachable;
use crate::text;

mod duplicate;
pub(super) mod load;
mod sender;

use load::{End, LoadPlan, MAX_EVENTS};
use sender::Sender;

/// The largest `--data` file, in bytes.
const MAX_DATA_BYTES: u64 = 256 << 20;

/// Of a name that cannot be read this much is shown.
const MAX_SHOWN_BYTES: usize = 160;

#[derive(Debug, Args)]
#[command(after_help = "\
The body is a sample of what the provider sends for TYPE, with fresh ids. With --data it is that JSON or file, byte for \
byte unless --set or TYPE ask for something else. Sent again as it is, it may be a duplicate: the reply says of which event.

Exit code 0 if the host has every event, also where one is a duplicate of an event it had before; 1 if one was refused \
or not answered.

Examples:
  hookbox send heygen avatar_video.success --set event_data.callback_id=order_1
  hookbox send heygen avatar_video.fail --set event_data.msg='\"Script too long\"'
  hookbox send heygen avatar_video.success --count 10000 --rate 200
  hookbox send acme acme.order --data order.json
  hookbox send partner com.example.order.paid --form batch
  hookbox send heygen video_translate.success --url https://hooks.example.com")]
pub(super) struct Send {
    #[command(flatten)]
    aim: Aim,
    /// Send this many, each with fresh ids
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_EVENTS))
    )]
    count: u32,
    /// So many a second at most [default: as fast as it goes]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// Connections that --count uses
    #[arg(
        long, value_name = "N", default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    connections: u16,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// The events and their destination, for `send` and `bench`.
#[derive(Debug, Args)]
pub(super) struct Aim {
    /// A source of the configuration
    #[arg(value_name = "SOURCE")]
    pub(super) source: String,
    /// The event type, for example avatar_video.success
    #[arg(value_name = "TYPE")]
    pub(super) kind: String,
    /// Send this JSON or file (`-` is stdin) instead of a sample
    #[arg(long, value_name = "JSON|FILE")]
    data: Option<String>,
    /// Set a member of the JSON body: JSON if it reads as JSON, otherwise a string
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<Assignment>,
    /// The form of a CloudEvent, for a source that takes them [default: binary]
    #[arg(long, value_name = "FORM")]
    form: Option<CloudEventForm>,
    /// The host's address, if not `server.listen` of the configuration
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
}

/// The forms of a CloudEvent over HTTP.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum CloudEventForm {
    /// The attributes in headers, the data as the body
    Binary,
    /// One JSON object
    Structured,
    /// A list of two
    Batch,
}

impl From<CloudEventForm> for HttpMode {
    fn from(form: CloudEventForm) -> Self {
        match form {
            CloudEventForm::Binary => Self::Binary,
            CloudEventForm::Structured => Self::Structured,
            CloudEventForm::Batch => Self::Batch,
        }
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate =
        text.parse().ok().filter(|rate: &f64| rate.is_finite() && (0.001..=1e6).contains(rate));
    rate.ok_or_else(|| "not a number between 0.001 and 1000000".to_owned())
}

impl Send {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let mut config = known::partial(common)?;
        let sender = self.aim.sender(&mut config, Bodies::AsGiven)?;
        self.aim.doubts(&sender, &config, common).iter().for_each(|doubt| remarks::warning(doubt));
        if self.count == 1 {
            return sender.one(&self.aim.kind, self.json);
        }
        let source = Arc::clone(&sender.source);
        let plan = LoadPlan {
            end: End::Count(self.count),
            rate: self.rate,
            connections: self.connections,
        };
        let seen = load::run(sender, &plan)?;
        if self.json {
            print_json(&seen.json(&source))?;
        } else {
            seen.printout(&source).print()?;
        }
        Ok(if seen.counts.successes == u64::from(self.count) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// The treatment of a body that the user gave.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bodies {
    /// Sent as it is, again and again: the host is to recognise it.
    AsGiven,
    /// Every one is another event.
    Varied,
}

impl Aim {
    /// Makes the sender, and finds every mistake in the event or its address before anything is
    /// sent.
    pub(super) fn sender(&self, config: &mut Partial, bodies: Bodies) -> Result<Sender, Failure> {
        let source = config.take_source(&self.source).ok_or_else(|| self.no_source(config))??;
        let url = self.target(config)?;
        let data = self.data.as_deref().map(read).transpose()?;
        let is_given = data.is_some();
        let sample = Sample::new(&source, &self.kind, data, self.set.clone());
        let sample = if is_given && matches!(bodies, Bodies::Varied) {
            sample.and_then(Sample::varied)
        } else {
            sample
        };
        let sample = match self.form {
            Some(form) => sample.and_then(|sample| sample.in_mode(form.into())),
            None => sample,
        };
        let sample = sample.map_err(|problem| match &self.data {
            Some(file) => Failure::usage(format!("{problem} (in --data {file})")),
            None => Failure::usage(problem),
        })?;
        let sender = Sender { source, sample, url };
        // A secret that is missing is missing for all of them.
        sender.sign()?;
        Ok(sender)
    }

    /// Likely mistakes that can be sent: a type that the provider does not have, a type without a
    /// route.
    fn doubts(&self, sender: &Sender, config: &Partial, common: &Common) -> Vec<String> {
        let (source, kind) = (&self.source, printable(&self.kind));
        let preset = sender.source.preset.as_deref().unwrap_or_default();
        let types = sample::types(preset);
        let mut doubts = Vec::new();
        if !types.is_empty() && !types.contains(&self.kind.as_str()) {
            let near = match hint(&self.kind, types.iter().copied()) {
                none if none.is_empty() => format!(", which are {}", types.join(", ")),
                near => near,
            };
            doubts.push(format!(
                "`{kind}` is not among the types of preset `{preset}` that are known here{near}"
            ));
        }
        let is_here = self.url.is_none() || is_loopback(&sender.url);
        if is_here
            && let Ok(config) = &config.whole
            && !config.routes.takes(source, &self.kind)
        {
            let file = common.config.display();
            doubts.push(format!(
                "no route of {file} takes `{kind}` from `{source}`, so no plugin will run"
            ));
        }
        doubts
    }

    fn no_source(&self, config: &Partial) -> Failure {
        let names = || config.source_names();
        let hint = match closest(&self.source, names()) {
            Some(near) => did_you_mean(near),
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
            return Ok(format!("http://{}{path}", local_address(config)?));
        };
        let uri: ureq::http::Uri =
            url.parse().map_err(|error| Failure::usage(format!("--url: {error}")))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(Failure::usage("--url must start with http:// or https://"));
        }
        // An address alone means the host there; a path is taken as it is.
        Ok(if uri.path() == "/" {
            format!("{}{path}", url.trim_end_matches('/'))
        } else {
            url.clone()
        })
    }
}

/// The address of the local host's public listener, as this machine reaches it.
pub(super) fn local_address(config: &mut Partial) -> Result<SocketAddr, Failure> {
    Ok(reachable(config.take_listen()?))
}

/// Whether the address is of this machine, as far as it can be told without asking anybody.
pub(super) fn is_loopback(url: &str) -> bool {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Reads what `--data` names: JSON that is written out, a file, or stdin for `-`.
pub(super) fn read(file: &str) -> Result<Vec<u8>, Failure> {
    // A file may be called `[id].json`, and none is called as an object is written.
    let is_like_json = file.starts_with(['{', '[', '"']);
    let wrong = match serde_json::from_str::<IgnoredAny>(file) {
        Ok(_) if is_like_json => return Ok(file.as_bytes().to_vec()),
        Err(error) if is_like_json => format!("; and as JSON it is wrong: {error}"),
        _ => String::new(),
    };
    let mut data = Vec::new();
    let result = if file == "-" {
        std::io::stdin().lock().take(MAX_DATA_BYTES + 1).read_to_end(&mut data)
    } else {
        std::fs::File::open(file)
            .and_then(|opened| opened.take(MAX_DATA_BYTES + 1).read_to_end(&mut data))
    };
    let shown = text::plain(file, MAX_SHOWN_BYTES);
    let file = if file == "-" { "standard input" } else { &*shown };
    result.map_err(|error| {
        Failure::usage(format!(
            "failed to read {file}: {error}{wrong} (--data takes JSON, a file, or - for standard input)"
        ))
    })?;
    if data.len() as u64 > MAX_DATA_BYTES {
        return Err(Failure::usage(format!("{file} is longer than {MAX_DATA_BYTES} bytes")));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_json_that_is_written_out_or_a_file() {
        for json in ["{\"total\": 5}", "[1, 2]", "\"text\"", "{}\n"] {
            assert_eq!(read(json).unwrap(), json.as_bytes());
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("order.json");
        std::fs::write(&file, "{").unwrap();
        assert_eq!(read(file.to_str().unwrap()).unwrap(), b"{");
        let said = |data: &str| read(data).unwrap_err().to_string();
        let broken = said("{\"total\": }");
        assert!(broken.contains("as JSON it is wrong: expected value"), "{broken}");
        let missing = said("missing.json");
        assert!(
            missing.contains("- for standard input") && !missing.contains("as JSON"),
            "{missing}"
        );
    }
}
