//! The list of events and one event.

use serde_json::json;

use super::driver::Browser;
use super::{rejecting, until_count};
use crate::support::{Host, Senders, Site, body, guest};

fn working() -> (Site, Host) {
    let site = Site::of_worker(&guest("ok"), "");
    let host = Host::start(&site);
    (site, host)
}

#[test]
fn a_live_list_adds_what_comes_and_says_how_many_are_new_while_it_is_pointed_at() {
    let (_site, host) = working();
    host.send("step.one", "order_0");
    let browser = Browser::on(&host);
    browser.open("/events");
    browser.until_text("hb-live", "live ◉");
    host.send("step.one", "order_1");
    browser.until_text("#list tbody", "order_1");
    browser.point_at("#list tbody tr");
    host.send("step.one", "order_2");
    browser.until_text("#new-rows", "1 new");
    assert!(!browser.text("#list tbody").contains("order_2"));
    browser.point_at("h1");
    host.send("step.one", "order_3");
    browser.until_text("#list tbody", "order_2");
    browser.until_text("#list tbody", "order_3");
    browser.end();
}

#[test]
fn a_live_list_rests_while_a_row_is_selected_it_is_scrolled_or_l_was_pressed() {
    let (_site, host) = working();
    for n in 0..60 {
        host.send("step.one", format!("order_{n}"));
    }
    let browser = Browser::on(&host);
    browser.open("/events");
    browser.until_text("hb-live", "live ◉");
    browser.until_text("#list tbody", "order_59");
    browser.press("j");
    host.send("step.one", "while_selected");
    browser
        .until_text("#new-rows", "1 new (shown when nothing is pointed at, selected or scrolled)");
    assert_eq!(browser.count("tr[aria-selected=true]"), 1);
    assert!(!browser.text("#list tbody").contains("while_selected"));
    browser.reload();
    browser.until_text("#list tbody", "while_selected");
    browser.until_text("hb-live", "live ◉");
    browser.eval("scrollTo(0, 500)");
    host.send("step.one", "while_scrolled");
    browser.until_text("#new-rows", "1 new");
    assert!(!browser.text("#list tbody").contains("while_scrolled"));
    browser.eval("scrollTo(0, 0)");
    host.send("step.one", "at_the_top");
    browser.until_text("#list tbody", "at_the_top");
    browser.until_text("#list tbody", "while_scrolled");
    browser.press("l");
    browser.until_text("hb-live", "off");
    host.send("step.one", "while_off");
    until_count(&host, "done", 64);
    assert!(!browser.text("main").contains("while_off"));
    browser.press("l");
    browser.until_text("#list tbody", "while_off");
    browser.end();
}

#[test]
fn a_list_of_deliveries_follows_what_becomes_of_them_and_the_ids_of_ticked_rows_are_copied() {
    let (_site, host) = rejecting();
    host.send("step.one", "order_0");
    until_count(&host, "dead", 1);
    let browser = Browser::on(&host);
    let offered = "document.querySelector('hb-copy[data-ids]').checkVisibility()";
    browser.open("/deliveries?state=done");
    assert_eq!(browser.eval(offered), false, "there is nothing to copy");
    browser.open("/deliveries?state=dead");
    browser.until_text("hb-live", "live ◉");
    assert_eq!(browser.eval(offered), true);
    host.send("step.one", "order_1");
    browser.until_text("#list tbody", "order_1");
    let copied = || {
        browser.eval(
            "(navigator.clipboard.writeText = async (text) => { window.copied = text; }, window.copied = null) && null",
        );
        browser.click("hb-copy[data-ids] button");
        browser.until("what was copied", "window.copied");
        browser.eval("window.copied").as_str().unwrap().to_owned()
    };
    assert_eq!(copied().lines().count(), 2, "every row");
    browser.click("#list tbody tr:last-child input");
    let one = browser.eval("document.querySelector('#list tbody tr:last-child').dataset.row");
    assert_eq!(copied(), one.as_str().unwrap(), "the ticked one");
    browser.end();
}

#[test]
fn a_flood_of_events_leaves_the_list_short_and_it_says_that_more_came() {
    let (_site, host) = working();
    host.send("step.one", "order_0");
    let browser = Browser::on(&host);
    browser.open("/events");
    browser.until_text("hb-live", "live ◉");
    let senders = Senders::start(&host, 20);
    browser.until_text("#new-rows", "more came than are shown: + ");
    // How many is said, for the list shows all there are.
    browser.until(
        "their number",
        "/[+] [1-9][0-9,]*$/.test(document.querySelector('#new-rows').innerText)",
    );
    senders.after(2_000);
    assert!(browser.count("#list tbody tr") <= 50);
    // It looks again at most once a second, however many come.
    let looks = browser.eval(
        "performance.getEntriesByType('resource')
           .filter((it) => it.name.includes('fragment=1')).length <= performance.now() / 1000 + 1",
    );
    assert_eq!(looks, true);
    // It answers while they come.
    browser.press("?");
    browser.until("the list of keys", "document.querySelector('hb-keys .keys')");
    assert!(browser.count("#list tbody tr") <= 50);
    senders.stop();
    browser.end();
}

#[test]
fn filters_are_in_the_address_and_back_and_forward_restore_them() {
    let (_site, host) = working();
    host.send("step.one", "order_1");
    host.send("step.two", "order_2");
    until_count(&host, "done", 1);
    let browser = Browser::on(&host);
    browser.open("/events");
    assert_eq!(browser.count("#list tbody tr"), 2);
    browser.fill("[name=subject]", "order_1");
    browser.click(".filters button");
    browser.until("one row", "document.querySelectorAll('#list tbody tr').length === 1");
    assert!(browser.path().contains("subject=order_1"), "{}", browser.path());
    browser.click("#list tbody tr td.t a");
    browser.until("the event", "location.pathname.startsWith('/events/evt_')");
    browser.back();
    browser.until_at("/events");
    assert_eq!(browser.count("#list tbody tr"), 1);
    assert_eq!(browser.eval("document.querySelector('[name=subject]').value"), "order_1");
    browser.back();
    browser.until("two rows", "document.querySelectorAll('#list tbody tr').length === 2");
    browser.forward();
    browser.until("one row", "document.querySelectorAll('#list tbody tr').length === 1");
    browser.click(".chips a");
    browser.until("two rows", "document.querySelectorAll('#list tbody tr').length === 2");
    browser.end();
}

#[test]
fn back_restores_the_place_in_a_list_and_newer_the_page_before() {
    let (_site, host) = working();
    for n in 0..120 {
        host.send("step.one", format!("order_{n}"));
    }
    let browser = Browser::on(&host);
    browser.open("/events?type=step.*");
    browser.until_text("hb-live", "live ◉");
    browser.click("#list tbody tr:last-child td.t a");
    browser.until("the event", "location.pathname.startsWith('/events/evt_')");
    browser.back();
    browser.until_at("/events");
    // The last row is far below the window; it was scrolled to.
    browser.until("the place", "scrollY > 200");
    assert!(browser.path().contains("type=step"), "{}", browser.path());
    let first = browser.text("#list tbody tr td:nth-child(4)");
    browser.press("]");
    browser.until("the second page", "location.search.includes('cursor=')");
    let second = browser.path();
    browser.press("]");
    browser.until("the third page", "location.search.includes('back=')");
    browser.press("[");
    browser
        .until("the second page", &format!("location.pathname + location.search === '{second}'"));
    browser.press("[");
    browser.until("the first page", "!location.search.includes('cursor=')");
    assert_eq!(browser.text("#list tbody tr td:nth-child(4)"), first);
    assert!(first.contains("order_119"), "{first}");
    browser.end();
}

#[test]
fn a_search_that_ends_early_says_where_it_stopped_and_goes_on() {
    let (site, host) = working();
    let lines: String = (0..2_200)
        .map(|n| {
            let data = if n == 0 { "needle" } else { "hay" };
            let event = json!({
                "source": "test", "type": "step.none", "subject": format!("order_{n}"),
                "data": { "found": data }, "idempotency_key": n.to_string(),
            });
            format!("{event}\n")
        })
        .collect();
    site.put("events.ndjson", &lines);
    for line in lines.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = body("step.none", event["subject"].as_str().unwrap());
        let text = text.replace("}}", &format!(",\"found\":{}}}}}", event["data"]["found"]));
        host.provide(&text);
    }
    let browser = Browser::on(&host);
    browser.open("/events?q=needle");
    let bound = browser.text("#list .more");
    assert!(bound.contains("looked at 2,000 events, back to"), "{bound}");
    assert_eq!(browser.count("#list tbody tr"), 0);
    browser.click_on("look further");
    browser.until("the event", "document.querySelectorAll('#list tbody tr').length === 1");
    browser.until_text("#list tbody", "order_0");
    browser.end();
}

#[test]
fn a_hostile_body_is_shown_as_text_to_the_last_digit() {
    let (_site, host) = working();
    let text = r#"{"event_type":"step.one","event_data":{"callback_id":"</script><img src=x onerror=alert(1)>"},"big":9223372036854775808,"one":1.0,"twice":1,"twice":2,"esc":"\u0000A"#
        .to_owned()
        + "\",\"turned\":\"\u{202e}txt.exe\"}";
    let (status, reply) = host.post(&text).unwrap();
    assert_eq!(status, 200, "{reply}");
    let id = reply["id"].as_str().unwrap();
    let browser = Browser::on(&host);
    browser.open(&format!("/events/{id}"));
    let shown = browser.text("#payload");
    for part in [
        "9223372036854775808",
        "1.0",
        "\"twice\": 1",
        "\"twice\": 2",
        "</script><img src=x onerror=alert(1)>",
        "\\u0000A",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains('\u{202e}') && shown.contains("\\u{202e}"), "{shown}");
    assert_eq!(browser.count("img"), 0);
    browser.open("/events");
    assert_eq!(browser.count("img"), 0);
    browser.end();
}

#[test]
fn the_copied_line_sends_the_event_again() {
    let (site, host) = working();
    let id = host.send("step.one", "order_1");
    let browser = Browser::on(&host);
    browser.open(&format!("/events/{id}?tab=copy"));
    let line = browser.eval(
        "[...document.querySelectorAll('.defs hb-copy')]
           .map((copy) => copy.dataset.text).find((text) => text.includes('hookbox send'))",
    );
    let binary = env!("CARGO_BIN_EXE_hookbox");
    let line = line.as_str().unwrap().replace("hookbox ", &format!("{binary} "));
    let mut shell = std::process::Command::new("sh");
    site.prepare(shell.args(["-euc", &format!("{line} --url {} --json", host.public_url)]));
    shell.env("HOOKBOX_ADMIN", &host.admin_url);
    let ran = shell.output().unwrap();
    let said =
        String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains(&id), "the same body is a duplicate of {id}: {said}");
    assert!(ran.status.success(), "{line}: {said}");
    browser.end();
}

#[test]
fn what_is_dead_is_found_from_the_list_to_the_attempt() {
    let (_site, host) = rejecting();
    host.send("step.one", "order_1");
    until_count(&host, "dead", 1);
    let browser = Browser::on(&host);
    browser.open("/deliveries?state=dead");
    browser.click("#list tbody tr a");
    browser.until("its event", "location.pathname.startsWith('/events/evt_')");
    browser.until_text("main", "reject");
    browser.end();
}
