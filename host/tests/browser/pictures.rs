//! Pictures of the pages for the README, of a host that works. `cargo xtask pictures` keeps them.

use std::path::PathBuf;

use super::driver::Browser;
use crate::support::{Host, Site, wait_for};

/// Keeps the pictures in this folder.
const KEPT: &str = "HOOKBOX_PICTURES";

/// The routes that the repository's own configuration has.
const CONFIG: &str = r#"name = "acme-prod"
[sources.heygen]
preset = "heygen"
secrets = [{ env = "TEST_SECRET" }]
[routes]
"avatar_video.*" = "video-orders"
"order.**" = "audit"
"#;

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
    let host = Host::start(&site);
    let send = |kind: &str, more: &[&str]| {
        let url = host.public_url.clone();
        let ran = site.run(&[&["send", "heygen", kind, "--url", &url], more].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
    };
    for n in 0..24 {
        let order = format!("event_data.callback_id=order_{n}");
        send("avatar_video.success", &["--set", &order]);
    }
    send("avatar_video.fail", &["--count", "3"]);
    send("video_translate.success", &[]);
    let outage =
        ["--set", "event_data.callback_id=order_42", "--set", "event_data.simulate=outage"];
    send("avatar_video.success", &outage);
    wait_for("three attempts", || {
        let page = host.api("/api/v1/deliveries?subject=order_42");
        (page["items"][0]["attempt"].as_u64()? >= 3).then_some(())
    });
    let first = host.api("/api/v1/events?subject=order_7&source=heygen");
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

fn keep(browser: &Browser, name: &str, theme: &str) {
    let path = folder().join(format!("{name}-{theme}.png"));
    browser.picture(&path).unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes > 0 && bytes <= MAX_BYTES, "{} has {bytes} bytes", path.display());
}
