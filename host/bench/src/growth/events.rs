//! Events that wait, events that wait behind keys, and events that are stored.

use std::path::Path;
use std::time::{Duration, Instant};

use super::beside::{Pair, beside, empty, fill, filling, handler, routes};
use crate::figures::{Figure, Wanted};
use crate::neighbours::send_steadily;
use crate::receivers::{Receiver, Running};
use crate::requests::{HANDLED, Subjects};
use crate::rows::PLUGIN;
use crate::watch::{PARKED, counts, until_loaded};
use hookbox_tools::{Result, root, say};

/// The type of those that wait, whose route leads to a plugin that cannot be loaded.
const WAITS: &str = "avatar_video.fail";

/// The keys behind which events wait, each held by a dead letter.
const HELD_KEYS: usize = 10;

/// How long the first of each key may take to become a dead letter.
const PATIENCE: Duration = Duration::from_secs(30);

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
    fill(sites, &host, filling(WAITS, Subjects::Own, 0, count), false)?;
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
    let mut figures = beside(sites, &Pair::with(what, &host, &empty(sites)?), seconds, count)?;
    figures.insert(0, started);
    Ok(figures)
}

/// The rate of other keys of one plugin, the memory and the start with `count` behind a few keys.
///
/// A large store has its price, which is the figure of another part. So the other host has as many
/// events, and no delivery of them.
pub(super) fn behind_keys(sites: &Path, seconds: u32, count: usize) -> Result<Vec<Figure>> {
    let config = format!(
        "{}[plugins.{PLUGIN}]\nkey = \"subject\"\non_dead = \"hold\"\nmax_waiting_per_key = 1_000_000\n",
        routes()
    );
    let (held, unrouted) = (held(sites, &config, count)?, unrouted(sites, &config, count)?);
    let (other, _) = start(unrouted)?;
    until_loaded(other.admin()?)?;
    let (full, first_ack_ms) = start(held)?;
    until_loaded(full.admin()?)?;
    let what = format!("with {count} waiting behind {HELD_KEYS} other keys");
    let started = Figure::new(
        format!("start to first ack {what}"),
        first_ack_ms,
        "ms",
        Wanted::AtMost(1000.0),
    );
    let without = format!("with {count} events and nothing waiting");
    let pair = Pair { full: &full, what, other: &other, without, least: 0.95 };
    let mut figures = beside(sites, &pair, seconds, count + HELD_KEYS)?;
    figures.insert(0, started);
    Ok(figures)
}

/// A host with `count` deliveries behind keys that dead letters hold.
fn held(sites: &Path, config: &str, count: usize) -> Result<Receiver> {
    let site = sites.join("keys");
    // At first the plugin refuses everything.
    let refusing = [("handler.wat", root().join("host/tests/guests/reject.wat"))];
    let receiver = Receiver::hookbox(&site, &refusing, config)?;
    let again = receiver.again();
    let host = receiver.start()?;
    until_loaded(host.admin()?)?;
    let among = Subjects::Among(HELD_KEYS);
    fill(sites, &host, filling(HANDLED, among, 0, HELD_KEYS), false)?;
    until_dead(host.admin()?, PLUGIN, HELD_KEYS as u64)?;
    fill(sites, &host, filling(HANDLED, among, HELD_KEYS, count), false)?;
    let (_, behind) = counts(host.admin()?, PLUGIN)?;
    if (behind.open, behind.dead) != (count as u64, HELD_KEYS as u64) {
        return Err(format!("{count} deliveries should wait behind {HELD_KEYS} keys: {behind:?}"));
    }
    drop(host);
    let replace = || {
        std::fs::remove_file(site.join("plugins/handler.wat"))?;
        let [(name, file)] = handler();
        std::fs::copy(file, site.join("plugins").join(name))
    };
    replace().map_err(|error| format!("failed to replace the plugin: {error}"))?;
    Ok(again)
}

/// The same host with as many events that no route takes.
fn unrouted(sites: &Path, config: &str, count: usize) -> Result<Receiver> {
    let receiver = Receiver::hookbox(&sites.join("unrouted"), &handler(), config)?;
    let again = receiver.again();
    let host = receiver.start()?;
    until_loaded(host.admin()?)?;
    let among = Subjects::Among(HELD_KEYS);
    fill(sites, &host, filling(WAITS, among, 0, count + HELD_KEYS), false)?;
    Ok(again)
}

/// Waits until `plugin` has so many dead letters.
pub(super) fn until_dead(admin: &str, plugin: &str, count: u64) -> Result {
    let started = Instant::now();
    loop {
        let (_, of) = counts(admin, plugin)?;
        if of.dead == count && of.open == 0 {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("{count} dead letters of {plugin} are wanted: {of:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The rate, the memory and the size of the file with `count` stored and settled.
pub(super) fn stored(sites: &Path, seconds: u32, count: usize) -> Result<Vec<Figure>> {
    let site = sites.join("stored");
    let receiver = Receiver::hookbox(&site, &handler(), &routes())?;
    let again = receiver.again();
    let host = receiver.start()?;
    until_loaded(host.admin()?)?;
    fill(sites, &host, filling(HANDLED, Subjects::Own, 0, count), true)?;
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
    figures.extend(beside(sites, &Pair::with(what, &host, &empty(sites)?), seconds, count)?);
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
