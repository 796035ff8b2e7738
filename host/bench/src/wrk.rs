//! The closed loop: wrk, whose every connection sends its next request when it has the answer to
//! its last.

use std::path::Path;

use super::requests::Requests;
use hookbox_tools::{Result, command, output};

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

/// How hard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    /// Open connections.
    pub(super) connections: u32,
    /// How long.
    pub(super) seconds: u32,
}

/// The report of wrk.
#[derive(Debug)]
pub(super) struct Answered {
    /// Requests that were answered with success, but for those that were on their way when it
    /// stopped.
    pub(super) requests: u64,
    /// How long it took.
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Sends `requests` to `address`, from the first again if there are too few. A request that fails
/// is an error.
pub(super) fn send(requests: &Requests, address: &str, closed: Closed) -> Result<Answered> {
    let script = requests.path.parent().unwrap_or(Path::new(".")).join("load.lua");
    std::fs::write(&script, SCRIPT).map_err(|error| format!("{}: {error}", script.display()))?;
    let Closed { connections, seconds } = closed;
    let mut wrk =
        command("wrk", &format!("-t{THREADS} -c{connections} -d{seconds}s --timeout 10s -s"));
    wrk.arg(&script).arg(format!("http://{address}")).arg("--").arg(&requests.path);
    wrk.arg(requests.each_bytes.to_string()).arg((requests.spec.count / THREADS).to_string());
    let text = output(&mut wrk)?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .ok_or(format!("wrk said: {text}"))?;
    let numbers: Vec<f64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
    let [requests, duration_us, p50_us, p99_us, errors] = numbers[..] else {
        return Err(format!("wrk said: {text}"));
    };
    if errors > 0.0 {
        return Err(format!("{errors} requests failed: {text}"));
    }
    Ok(Answered {
        requests: requests as u64,
        seconds: duration_us / 1e6,
        per_second: requests / duration_us * 1e6,
        p50_ms: p50_us / 1e3,
        p99_ms: p99_us / 1e3,
    })
}
