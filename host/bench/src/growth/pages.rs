//! Pages of a host with much in its store: the time and the size of each, the price of open ones
//! for the road, and what an idle host takes with one open.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::beside::{fill, filling, handler, share, signed_for};
use super::events::until_dead;
use super::idle;
use super::operators::Operators;
use crate::figures::{Figure, Wanted};
use crate::receivers::Receiver;
use crate::requests::{HANDLED, Subjects, subject};
use crate::rows::PLUGIN;
use crate::watch::{ask, until_loaded};
use hookbox_tools::{Result, root, say};

/// A plugin that refuses each of its events, and their type.
const REFUSES: &str = "refuses";
const REFUSED: &str = "avatar_video.fail";

/// Its dead letters.
const DEAD: usize = 5_000;

/// How often each page is asked for, after the first time.
const TIMES: usize = 20;

/// Keys in the bucket of the plugin, and the value of each.
const KEYS: usize = 500;
const VALUE: &str = "{\"state\":\"paid\"}";

/// The size and the time of a page, at most.
const MOST_KIB: f64 = 100.0;
const MOST_MS: f64 = 100.0;

/// Asks for every page, then measures the road with and without people who look.
pub(super) fn measure(sites: &Path, seconds: u32, count: usize) -> Result<Vec<Figure>> {
    let [(name, file)] = handler();
    let plugins = [(name, file), ("refuses.wat", root().join("host/tests/guests/reject.wat"))];
    let routes = format!("[routes]\n\"{HANDLED}\" = \"{PLUGIN}\"\n\"{REFUSED}\" = \"{REFUSES}\"\n");
    let host = Receiver::hookbox(&sites.join("pages"), &plugins, &routes)?.start()?;
    let admin = host.admin()?;
    until_loaded(admin)?;
    fill(sites, &host, filling(REFUSED, Subjects::Own, 0, DEAD), false)?;
    until_dead(admin, REFUSES, DEAD as u64)?;
    fill(sites, &host, filling(HANDLED, Subjects::Own, DEAD, count), true)?;

    let mut figures = Vec::new();
    for path in paths(admin, count)? {
        say(&format!("asking for {path}"));
        let (ms, kib) = look(admin, &path)?;
        let name = without_id(&path);
        figures.push(Figure::new(format!("{name}, median"), ms, "ms", Wanted::AtMost(MOST_MS)));
        figures.push(Figure::new(format!("{name}, size"), kib, "KiB", Wanted::AtMost(MOST_KIB)));
    }

    let first = DEAD + count;
    let open = || Operators::look(admin, Some(Duration::from_secs(1)));
    let greedy = || Operators::look(admin, None);
    let what = "with 16 open pages and a client that lists each second";
    let wanted = Wanted::AtLeast(0.97);
    figures.extend(share(sites, &host, seconds, first, (what, &open, wanted))?);
    let first = first + signed_for(seconds);
    let what = "with 16 open pages and a client that lists in a loop";
    figures.extend(share(sites, &host, seconds, first, (what, &greedy, Wanted::Known))?);

    let one = Operators::one(admin);
    let idle = idle::cpu_percent(&host)?;
    one.end()?;
    let name = format!("CPU, idle, a page open, {count} stored");
    figures.push(Figure::new(name, idle, "% of a core", Wanted::AtMost(0.1)));
    Ok(figures)
}

/// A page of every kind, and those whose search looks at many rows.
fn paths(admin: &str, count: usize) -> Result<Vec<String>> {
    let id = |listing: &str| {
        let items = ask(admin, listing)?;
        let id = items["items"][0]["id"].as_str().map(str::to_owned);
        id.ok_or(format!("{listing} lists nothing: {items}"))
    };
    let (event, failure) = (id("events?limit=1")?, id("failures")?);
    let dead = ask(admin, "deliveries?state=dead&limit=1")?;
    let dead = dead["items"][0]["event_id"].as_str().ok_or(format!("no dead letter: {dead}"))?;
    let fixed = [
        "/",
        "/?window=14d",
        "/events",
        "/events?q=occurs_nowhere",
        "/events?type=avatar_video.*",
        "/failures",
        "/deliveries",
        "/deliveries?state=dead",
        "/deliveries?plugin=handler",
        "/map",
        "/plugins",
        "/plugins/refuses",
        "/sources",
        "/sources/heygen",
        "/joins",
        "/schedules",
        "/kv",
        "/kv/handler",
        "/kv/handler/value?key=key_100",
        "/operations",
        "/settings",
        "/settings/audit",
        "/settings/tokens",
        "/settings/hosts",
        "/settings/about",
        "/find?q=occurs_nowhere",
    ];
    for n in 0..KEYS {
        put(admin, &format!("kv/{PLUGIN}/value?key=key_{n}&force=true"), VALUE)?;
    }
    let planned = plan(admin, &failure)?;
    let mut paths: Vec<String> = fixed.map(str::to_owned).into();
    // The oldest of all, by its subject.
    paths.push(format!("/events?subject={}", subject(DEAD)));
    paths.push(format!("/events?subject={}", subject(DEAD + count - 1)));
    paths.push(format!("/events/{event}"));
    paths.push(format!("/events/{dead}"));
    paths.push(format!("/events/{event}/edit"));
    paths.push(format!("/failures/{failure}"));
    paths.push(format!("/operations/new?action=retry&failure={failure}"));
    paths.push(format!("/operations/{planned}"));
    Ok(paths)
}

/// A path of a page with the word ID for the identifier in it.
fn without_id(path: &str) -> String {
    let at =
        |prefix: &str| ["/", "="].iter().find_map(|mark| path.find(&format!("{mark}{prefix}")));
    let Some(before) = ["evt_", "op_", "f_"].into_iter().find_map(at) else {
        return path.to_owned();
    };
    let begin = before + 1;
    let end = path[begin..].find('/').map_or(path.len(), |length| begin + length);
    format!("{}ID{}", &path[..begin], &path[end..])
}

/// Sets a value.
fn put(admin: &str, path: &str, value: &str) -> Result {
    let url = format!("http://{admin}/api/v1/{path}");
    ureq::put(&url).send(value).map(|_| ()).map_err(|error| format!("{url}: {error}"))
}

/// An operation that would retry the dead letters of a group, and is not started. Its id.
fn plan(admin: &str, failure: &str) -> Result<String> {
    let url = format!("http://{admin}/api/v1/operations");
    let fail = |error: ureq::Error| format!("{url}: {error}");
    let wanted = json!({ "action": "retry", "failure": failure });
    let mut answer = ureq::post(&url).send_json(wanted).map_err(fail)?;
    let planned: Value = answer.body_mut().read_json().map_err(fail)?;
    planned["id"].as_str().map(str::to_owned).ok_or(format!("{url}: {planned}"))
}

/// The median time in milliseconds from the request to the last byte, and the size in KiB.
fn look(admin: &str, path: &str) -> Result<(f64, f64)> {
    let agent = ureq::agent();
    let url = format!("http://{admin}{path}");
    let fail = |error: ureq::Error| format!("{url}: {error}");
    let mut times = Vec::new();
    let mut size = 0;
    for _ in 0..=TIMES {
        let begun = Instant::now();
        let mut answer = agent.get(&url).header("accept", "text/html").call().map_err(fail)?;
        size = answer.body_mut().read_to_vec().map_err(fail)?.len();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let rest = &mut times[1..];
    rest.sort_by(f64::total_cmp);
    Ok((rest[TIMES / 2], size as f64 / 1024.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_without_the_identifier_in_its_path() {
        assert_eq!(without_id("/events/evt_01/edit"), "/events/ID/edit");
        assert_eq!(without_id("/operations/op_01"), "/operations/ID");
        assert_eq!(without_id("/failures/f_01"), "/failures/ID");
        let planned = without_id("/operations/new?action=retry&failure=f_01");
        assert_eq!(planned, "/operations/new?action=retry&failure=ID");
        assert_eq!(without_id("/events?q=x"), "/events?q=x");
    }
}
