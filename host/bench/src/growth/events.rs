//! Events that wait, and events that are stored.

use std::path::Path;
use std::time::{Duration, Instant};

use super::beside::{beside, fill, handler, routes};
use crate::figures::{Figure, Wanted};
use crate::neighbours::send_steadily;
use crate::receivers::{Receiver, Running};
use crate::requests::HANDLED;
use crate::watch::{PARKED, counts, until_loaded};
use hookbox_tools::{Result, say};

/// The type of those that wait, whose route leads to a plugin that cannot be loaded.
const WAITS: &str = "avatar_video.fail";

/// The rate, the memory and the start with `count` waiting.
pub(super) fn waiting(sites: &Path, seconds: u32, count: usize) -> Result<Vec<Figure>> {
    let site = sites.join("waiting");
    let config = format!("{}\"{WAITS}\" = \"{PARKED}\"\n", routes());
    let receiver = Receiver::hookbox(&site, &handler(), &config)?;
    let again = receiver.again();
    let broken = site.join(format!("plugins/{PARKED}.wat"));
    std::fs::write(&broken, "(component")
        .map_err(|error| format!("{}: {error}", broken.display()))?;
    let host = receiver.start()?;
    until_loaded(host.admin()?)?;
    fill(sites, &host, WAITS, count)?;
    let (stored, parked) = counts(host.admin()?, PARKED)?;
    if stored != count as u64 || parked.open != count as u64 {
        return Err(format!(
            "{count} events should be stored and wait: {stored} are stored, {parked:?}"
        ));
    }
    drop(host);
    let (host, first_ack_ms) = start(again)?;
    let what = format!("with {count} waiting");
    let started = Figure::new(
        format!("start to first ack {what}"),
        first_ack_ms,
        "ms",
        Wanted::AtMost(1000.0),
    );
    until_loaded(host.admin()?)?;
    let mut figures = beside(sites, &what, &host, seconds, count)?;
    figures.insert(0, started);
    Ok(figures)
}

/// The rate, the memory and the size of the file with `count` stored and settled.
pub(super) fn stored(sites: &Path, seconds: u32, count: usize) -> Result<Vec<Figure>> {
    let site = sites.join("stored");
    let receiver = Receiver::hookbox(&site, &handler(), &routes())?;
    let again = receiver.again();
    let host = receiver.start()?;
    until_loaded(host.admin()?)?;
    fill(sites, &host, HANDLED, count)?;
    // Ended in order, the log is in the file.
    drop(host);
    let database = site.join("data/hookbox.db");
    let bytes = std::fs::metadata(&database)
        .map_err(|error| format!("{}: {error}", database.display()))?
        .len() as f64;
    let (host, first_ack_ms) = start(again)?;
    until_loaded(host.admin()?)?;
    let what = format!("with {count} stored");
    let mut figures = vec![
        Figure::new(format!("the file {what}"), bytes / f64::from(1 << 20), "MiB", Wanted::Known),
        Figure::new("of it for each event", bytes / count as f64, "bytes", Wanted::Known),
        Figure::new(format!("start to first ack {what}"), first_ack_ms, "ms", Wanted::Known),
    ];
    figures.extend(beside(sites, &what, &host, seconds, count)?);
    Ok(figures)
}

/// Starts it: how many milliseconds until an event is acknowledged.
fn start(receiver: Receiver) -> Result<(Running, f64)> {
    say("starting again");
    let started = Instant::now();
    let host = receiver.start()?;
    // One event: the next would be due when it is over.
    let moment = Duration::from_millis(1);
    send_steadily(&host.url(), HANDLED, moment, moment)?;
    Ok((host, started.elapsed().as_secs_f64() * 1e3))
}
