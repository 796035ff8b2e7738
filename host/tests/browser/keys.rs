//! Keys of a plugin, seen and set.

use serde_json::{Value, json};

use super::driver::Browser;
use crate::support::{Host, Site, guest};

const VALUE: &str = "/api/v1/kv/worker/value?key=order/1";

fn set(host: &Host, how: &str, value: &Value) {
    let (status, answer) = host.api_status("PUT", &format!("{VALUE}&{how}"), Some(value.clone()));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_key_that_has_changed_since_it_was_seen_is_not_set() {
    let site = Site::of_worker(&guest("kv"), "");
    let host = Host::start(&site);
    set(&host, "if_absent=true", &json!({ "n": 1 }));
    let mut browser = Browser::on(&host);
    // The page of a conflict is answered with 409.
    browser.expect(&["409"]);
    browser.open("/kv/worker");
    browser.click_on("order/1");
    browser.until_at("/kv/worker/value");
    assert!(browser.text("main pre").contains("\"n\": 1"));
    browser.click_on("Set …");
    browser.until_at("/kv/worker/set");
    set(&host, "force=true", &json!({ "n": 2 }));
    browser.fill("#value", "{\"n\":3}");
    browser.click_on("Set it");
    browser.until_text("main", "version");
    browser.until_text("main", "meanwhile");
    assert_eq!(host.api(VALUE)["value"], json!({ "n": 2 }));

    browser.open("/kv/worker/value?key=order/1");
    assert!(browser.text("main pre").contains("\"n\": 2"));
    browser.click_on("Set …");
    browser.fill("#value", "{\"n\":3}");
    browser.click_on("Set it");
    browser.until_at("/kv/worker/value");
    assert!(browser.text("main pre").contains("\"n\": 3"));
    assert_eq!(host.api(VALUE)["value"], json!({ "n": 3 }));
    browser.end();
}
