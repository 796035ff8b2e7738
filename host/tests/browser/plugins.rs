//! Plugins: a file that is held, and what lets it in.

use super::driver::Browser;
use crate::support::{Host, ROUTE, SOURCE, Site, guest, wait_for};

/// The configuration that would grant the import of [`asking`].
const LINES: &str =
    "[plugins.worker]\nhttp = [{ host = \"api.example.com\", methods = [\"GET\"] }]";

/// The smallest plugin with an import that is not granted.
pub(super) fn asking(mark: u32) -> String {
    let text = String::from_utf8(guest("ok")).unwrap();
    let import = "(component (import \"wasi:http/outgoing-handler@0.2.0\" (instance))";
    format!("{}\n;; {mark}\n", text.replacen("(component", import, 1))
}

pub(super) fn hold(site: &Site, host: &Host, mark: u32) -> String {
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
    browser.open("/plugins");
    browser.until_text("#list", "a new file waits for approval, the old one runs");
    browser.open("/");
    browser.until_text(
        ".trouble",
        "a new file waits for approval: it asks for http; the old one runs",
    );
    browser.until_text("#nav", "Plugins 1 to approve");
    browser.until_text(".trouble", "it asks for http");
    browser.open("/plugins/worker");
    browser.until_text("#h-held", "waits to be approved");
    browser.until_text(".panel", "http");
    let panel = browser.text(".panel");
    // Both files with all of their imports, what is granted, and the line that would grant it.
    assert_eq!(panel.matches("hookbox:plugin/types@0.1.0").count(), 2, "{panel}");
    assert!(panel.contains("+ wasi:http/outgoing-handler@0.2.0"), "{panel}");
    assert!(panel.contains("granted\tnothing"), "{panel}");
    assert_eq!(browser.text(".panel pre"), LINES);
    assert!(panel.contains("Try it again"), "{panel}");
    browser.click_on("Let it in …");
    browser.until_at("/plugins/worker/approve");
    browser.until_text("main", "Granted by the configuration: nothing");
    browser.until_text("main", "Instead of an approval, http = [{ host");
    let second = hold(&site, &host, 2);
    browser.click("main form button");
    browser.until_text("main", "it is another file of plugin worker that waits");
    assert_ne!(host.plugin("worker")["digest"], second);
    browser.open("/plugins/worker");
    browser.click_on("Let it in …");
    browser.until_at("/plugins/worker/approve");
    browser.click("main form button");
    browser.until_at("/plugins/worker");
    wait_for("the file to run", || (host.plugin("worker")["digest"] == second).then_some(()));
    browser.end();
}

#[test]
fn the_lines_of_a_held_files_page_let_it_in_without_an_approval() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let held = hold(&site, &host, 1);
    let browser = Browser::on(&host);
    browser.open("/plugins/worker");
    let lines = browser.text(".panel pre");
    browser.click_on("Try it again");
    browser.until_at("/plugins/worker");
    browser.until_text("#h-held", "waits to be approved");
    assert_eq!(host.plugin("worker")["held"]["digest"], held, "reading it again changes nothing");
    site.put_config(&format!("{SOURCE}{ROUTE}{lines}\n"));
    wait_for("the file to run", || (host.plugin("worker")["digest"] == held).then_some(()));
    browser.until("no held file", "!document.querySelector('#h-held')");
    browser.until_text("#plugin", "https://api.example.com:443 GET");
    browser.end();
}

#[test]
fn a_pause_is_seen_on_three_pages_and_after_it_what_waited_runs() {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    let browser = Browser::on(&host);
    browser.open("/");
    browser.until_text("#h-trouble", "Nothing wants attention");
    let overview = browser.tab();
    let list = browser.open_tab("/plugins");
    browser.until_text("#list", "loaded");
    browser.open_tab("/plugins/worker");
    browser.click_on("Pause …");
    browser.until_at("/plugins/worker/pause");
    browser.fill("[name=reason]", "orders are down");
    browser.click("main form button");
    browser.until_at("/plugins/worker");
    let says = "orders are down";
    browser.until_text("#plugin", "Nothing of it is begun");
    assert!(browser.text("#plugin").contains(says));
    let own = browser.tab();
    for (tab, css) in [(&overview, ".trouble"), (&list, "#list tbody tr")] {
        browser.go_to_tab(tab);
        browser.until_text(css, says);
        assert!(browser.text(css).contains("aused by local"), "{}", browser.text(css));
    }
    let id = host.send("step.one", "order_1");
    assert_eq!(host.event(&id)["deliveries"][0]["state"], "ready");

    browser.go_to_tab(&own);
    browser.click_on("Let it go on …");
    browser.until_at("/plugins/worker/resume");
    browser.click("main form button");
    host.until_done(&id);
    browser.until_at("/plugins/worker");
    browser.until("no pause", "!document.querySelector('#h-paused')");
    browser.go_to_tab(&list);
    browser.until("no pause", "!document.querySelector('#list').innerText.includes('aused')");
    browser.go_to_tab(&overview);
    browser.until_text("#h-trouble", "Nothing wants attention");
    browser.end();
}
