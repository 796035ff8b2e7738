//! Pictures of the pages for the README, of a host that works. `cargo xtask pictures` keeps them.

use std::path::PathBuf;

use hookbox::clock::Clock;

use super::driver::Browser;
use crate::support::{Host, SECRET, Site, agent, sign};

/// Keeps the pictures in this folder.
const KEPT: &str = "HOOKBOX_PICTURES";

/// The routes that the repository's own configuration has.
const CONFIG: &str = r#"name = "acme-prod"
[sources.heygen]
preset = "heygen"
secrets = [{ file = "secret" }]
[sources.shop]
secrets = [{ file = "secret" }]
verify = { scheme = "hmac-sha256", header = "X-Signature" }
type = { json = "/type" }
[routes]
"avatar_video.*" = "video-orders"
"order.**" = "audit"
"shop.order.*" = "audit"
[plugins.video-orders]
retry = { max_attempts = 5, initial = "2s", max = "1m", jitter = "none" }
"#;

/// The time of which the host has something to show, and its steps.
const STEPS: i64 = 50 * 6;
const STEP_MS: i64 = 10_000;

/// The step at which the outage begins.
const OUTAGE: i64 = STEPS - 60;

/// The most bytes of a picture.
const MAX_BYTES: u64 = 200 << 10;

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

#[test]
fn the_pictures_of_the_readme_show_a_host_that_works_and_are_small() {
    let files = ["video-orders.wasm", "audit.wasm"].map(|name| (name, plugin(name)));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, file)| (*name, &file[..])).collect();
    let site = Site::new(CONFIG, &files);
    site.put("secret", SECRET);
    let now_ms = Clock::system().now_ms();
    let clock = Clock::manual(now_ms - STEPS * STEP_MS);
    let host = Host::start_by(&site, &clock);
    host.until_plugin("video-orders", "loaded");
    let sender = Sender { agent: agent(), host: &host };
    for step in 0..STEPS {
        sender.step(step);
        host.none_in(&["ready", "leased"]);
        clock.set(now_ms - (STEPS - step - 1) * STEP_MS);
    }
    let first = host.api("/api/v1/events?subject=order_1001&type=avatar_video.success");
    let first = first["items"][0]["id"].as_str().unwrap().to_owned();
    let browser = Browser::on(&host);
    for theme in ["light", "dark"] {
        browser.show_as(1280, theme);
        browser.open("/");
        browser.until(
            "a curve",
            "/v-/.test(document.querySelector('.charts path')?.getAttribute('d'))",
        );
        keep(&browser, "overview", theme);
        browser.open(&format!("/events/{first}"));
        keep(&browser, "event", theme);
        browser.open("/map");
        browser.until("edges", "document.querySelectorAll('#map svg path').length > 3");
        keep(&browser, "map", theme);
    }
    browser.end();
}

/// A provider's side.
struct Sender<'h> {
    agent: ureq::Agent,
    host: &'h Host,
}

impl Sender<'_> {
    /// Sends what comes within ten seconds.
    fn step(&self, step: i64) {
        // More and less in the course of an hour.
        for part in 0..=(step / 12 * 7 % 5) {
            let order = step * 10 + part;
            let kind = if order % 14 == 0 { "avatar_video.fail" } else { "avatar_video.success" };
            let outage = step >= OUTAGE && order % 9 == 0;
            let simulated = if outage { r#","simulate":"outage""# } else { "" };
            let body = format!(
                r#"{{"event_type":"{kind}","event_data":{{"video_id":"v{order}","url":"https://files.example.com/v{order}.mp4","callback_id":"order_{order}"{simulated}}}}}"#
            );
            self.post("heygen", "heygen-signature", &body, &sign(body.as_bytes()), 200);
        }
        if step % 3 == 0 {
            let body = format!(r#"{{"type":"shop.order.paid","number":{step}}}"#);
            self.post("shop", "x-signature", &body, &sign(body.as_bytes()), 200);
        }
        if step % 8 == 0 && step > OUTAGE {
            let body = r#"{"type":"shop.order.paid"}"#;
            self.post("shop", "x-signature", body, &sign(b"another body"), 401);
        }
    }

    fn post(&self, source: &str, header: &str, body: &str, signature: &str, status: u16) {
        let request = self.agent.post(format!("{}/webhook/{source}", self.host.public_url));
        let request = request.header("content-type", "application/json");
        let answer = request.header(header, signature).send(body).unwrap();
        assert_eq!(answer.status(), status, "{body}");
    }
}

fn keep(browser: &Browser, name: &str, theme: &str) {
    let path = folder().join(format!("{name}-{theme}.png"));
    browser.picture(&path).unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes > 0 && bytes <= MAX_BYTES, "{} has {bytes} bytes", path.display());
}
