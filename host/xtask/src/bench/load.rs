//! The load: signed requests written to a file once, sent by wrk, and what wrk says of it.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Options;
use crate::run::{Result, command, output, say};

/// The secret of every receiver.
pub(super) const SECRET: &str = "whsec_a_secret_for_the_benchmark";

/// Length of a body, in bytes.
const BODY_BYTES: usize = 230;

/// Requests in the file, for each second of a run: more than a receiver that counts them can take.
const REQUESTS_PER_SECOND: usize = 40_000;

/// Threads of the load generator.
const THREADS: usize = 2;

/// Reads requests of equal length, one after the other; each thread has its own share of the file.
const SCRIPT: &str = r#"
local threads = 0
function setup(thread) thread:set("index", threads); threads = threads + 1 end
function init(args)
  length, each = tonumber(args[2]), tonumber(args[3])
  file = io.open(args[1], "rb")
  file:setvbuf("full", 262144)
  file:seek("set", index * each * length)
  left = each
end
function request()
  if left == 0 then file:seek("set", index * each * length); left = each end
  left = left - 1
  return file:read(length)
end
function done(summary, latency, requests)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %d %d", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// What is sent.
#[derive(Debug)]
pub(super) struct Load {
    requests: PathBuf,
    script: PathBuf,
    request_bytes: usize,
    count: usize,
    seconds: u32,
    connections: u32,
}

/// What one receiver did.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) requests: u64,
    /// How long the load lasted.
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Deliveries settled a second while the load lasted.
    pub(super) settled_per_second: Option<f64>,
    /// Deliveries not settled when the load ended.
    pub(super) open_at_end: Option<u64>,
}

impl Load {
    /// Writes the requests, each body a different one.
    pub(super) fn prepare(folder: &Path, options: &Options) -> Result<Self> {
        let count = options.seconds as usize * REQUESTS_PER_SECOND;
        let (requests, script) = (folder.join("requests"), folder.join("load.lua"));
        std::fs::write(&script, SCRIPT).map_err(|error| error.to_string())?;
        say(&format!("signing {count} requests"));
        let file = std::fs::File::create(&requests).map_err(|error| error.to_string())?;
        let mut file = BufWriter::new(file);
        for index in 0..count {
            file.write_all(&request(index)).map_err(|error| error.to_string())?;
        }
        file.flush().map_err(|error| error.to_string())?;
        let request_bytes = request(0).len();
        let (seconds, connections) = (options.seconds, options.connections);
        Ok(Self { requests, script, request_bytes, count, seconds, connections })
    }

    /// Sends it to `address`.
    pub(super) fn send(&self, address: &str) -> Result<Measured> {
        let mut wrk =
            command("wrk", &format!("-t{THREADS} -c{} -d{}s --timeout 10s -s", self.connections, self.seconds));
        wrk.arg(&self.script).arg(format!("http://{address}")).arg("--").arg(&self.requests);
        wrk.arg(self.request_bytes.to_string()).arg((self.count / THREADS).to_string());
        let text = output(&mut wrk)?;
        let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).ok_or(format!("wrk said: {text}"))?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [requests, duration_us, p50_us, p99_us, errors] = numbers[..] else {
            return Err(format!("wrk said: {text}"));
        };
        if errors > 0.0 {
            return Err(format!("{errors} requests failed: {text}"));
        }
        Ok(Measured {
            requests: requests as u64,
            seconds: duration_us / 1e6,
            per_second: requests / duration_us * 1e6,
            p50_ms: p50_us / 1e3,
            p99_ms: p99_us / 1e3,
            settled_per_second: None,
            open_at_end: None,
        })
    }

    /// Bodies that differ.
    pub(super) fn distinct(&self) -> u64 {
        self.count as u64
    }
}

/// The signature of a body, as HeyGen makes it.
pub(super) fn sign(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length will do");
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request(index: usize) -> Vec<u8> {
    let start = format!(
        r#"{{"event_type":"avatar_video.success","event_data":{{"video_id":"v_{index:012}","callback_id":"order_{index:012}","video_url":"https://files.example/video/{index:012}.mp4","duration":45.2,"title":""#
    );
    let end = r#""}}"#;
    let body = format!("{start}{}{end}", "x".repeat(BODY_BYTES - start.len() - end.len()));
    let signature = sign(&body);
    format!(
        "POST /webhook/heygen HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nheygen-signature: {signature}\r\ncontent-length: {BODY_BYTES}\r\n\r\n{body}"
    )
    .into_bytes()
}
