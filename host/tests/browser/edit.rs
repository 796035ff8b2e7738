//! An event that is edited and replayed.

use super::driver::Browser;
use crate::support::{Host, SOURCE, Site, guest};

#[test]
fn an_edited_event_is_compared_tried_and_sent_and_both_events_name_each_other() {
    let routes = "[routes]\n\"step.*\" = \"worker\"\n\"guest.echoed\" = \"last\"\n";
    let files = [("worker.wat", &guest("emit")[..]), ("last.wat", &guest("ok"))];
    let site = Site::new(&format!("{SOURCE}{routes}"), &files);
    let host = Host::start(&site);
    let old = host.send("step.one", "order_1");
    let events = || host.settled()["events"].as_u64().unwrap();
    assert_eq!(events(), 2, "it, and its echo");
    let browser = Browser::on(&host);
    browser.open(&format!("/events/{old}"));
    browser.click_on("Edit and replay …");
    browser.until_at(&format!("/events/{old}/edit"));
    let body = browser.eval("document.querySelector('#data').value");
    let edited = body.as_str().unwrap().replace("order_1", "order_2");
    browser.fill("#data", &edited);
    browser.fill("[name=subject]", "order_2");
    browser.click_on("Show the difference");
    browser.until_text("#difference", "subject: order_1 → order_2");
    assert_eq!(browser.count("#difference del"), 1);
    assert_eq!(browser.count("#difference ins"), 1);
    assert_eq!(browser.count("#nav a[aria-current]"), 1, "the page is whole");

    browser.click_on("Try, without effects");
    browser.until_text("#trial", "Tried:");
    let trial = browser.text("#trial");
    for part in ["Would emit", "guest.echoed", "to last", "order_2", "the last attempt"] {
        assert!(trial.contains(part), "no {part} in {trial}");
    }
    assert_eq!(events(), 2, "a trial has no effects");

    browser.click_on("Send");
    browser.until(
        "the new event",
        &format!(
            "document.readyState === 'complete' && location.pathname !== '/events/{old}/edit' &&
             location.pathname.startsWith('/events/evt_')"
        ),
    );
    let new = browser.path().replace("/events/", "");
    browser.until_text("#payload", "order_2");
    assert!(browser.text(".facts").contains("edited by local from"));
    assert_eq!(events(), 4);
    browser.click(&format!(".facts a[href='/events/{old}']"));
    browser.until_at(&format!("/events/{old}"));
    assert!(browser.text(".facts").contains("edited into"));
    browser.click(&format!(".facts a[href='/events/{new}']"));
    browser.until_at(&format!("/events/{new}"));
    browser.end();
}
