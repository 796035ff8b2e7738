//! Pictures of the pages for the README, of a host with an hour behind it. `cargo xtask pictures`
//! keeps them.
//!
//! The hour goes by on a clock that is moved by hand. There are three sources and two plugins. An
//! API is out of order from minute 20 to 35, refusals come near the end, and a file waits to be
//! approved.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use hookbox::clock::Clock;
use hookbox::series::{OwnerKind, STEP_MS, Series, SeriesOwner};
use sha2::Sha256;

use super::driver::Browser;
use crate::support::{Host, Site, agent, wait_for};

/// Keeps the pictures in this folder.
const KEPT: &str = "HOOKBOX_PICTURES";

/// The most bytes of a picture.
const MAX_BYTES: u64 = 200 << 10;

const MINUTE_MS: i64 = 60_000;

/// The keys of the sources: name of the file, and what is in it.
const KEYS: [(&str, &str); 3] = [
    ("heygen.new", "whsec_of_this_year_for_the_pictures"),
    ("heygen.old", "whsec_of_last_year_for_the_pictures"),
    ("shop.key", "whsec_of_the_shop_for_the_pictures"),
];

fn config(api: u16) -> String {
    let own = "verify = { scheme = \"hmac-sha256\", header = \"X-Signature\", encoding = \"hex\", signed = \"{body}\" }\n\
         secrets = [{ file = \"shop.key\" }]\ntype = { json = \"/type\" }\nid = { json = \"/id\" }\n\
         subject = { json = \"/order\" }\n";
    format!(
        "name = \"acme-prod\"\n\
         [sources.heygen]\npreset = \"heygen\"\n\
         secrets = [{{ file = \"heygen.new\" }}, {{ file = \"heygen.old\" }}]\n\
         [sources.shop]\n{own}[sources.crm]\n{own}\
         [routes]\n\"avatar_video.*\" = \"video-details\"\n\"video.details\" = \"audit\"\n\
         \"order.**\" = \"audit\"\n\
         [plugins.video-details]\nconfig = {{ api = \"http://127.0.0.1:{api}\" }}\n\
         http = [{{ scheme = \"http\", host = \"127.0.0.1\", port = {api}, private = true }}]\n\
         retry = {{ max_attempts = 6, initial = \"20s\", max = \"4m\" }}\n\
         breaker = {{ failures = 1000 }}\n"
    )
}

/// A plugin as the repository has it.
fn plugin(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where the pictures go: into the repository if that is asked for.
fn folder() -> PathBuf {
    let kept = std::env::var_os(KEPT).map(PathBuf::from);
    kept.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")))
}

/// A stand-in for the API of which `video-details` asks: its port. It lives as long as the process.
pub(super) fn api(is_out: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let (status, body) = match is_out.load(Ordering::SeqCst) {
                true => ("503 Service Unavailable", ""),
                false => ("200 OK", r#"{"data":{"status":"completed","duration":45.2}}"#),
            };
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close");
            // A plugin that has gone is none of its business.
            let _ = write!(stream, "{head}\r\n\r\n{body}");
        }
    });
    port
}

/// An hour of a host.
struct Hour {
    host: Host,
    series: Arc<Series>,
    clock: Clock,
    begun_ms: i64,
    is_out: Arc<AtomicBool>,
    agent: ureq::Agent,
    sent: u32,
}

impl Hour {
    fn begin(site: &Site, is_out: Arc<AtomicBool>) -> Self {
        let clock = Clock::manual(Clock::system().now_ms() - 60 * MINUTE_MS);
        let (host, series) = Host::start_measured_by(site, &clock);
        let begun_ms = clock.now_ms();
        Self { host, series, clock, begun_ms, is_out, agent: agent(), sent: 0 }
    }

    /// Posts a body that is signed with a key; the status.
    fn post(&mut self, source: &str, key: &str, body: &str) -> u16 {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let header = if source == "heygen" { "heygen-signature" } else { "x-signature" };
        let url = format!("{}/webhook/{source}", self.host.public_url);
        let request = self.agent.post(url).header("content-type", "application/json");
        let request = request.header(header, signature);
        request.header("heygen-event-id", self.sent.to_string()).send(body).unwrap().status().into()
    }

    /// A video of an order.
    fn video(&mut self, kind: &str, key: &str) {
        self.sent += 1;
        let (n, files) = (self.sent, "https://files.example.com/video");
        let body = format!(
            r#"{{"event_type":"{kind}","event_data":{{"video_id":"v{n:05}","url":"{files}/v{n:05}.mp4","duration":45.2,"callback_id":"order_{n}"}}}}"#
        );
        assert_eq!(self.post("heygen", key, &body), 200);
    }

    /// An event of the shop or of the customers, which may come twice.
    fn own(&mut self, source: &str, kind: &str, times: usize) {
        self.sent += 1;
        let n = self.sent;
        let body = format!(r#"{{"type":"{kind}","id":"{source}-{n}","order":"order_{n}"}}"#);
        for _ in 0..times {
            assert_eq!(self.post(source, KEYS[2].1, &body), 200);
        }
    }

    /// Sends what comes in a step, and lets its time go by.
    fn step(&mut self, step: u32, step_ms: i64) {
        let passed_ms = self.clock.now_ms() - self.begun_ms;
        let minute = passed_ms / MINUTE_MS;
        let wave = 1.0 + (passed_ms as f64 / 290_000.0).sin();
        self.is_out.store((20..35).contains(&minute), Ordering::SeqCst);
        // It is signed with the old key until the provider knows the new one.
        let key = KEYS[usize::from(minute < 12)].1;
        self.video("avatar_video.success", key);
        if step.is_multiple_of(15) {
            self.video("avatar_video.fail", key);
        }
        for n in 0..1 + (wave * 1.9) as u32 {
            let kind = if n % 2 == 1 { "order.paid" } else { "order.created" };
            self.own("shop", kind, if step % 11 == 3 { 2 } else { 1 });
        }
        if step.is_multiple_of(3) {
            let kind = if step.is_multiple_of(15) { "contact.updated" } else { "order.note.added" };
            self.own("crm", kind, 1);
        }
        if (53..56).contains(&minute) {
            let refused = self.post("crm", "another key", r#"{"type":"order.note.added"}"#);
            assert_eq!(refused, 401);
        }
        self.host.none_in(&["ready", "leased"]);
        let end_ms = self.clock.now_ms() + step_ms;
        self.clock.set(end_ms);
        let all = SeriesOwner { kind: OwnerKind::Source, name: None };
        wait_for("a sample", || {
            let newest = self.series.window(&all).last().copied();
            newest.filter(|sampled| sampled.at_ms >= end_ms)
        });
    }

    /// Lets the hour go by: in steps of half a minute, and at the end in those of the host.
    fn pass(&mut self) {
        (0..114).for_each(|step| self.step(step, MINUTE_MS / 2));
        (114..132).for_each(|step| self.step(step, STEP_MS));
    }
}

/// The event of a video whose details came after the API was back.
fn repaired(host: &Host) -> String {
    let path = "/api/v1/deliveries?plugin=video-details&state=done&min_attempts=4";
    let found = host.api(path);
    found["items"][0]["event_id"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
}

#[test]
fn the_pictures_of_the_readme_show_a_host_that_works_and_are_small() {
    let files = ["video-details.wasm", "audit.wasm"].map(|name| (name, plugin(name)));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, file)| (*name, &file[..])).collect();
    let is_out = Arc::<AtomicBool>::default();
    let site = Site::new(&config(api(is_out.clone())), &files);
    KEYS.iter().for_each(|(name, key)| site.put(name, key));
    let mut hour = Hour::begin(&site, is_out);
    for plugin in ["video-details", "audit"] {
        hour.host.until_plugin(plugin, "loaded");
    }
    hour.pass();
    // A file that asks for more than the one that runs.
    site.put_plugin("audit.wasm", &plugin("video-details.wasm"));
    wait_for("the file to be held", || {
        (!hour.host.plugin("audit")["held"].is_null()).then_some(())
    });
    assert!(hour.host.count("dead") > 0, "what was out for too long is dead");
    let event = repaired(&hour.host);
    let browser = Browser::on(&hour.host);
    for theme in ["light", "dark"] {
        browser.show_as(1280, theme);
        browser.open("/");
        // Points would be beside each other; what was measured for an hour is a line.
        browser.until(
            "curves",
            "[...document.querySelectorAll('.charts path.line')]
               .every((it) => it.getAttribute('d').split('h').length > 50)",
        );
        keep(&browser, "overview", theme);
        browser.open(&format!("/events/{event}"));
        keep(&browser, "event", theme);
        browser.open("/map");
        browser.until("edges", "document.querySelectorAll('#map svg.map path').length > 3");
        let is_whole = browser.eval(
            "((it) => it.scrollWidth <= it.clientWidth)(document.querySelector('#map .whole'))",
        );
        assert_eq!(is_whole, true, "the map is seen without scrolling");
        keep(&browser, "map", theme);
    }
    browser.end();
}

fn keep(browser: &Browser, name: &str, theme: &str) {
    let small = browser.eval(
        "[...document.querySelectorAll('main *')]
           .filter((it) => !it.childElementCount && it.textContent.trim()
             && parseFloat(getComputedStyle(it).fontSize) < 11)
           .map((it) => it.outerHTML.slice(0, 80))",
    );
    assert_eq!(small, serde_json::json!([]), "{name}: text below 11 px");
    let path = folder().join(format!("{name}-{theme}.png"));
    browser.picture(&path).unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes > 0 && bytes <= MAX_BYTES, "{} has {bytes} bytes", path.display());
}
