//! One receiver, and the loads it gets: each load on a start of its own, with nothing stored.

use super::measured::{Measured, Run};
use super::neighbours::percentiles;
use super::process;
use super::receivers::{Receiver, Running};
use super::requests::Requests;
use super::steady::{self, Steady};
use super::watch::{self, Accepted, Before};
use super::wrk::{self, Closed};
use hookbox_tools::{Result, say};

/// The plugin of a host with a route, by name.
pub(super) const PLUGIN: &str = "handler";

/// Connections of the closed loop.
pub(super) const CONNECTIONS: [u32; 2] = [64, 256];

/// Connections of an open loop: far more than there are requests under way at half the peak.
const OPEN_CONNECTIONS: usize = 128;

/// Connections of a burst.
const BURST_CONNECTIONS: usize = 64;

/// Answers that the others give before they are measured: they say where they listen before they
/// are ready, and compile as they go.
const WARM_UP: Steady = Steady { connections: 8, count: 500, rate: None };

/// Attempts whose duration is asked for.
const ATTEMPTS: usize = 500;

/// The parts that a row is measured with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plan {
    /// Both bodies and both numbers of connections, closed loop.
    Closed,
    /// Then half of the peak as well, open loop.
    Latency,
    /// The same, the peak for so many seconds.
    Sustained(u32),
    /// So many events as fast as they are taken, and until they are settled.
    Burst(usize),
}

/// A row of the table.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) plan: Plan,
    /// Makes the receiver, with nothing stored.
    pub(super) fresh: Box<dyn Fn() -> Result<Receiver>>,
    /// Events that [`PLUGIN`] returns for each that it gets; `None` if there is no such plugin.
    pub(super) emits: Option<u64>,
}

/// The requests, signed once for all rows.
pub(super) struct Bodies {
    pub(super) small: Requests,
    pub(super) large: Requests,
}

impl Row {
    pub(super) fn measure(&self, bodies: &Bodies, seconds: u32) -> Result<Measured> {
        let mut measured =
            Measured { name: self.name, runs: Vec::new(), half_peak: None, attempt_ms: None };
        if let Plan::Burst(count) = self.plan {
            measured.runs.push(self.burst(&bodies.small, count)?);
            return Ok(measured);
        }
        for requests in [&bodies.small, &bodies.large] {
            for connections in CONNECTIONS {
                let is_peak = requests.spec.body_bytes == bodies.small.spec.body_bytes
                    && connections == CONNECTIONS[1];
                let seconds = match self.plan {
                    Plan::Sustained(long) if is_peak => long,
                    _ => seconds,
                };
                measured.runs.push(self.closed(requests, Closed { connections, seconds })?);
            }
        }
        if !matches!(self.plan, Plan::Closed) {
            let rate = measured.rate() / 2.0;
            let (run, attempt_ms) = self.open(&bodies.small, rate, seconds)?;
            measured.half_peak = Some(run);
            measured.attempt_ms = attempt_ms;
        }
        Ok(measured)
    }

    /// Starts it: hookbox with its plugin loaded, another one warm.
    fn start(&self, requests: &Requests) -> Result<Running> {
        let running = (self.fresh)()?.start()?;
        match &running.admin {
            Some(admin) => watch::until_loaded(admin)?,
            None => drop(steady::send(requests, &running.public, WARM_UP)?),
        }
        Ok(running)
    }

    fn closed(&self, requests: &Requests, closed: Closed) -> Result<Run> {
        let Closed { connections, seconds } = closed;
        let body_bytes = requests.spec.body_bytes;
        say(&format!("{}: {body_bytes} bytes, {connections} connections, {seconds} s", self.name));
        let running = self.start(requests)?;
        let cpu_before = process::cpu(running.pid())?;
        let send = || wrk::send(requests, &running.public, closed);
        let (answered, backlog) = match &running.admin {
            Some(admin) => watch::backlog(admin, PLUGIN, send)?,
            None => (send()?, Vec::new()),
        };
        let accepted = answered.requests;
        if running.admin.is_some() && accepted > requests.spec.count as u64 {
            return Err(format!(
                "{accepted} requests are more than were signed: duplicates took the shorter road"
            ));
        }
        let settled = self.check(&running, accepted, u64::from(connections), answered.seconds)?;
        let cpu = process::cpu(running.pid())? - cpu_before;
        Ok(Run {
            body_bytes,
            connections: connections as usize,
            seconds: answered.seconds,
            per_second: answered.per_second,
            p50_ms: answered.p50_ms,
            p99_ms: answered.p99_ms,
            settled_per_second: settled,
            cpu_us: Some(cpu.as_secs_f64() * 1e6 / accepted as f64),
            growth: match self.emits {
                Some(_) => watch::growth(&backlog, answered.per_second),
                None => None,
            },
            backlog,
        })
    }

    fn open(
        &self,
        requests: &Requests,
        rate: f64,
        seconds: u32,
    ) -> Result<(Run, Option<[f64; 2]>)> {
        say(&format!("{}: {rate:.0} requests/s, {seconds} s", self.name));
        let running = self.start(requests)?;
        let count = (rate * f64::from(seconds)) as usize;
        let steady = Steady { connections: OPEN_CONNECTIONS, count, rate: Some(rate) };
        let mut sent = steady::send(requests, &running.public, steady)?;
        let settled_per_second = self.check(&running, count as u64, 0, sent.seconds)?;
        let attempt_ms = match &running.admin {
            Some(admin) if self.emits.is_some() => Some(attempts(admin)?),
            _ => None,
        };
        let [p50_ms, p99_ms] = percentiles(&mut sent.latencies_ms);
        let run = Run {
            body_bytes: requests.spec.body_bytes,
            connections: OPEN_CONNECTIONS,
            seconds: sent.seconds,
            per_second: count as f64 / sent.seconds,
            p50_ms,
            p99_ms,
            settled_per_second,
            ..Run::default()
        };
        Ok((run, attempt_ms))
    }

    fn burst(&self, requests: &Requests, count: usize) -> Result<Run> {
        say(&format!("{}: {count} events", self.name));
        let running = self.start(requests)?;
        let before = Before::look(&running, PLUGIN)?;
        let started = std::time::Instant::now();
        let steady = Steady { connections: BURST_CONNECTIONS, count, rate: None };
        let mut sent = steady::send(requests, &running.public, steady)?;
        watch::drain(running.admin()?, PLUGIN)?;
        let seconds = started.elapsed().as_secs_f64();
        let run = Accepted { accepted: count as u64, unread: 0, emits: self.emits };
        let settled = before
            .check(&running, PLUGIN, run)
            .map_err(|error| format!("{}: {error}", self.name))?;
        let [p50_ms, p99_ms] = percentiles(&mut sent.latencies_ms);
        Ok(Run {
            body_bytes: requests.spec.body_bytes,
            connections: BURST_CONNECTIONS,
            seconds,
            per_second: count as f64 / sent.seconds,
            p50_ms,
            p99_ms,
            settled_per_second: Some(settled as f64 / seconds),
            ..Run::default()
        })
    }

    /// Accepted = stored = settled, of a host that had nothing before: what was settled a second in
    /// so many seconds.
    fn check(
        &self,
        running: &Running,
        accepted: u64,
        unread: u64,
        seconds: f64,
    ) -> Result<Option<f64>> {
        if running.admin.is_none() {
            return Ok(None);
        }
        let run = Accepted { accepted, unread, emits: self.emits };
        let settled = Before::default().check(running, PLUGIN, run);
        let settled = settled.map_err(|error| format!("{}: {error}", self.name))?;
        Ok(self.emits.map(|_| settled as f64 / seconds))
    }
}

/// Milliseconds of the last attempts, median and 99th percentile.
fn attempts(admin: &str) -> Result<[f64; 2]> {
    let page = watch::ask(admin, &format!("deliveries?plugin={PLUGIN}&limit={ATTEMPTS}"))?;
    let rows = page["items"].as_array().ok_or(format!("no listing: {page}"))?;
    let mut all: Vec<f64> =
        rows.iter().filter_map(|row| row["attempts"][0]["duration_ms"].as_f64()).collect();
    if all.is_empty() {
        Err(format!("no attempt is listed: {page}"))
    } else {
        Ok(percentiles(&mut all))
    }
}
