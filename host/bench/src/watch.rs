//! Hookbox's own figures while it is measured and after: how much waits, and whether everything
//! that was accepted is stored, and everything stored is settled.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::receivers::Running;
use hookbox_tools::Result;

/// How long the backlog may take to drain after the load before the run counts as failed.
const DRAIN: Duration = Duration::from_secs(120);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// How long plugins may take to be loaded.
const LOADING: Duration = Duration::from_secs(300);

/// A plugin that is meant not to load, so that its deliveries wait.
pub(super) const PARKED: &str = "parked";

/// Between two looks at the backlog.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Fewer looks than this say nothing about a backlog.
const MIN_LOOKS: usize = 5;

/// An answer of the admin API.
pub(super) fn ask(admin: &str, path: &str) -> Result<Value> {
    let url = format!("http://{admin}/api/v1/{path}");
    let fail = |error: ureq::Error| format!("{url}: {error}");
    ureq::get(&url)
        .config()
        .timeout_global(Some(ANSWER))
        .build()
        .call()
        .map_err(fail)?
        .body_mut()
        .read_json()
        .map_err(fail)
}

/// A metric of a host without labels, if it has it.
pub(super) fn metric(admin: &str, name: &str) -> Result<Option<f64>> {
    let url = format!("http://{admin}/metrics");
    let fail = |error: ureq::Error| format!("{url}: {error}");
    let text = ureq::get(&url).call().map_err(fail)?.body_mut().read_to_string().map_err(fail)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.map(|value| value.parse().map_err(|_| format!("{name} is {value}")));
    value.transpose()
}

/// Deliveries of one plugin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) done: u64,
    pub(super) dead: u64,
    /// Neither.
    pub(super) open: u64,
}

/// Counts of a host: events stored, and deliveries of `plugin`.
pub(super) fn counts(admin: &str, plugin: &str) -> Result<(u64, Counts)> {
    let stats = ask(admin, "stats")?;
    let stored = stats["events"].as_u64().ok_or(format!("no count of events: {stats}"))?;
    Ok((stored, Counts::of(&stats, plugin)))
}

impl Counts {
    fn of(stats: &Value, plugin: &str) -> Self {
        let of = |state: &str| stats["plugins"][plugin][state].as_u64().unwrap_or(0);
        Self {
            done: of("done"),
            dead: of("dead"),
            open: of("ready") + of("leased") + of("waiting"),
        }
    }
}

/// Waits until each of these plugins has settled so many deliveries with success. Returns
/// how many events are stored.
pub(super) fn until_done(admin: &str, wanted: &[(&str, u64)]) -> Result<u64> {
    let started = Instant::now();
    loop {
        let stats = ask(admin, "stats")?;
        let all: Vec<(Counts, u64)> =
            wanted.iter().map(|(plugin, count)| (Counts::of(&stats, plugin), *count)).collect();
        if all.iter().all(|(counts, count)| counts.done >= *count && counts.dead == 0) {
            return stats["events"].as_u64().ok_or(format!("no count of events: {stats}"));
        }
        let has_failed = all.iter().any(|(counts, _)| counts.dead > 0);
        if has_failed || started.elapsed() > DRAIN {
            return Err(format!("{wanted:?} deliveries should be settled: {}", stats["plugins"]));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing of `plugin` is open.
pub(super) fn drain(admin: &str, plugin: &str) -> Result<(u64, Counts)> {
    drain_to(admin, plugin, 0)
}

/// Waits until no more than `most` of `plugin` are open.
fn drain_to(admin: &str, plugin: &str, most: u64) -> Result<(u64, Counts)> {
    let started = Instant::now();
    loop {
        let (stored, counts) = counts(admin, plugin)?;
        if counts.open <= most {
            return Ok((stored, counts));
        }
        if started.elapsed() > DRAIN {
            return Err(format!("the backlog does not drain: {counts:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until every plugin is loaded, but for [`PARKED`].
pub(super) fn until_loaded(admin: &str) -> Result {
    let started = Instant::now();
    loop {
        let plugins = ask(admin, "plugins")?;
        let items = plugins["items"].as_array().ok_or(format!("no listing: {plugins}"))?;
        let mut wanted = items.iter().filter(|plugin| plugin["name"] != PARKED);
        if wanted.clone().all(|plugin| plugin["state"] == "loaded") {
            return Ok(());
        }
        if let Some(plugin) = wanted.find(|plugin| plugin["state"] == "failed") {
            return Err(format!("a plugin has failed: {plugin}"));
        }
        if started.elapsed() > LOADING {
            return Err(format!("not every plugin is loaded: {plugins}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A host's figures before a run, to be compared with those after it.
#[derive(Debug, Default)]
pub(super) struct Before {
    stored: u64,
    counts: Counts,
}

/// The effect of a run on a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    /// Requests that were answered with success.
    pub(super) accepted: u64,
    /// At most so many more may have been accepted, whose answers nobody waited for.
    pub(super) unread: u64,
    /// Events that the plugin returns for each; `None` if nothing is routed.
    pub(super) emits: Option<u64>,
}

impl Before {
    pub(super) fn look(host: &Running, plugin: &str) -> Result<Self> {
        let (stored, counts) = counts(host.admin()?, plugin)?;
        Ok(Self { stored, counts })
    }

    /// Waits for what the run has left open, if anything is routed, and checks that accepted =
    /// stored, and with a route that stored = settled, with success. Returns what was settled when
    /// it was called.
    pub(super) fn check(&self, host: &Running, plugin: &str, run: Accepted) -> Result<u64> {
        let (_, at_end) = counts(host.admin()?, plugin)?;
        let (stored, drained) = match run.emits {
            Some(_) => drain_to(host.admin()?, plugin, self.counts.open)?,
            None => counts(host.admin()?, plugin)?,
        };
        let (stored, done) = (stored - self.stored, drained.done - self.counts.done);
        let Accepted { accepted, unread, emits } = run;
        let each = 1 + emits.unwrap_or(0);
        if stored < accepted * each || stored > (accepted + unread) * each {
            return Err(format!(
                "{accepted} requests were accepted (at most {unread} more), each for {each} events, and {stored} are stored"
            ));
        }
        if emits.is_some() && (done * each != stored || drained.dead != self.counts.dead) {
            return Err(format!(
                "{stored} events are stored, {each} for each of {done} that are done: {drained:?}"
            ));
        }
        Ok(at_end.done - self.counts.done)
    }
}

/// Does `work` and looks each second at how much of `plugin` is open meanwhile.
pub(super) fn backlog<T>(
    admin: &str,
    plugin: &str,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<u64>)> {
    let (end, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let looking = scope.spawn(move || {
            let mut looks = Vec::new();
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
                looks.push(counts(admin, plugin)?.1.open);
            }
            Ok(looks)
        });
        let done = work();
        drop(end);
        let looks: Result<Vec<u64>> = looking.join().expect("looking does not panic");
        Ok((done?, looks?))
    })
}

/// How fast a backlog grows, as a share of what is accepted; `None` if the looks are too few to
/// say.
pub(super) fn growth(looks: &[u64], accepted_per_second: f64) -> Option<f64> {
    // The first second is the start.
    let looks = looks.get(1..).filter(|looks| looks.len() >= MIN_LOOKS)?;
    let middle = (looks.len() - 1) as f64 / 2.0;
    let offsets =
        || looks.iter().enumerate().map(|(second, open)| (second as f64 - middle, *open as f64));
    let slope =
        offsets().map(|(x, y)| x * y).sum::<f64>() / offsets().map(|(x, _)| x * x).sum::<f64>();
    Some(slope / accepted_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_grows_by_what_is_not_settled() {
        let stands = [900, 20, 500, 300, 10, 480, 30, 200];
        let grows: Vec<u64> = (0..10).map(|second| second * 500).collect();
        assert!(growth(&stands, 15_000.0).unwrap().abs() < 0.01);
        assert!((growth(&grows, 1_000.0).unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(growth(&grows[..4], 1_000.0), None);
    }
}
