//! Plugins: a file that is held, and what lets it in.

use super::driver::Browser;
use crate::support::{Host, Site, guest, wait_for};

/// The smallest plugin with an import that is not granted.
fn asking(mark: u32) -> String {
    let text = String::from_utf8(guest("ok")).unwrap();
    let import = "(component (import \"wasi:http/outgoing-handler@0.2.0\" (instance))";
    format!("{}\n;; {mark}\n", text.replacen("(component", import, 1))
}

fn hold(site: &Site, host: &Host, mark: u32) -> String {
    let before = host.plugin("worker")["held"]["digest"].clone();
    site.put_plugin("worker.wat", asking(mark).as_bytes());
    wait_for("the file to be held", || {
        let held = host.plugin("worker")["held"]["digest"].clone();
        (held != before).then(|| held.as_str().map(str::to_owned)).flatten()
    })
}

#[test]
fn a_held_file_shows_what_it_asks_for_and_another_file_meanwhile_is_a_conflict() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    hold(&site, &host, 1);
    let mut browser = Browser::on(&host);
    // The page of a conflict is answered with 409.
    browser.expect(&["409"]);
    browser.open("/plugins/worker");
    browser.until_text("#h-held", "waits to be approved");
    browser.until_text(".panel", "http");
    browser.click_on("Let it in …");
    let second = hold(&site, &host, 2);
    browser.click("main form button");
    browser.until_text("main", "it is another file of plugin `worker` that waits");
    assert_ne!(host.plugin("worker")["digest"], second);
    browser.open("/plugins/worker");
    browser.click_on("Let it in …");
    browser.click("main form button");
    browser.until_at("/plugins/worker");
    wait_for("the file to run", || (host.plugin("worker")["digest"] == second).then_some(()));
    browser.end();
}
