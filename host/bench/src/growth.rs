//! `cargo xtask bench --growth`: what becomes of the road when there is much of everything: events
//! that wait, also behind keys, events that are stored, plugins, routes, traces. Also how the pages
//! are then, and what they cost, and what a host takes that has nothing to do.

use std::path::Path;

use serde_json::Value;

use super::figures::{self, Figure};
use super::{Options, Scratch};
use hookbox_tools::{Result, install};

mod beside;
mod collector;
mod events;
mod idle;
mod operators;
mod pages;
mod plugins;

/// The measurement of one question.
type Part<'a> = &'a dyn Fn() -> Result<Vec<Figure>>;

/// Seconds of each load.
const SECONDS: u32 = 5;

/// Events that wait, and events stored.
const WAITING: usize = 1_000_000;
const STORED: usize = 1_000_000;

/// Measures and prints.
pub(super) fn bench(folder: &Path, options: &Options) -> Result {
    install("wrk")?;
    let scratch = Scratch::new(folder.join("growth"))?;
    let sites = &scratch.0;
    let seconds = options.seconds.unwrap_or(SECONDS);
    let waiting = options.waiting.map_or(WAITING, |count| count as usize);
    let stored = options.stored.map_or(STORED, |count| count as usize);
    let parts: [(&str, Part<'_>); 8] = [
        ("idle", &|| idle::measure(sites)),
        ("change", &|| plugins::change(sites)),
        ("plugins", &|| plugins::many(sites, seconds)),
        ("waiting", &|| events::waiting(sites, seconds, waiting)),
        ("keys", &|| events::behind_keys(sites, seconds, waiting)),
        ("stored", &|| events::stored(sites, seconds, stored)),
        ("collector", &|| collector::measure(sites, seconds)),
        ("pages", &|| pages::measure(sites, seconds, stored)),
    ];
    let mut figures = Vec::new();
    let wanted: Vec<_> = parts.into_iter().filter(|(name, _)| options.measures(name)).collect();
    options.left(&wanted)?;
    for (_, measure) in wanted {
        figures.extend(measure()?);
    }
    if options.json {
        println!("{}", Value::from(figures.iter().map(Figure::json).collect::<Vec<Value>>()));
    } else {
        figures::print(&figures);
    }
    Ok(())
}
