//! Sources: why requests are refused, and a test event.

use std::time::{SystemTime, UNIX_EPOCH};

use super::driver::Browser;
use crate::support::{Host, ROUTE, SOURCE, Site, agent, body, guest, sign};

/// A source that signs the time.
const TIMED: &str = "[sources.shop]\npreset = \"stripe\"\nsecrets = [{ env = \"TEST_SECRET\" }]\n";

fn working() -> (Site, Host) {
    let site = Site::new(&format!("{SOURCE}{TIMED}{ROUTE}"), &[("worker.wat", &guest("ok")[..])]);
    let host = Host::start(&site);
    (site, host)
}

fn refused(host: &Host, source: &str, (header, value): (&str, &str), body: &str) {
    let to = format!("{}/webhook/{source}", host.public_url);
    let answer = agent().post(to).header(header, value).send(body).unwrap();
    assert_eq!(answer.status(), 401);
}

/// The cells of the first row that has this text.
fn row(browser: &Browser, text: &str) -> String {
    let found = browser.eval(&format!(
        "[...document.querySelectorAll('#source tbody tr')]
           .map((row) => row.innerText).find((row) => row.includes('{text}'))"
    ));
    found.as_str().unwrap_or_else(|| panic!("no {text} on {}", browser.path())).to_owned()
}

#[test]
fn a_wrong_secret_a_trailing_newline_and_an_old_timestamp_are_told_apart_and_nothing_is_stored() {
    let (_site, host) = working();
    let browser = Browser::on(&host);
    browser.open("/sources/test");
    browser.until_text("#source", "Waiting for the first event");
    let sent = body("step.one", "order_1");
    // Another secret: a signature of the right form, and no variation makes it.
    refused(&host, "test", ("x-signature", &"5a".repeat(32)), &sent);
    browser.reload();
    // It is looked for after the answer.
    browser.until_text("#source", "Hint: no variation that is tried matches");
    let reason = row(&browser, "bad_signature");
    assert!(reason.contains("no active key makes it"), "{reason}");
    assert!(reason.contains("Compare the secret with the provider's"), "{reason}");
    assert!(reason.contains("Hint: no variation that is tried matches"), "{reason}");

    // A proxy has added a newline. The page is told by itself.
    refused(&host, "test", ("x-signature", &sign(sent.as_bytes())), &format!("{sent}\n"));
    browser.until_text("#source", "Hint: matches with the trailing newline removed");
    assert!(row(&browser, "bad_signature").contains('2'));

    let hour_ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 3_600;
    let signature = format!("t={hour_ago},v1={}", sign(format!("{hour_ago}.{sent}").as_bytes()));
    refused(&host, "shop", ("stripe-signature", &signature), &sent);
    browser.open("/sources/shop");
    let reason = row(&browser, "stale_timestamp");
    assert!(reason.contains("The signature is right"), "{reason}");
    assert!(reason.contains("Compare the clocks of both sides"), "{reason}");
    assert!(reason.contains("as it was?\n") && !reason.contains("?."), "{reason}");
    // The time it was sent at is beside it.
    let last = browser.text("#source section:nth-of-type(2) tbody tr");
    assert!(last.contains("stale_timestamp") && last.contains("1 h"), "{last}");

    browser.open("/sources");
    let list = browser.text("#list");
    assert!(list.contains("bad_signature") && list.contains("stale_timestamp"), "{list}");
    browser.open("/events");
    browser.until_text("#list", "No event has come yet");
    assert_eq!(host.api("/api/v1/stats")["events"], 0);
    browser.end();
}

#[test]
fn a_test_event_is_sent_from_the_page_of_a_source_and_linked_there() {
    let (_site, host) = working();
    let mut browser = Browser::on(&host);
    // The page of a refusal is answered with 400.
    browser.expect(&["400"]);
    browser.open("/sources/test");
    browser.fill("[name=type]", "step.one");
    browser.fill("[name=set]", "event_data..callback_id=order_7");
    browser.click_on("Send it");
    browser.until_text("main", "set: event_data..callback_id");
    browser.back();
    browser.until_at("/sources/test");
    browser.fill("[name=set]", "event_data.callback_id=order_7");
    browser.click_on("Send it");
    browser.until_text("main [role=status]", "The test event is");
    browser.click("main [role=status] a");
    browser.until("its event", "location.pathname.startsWith('/events/evt_')");
    let id = browser.path().replace("/events/", "");
    host.until_done(&id);
    assert!(browser.text("h1").contains("step.one order_7"));
    browser.until_text("#followed", "worker");
    browser.end();
}
