//! Many plugins, many routes, and a plugin that changes.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::beside::{Pair, beside, empty as empty_host, handler, routes};
use crate::figures::{Figure, Wanted};
use crate::neighbours::send_steadily;
use crate::process::resident_mib;
use crate::receivers::{Receiver, Running, empty, plugin};
use crate::requests::HANDLED;
use crate::watch::{ask, drain, until_loaded};
use hookbox_tools::{Result, root, say};

/// Small components, each another file.
const PLUGINS: usize = 500;

/// Routes, all that a file can have: one leads to the handler, the others to these.
const ROUTES: usize = 1_000;

/// The difference between them: where the guest's free memory begins.
const CONSTANT: &str = "(i32.const 4096)";

/// How often a plugin is changed.
const CHANGES: u8 = 3;

/// Between two events while it is.
const EVERY: Duration = Duration::from_millis(8);

/// How long they are sent: no more than are on one page of the listing.
const SENT: Duration = Duration::from_secs(3);
const PAGE: usize = 500;

/// Start, memory and rate with 500 plugins and 1,000 routes.
pub(super) fn many(sites: &Path, seconds: u32) -> Result<Vec<Figure>> {
    let site = sites.join("many");
    empty(&site)?;
    let mut config = routes();
    config.extend(
        (1..ROUTES).map(|route| format!("\"bench.r{route}.*\" = \"p{}\"\n", route % PLUGINS)),
    );
    let receiver = Receiver::hookbox(&site, &handler(), &config)?;
    let source = root().join("host/tests/guests/ok.wat");
    let text = std::fs::read_to_string(&source)
        .map_err(|error| format!("{}: {error}", source.display()))?;
    if !text.contains(CONSTANT) {
        return Err(format!("{} has no {CONSTANT} to change", source.display()));
    }
    for number in 0..PLUGINS {
        let file = site.join(format!("plugins/p{number}.wat"));
        let other = text.replace(CONSTANT, &format!("(i32.const {})", 4096 + 8 * number));
        std::fs::write(&file, other).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let again = receiver.again();
    say("compiling 500 plugins");
    let (host, first_ms) = start(receiver)?;
    drop(host);
    let (host, second_ms) = start(again)?;
    let mut figures = vec![
        Figure::new("500 plugins loaded after a first start", first_ms, "ms", Wanted::Known),
        Figure::new("500 plugins loaded after a second start", second_ms, "ms", Wanted::Known),
        Figure::new("memory with 500 plugins", resident_mib(host.pid())?, "MiB", Wanted::Known),
    ];
    let other = empty_host(sites)?;
    let pair = Pair::with("with 500 plugins and 1,000 routes", &host, &other);
    figures.extend(beside(sites, &pair, seconds, 0)?);
    Ok(figures)
}

/// Starts it: how many milliseconds until every plugin is loaded.
fn start(receiver: Receiver) -> Result<(Running, f64)> {
    let started = Instant::now();
    let host = receiver.start()?;
    until_loaded(host.admin()?)?;
    Ok((host, started.elapsed().as_secs_f64() * 1e3))
}

/// How long it takes from a changed file to the first event on it, under 125 events a second.
pub(super) fn change(sites: &Path) -> Result<Vec<Figure>> {
    let site = sites.join("change");
    empty(&site)?;
    let file = plugin("hello-rust.wasm");
    let config = format!("[routes]\n\"{HANDLED}\" = \"hello\"\n");
    let host = Receiver::hookbox(&site, &[("hello.wasm", file.clone())], &config)?.start()?;
    let (admin, url) = (host.admin()?, host.url());
    until_loaded(admin)?;
    let component = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut slowest_ms: f64 = 0.0;
    for number in 0..CHANGES {
        say(&format!("changing a plugin: {} of {CHANGES}", number + 1));
        let changed = std::thread::scope(|scope| {
            let sender = scope.spawn(|| send_steadily(&url, HANDLED, EVERY, SENT));
            std::thread::sleep(SENT / 4);
            // A custom section without a name and with one byte makes it another file.
            let other = [&component[..], &[0, 2, 0, number]].concat();
            let written = std::fs::write(site.join("hello.new"), other);
            let changed = Timestamp::now();
            let renamed = written.and_then(|()| {
                std::fs::rename(site.join("hello.new"), site.join("plugins/hello.wasm"))
            });
            renamed.map_err(|error| format!("failed to change a plugin: {error}"))?;
            sender.join().expect("a sender does not panic").map(|_| changed)
        })?;
        drain(admin, "hello")?;
        slowest_ms = slowest_ms.max(first_on_it(admin, changed)?);
    }
    let name = format!("a changed Rust plugin to the first event on it, slowest of {CHANGES}");
    Ok(vec![Figure::new(name, slowest_ms, "ms", Wanted::AtMost(400.0))])
}

/// Milliseconds from the change to the start of the first attempt of the file that is loaded now.
fn first_on_it(admin: &str, changed: Timestamp) -> Result<f64> {
    let digest = ask(admin, "plugins/hello")?["digest"].clone();
    let page = ask(admin, &format!("deliveries?plugin=hello&limit={PAGE}"))?;
    let rows = page["items"].as_array().ok_or(format!("no listing: {page}"))?;
    let started =
        |row: &Value| row["attempts"][0]["started_at"].as_str().and_then(|text| text.parse().ok());
    let on_it = rows.iter().filter(|row| row["attempts"][0]["plugin_digest"] == digest);
    let first: Option<Timestamp> = on_it.filter_map(started).min();
    let first = first.ok_or(format!("no attempt ran {digest}"))?;
    let ms = (first.as_microsecond() - changed.as_microsecond()) as f64 / 1e3;
    // Before the change there was another file, so an attempt from then means that this one was not
    // taken up.
    if ms < 0.0 {
        Err(format!("the changed file was not loaded: {digest} ran before"))
    } else {
        Ok(ms)
    }
}
