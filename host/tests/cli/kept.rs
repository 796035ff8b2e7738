//! The data that a host keeps for plugins, as operators see it: key-value buckets, and recorded
//! steps.

use serde_json::{Value, json};

use crate::support::{Host, SOURCE, Site, guest};

const BUCKET: &str = "[plugins.worker]\nkv = { bucket = \"orders\", ttl = \"90d\" }\n";

#[test]
fn buckets_keys_and_values_are_shown() {
    let site = Site::of_worker(&guest("kv"), BUCKET);
    let ran = site.run(&["check"]);
    assert!(ran.out.contains("key-value buckets\n  orders  of worker"), "{ran:?}");
    let host = Host::start(&site);
    host.send("step.one", "order_1");
    host.settled();
    let listed = site.ask(&host, &["kv"]);
    assert!(listed.out.contains("orders") && listed.out.contains("worker"), "{listed:?}");
    assert!(site.ask(&host, &["kv", "orders"]).out.contains("seen"));
    assert_eq!(site.ask(&host, &["kv", "orders", "--prefix", "x"]).out, "no key\n");
    assert_eq!(site.ask(&host, &["kv", "orders", "seen"]).out, "x\n");
    let mut value = site.ask(&host, &["kv", "orders", "seen", "--json"]).json();
    let version = value.as_object_mut().unwrap().remove("version");
    assert!(version.is_some_and(|it| it.as_str().is_some_and(|it| it.parse::<i64>().is_ok())));
    let writer = value.as_object_mut().unwrap().remove("written_by").unwrap();
    assert_eq!(writer["attempt"], 1, "the attempt that wrote it: {writer}");
    let keys = site.ask(&host, &["kv", "orders"]).out;
    assert!(keys.contains(writer["delivery_id"].as_str().unwrap()), "{keys}");
    assert!(keys.contains("the bucket holds"), "{keys}");
    let end = value.as_object_mut().unwrap().remove("expires_at").unwrap();
    assert!(end.as_str().unwrap().ends_with('Z'), "{end}");
    let expected = json!({ "bucket": "orders", "key": "seen", "bytes": 1, "value_text": "x" });
    assert_eq!(value, expected);
    for (arguments, hint) in [
        (&["kv", "order"][..], "there is no bucket `order`; did you mean `orders`?"),
        (&["kv", "set", "x", "k", "v", "--force"], "there is no bucket `x` (there are `orders`"),
        (&["kv", "x"], "`kv = { bucket = \"orders\" }` under `[plugins.NAME]` makes one"),
        (&["kv", "orders", "sen"], "bucket `orders` has no key `sen`"),
    ] {
        let refused = site.ask(&host, arguments);
        assert!(refused.code == 1 && refused.err.contains(hint), "{refused:?}");
    }
    let usage = site.run(&["kv", "set"]);
    assert!(usage.err.contains("[OPTIONS] <BUCKET> <KEY> <VALUE|--file"), "{usage:?}");
}

/// The guest that polls, whose next call is an hour away.
fn patient() -> Vec<u8> {
    let text = String::from_utf8(guest("poll")).unwrap();
    text.replace("(i64.const 20)", "(i64.const 3600000)").into_bytes()
}

/// The outcomes of the only delivery of an event.
fn outcomes(event: &Value) -> Vec<&str> {
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}

#[test]
fn a_retry_goes_on_from_the_recorded_step_and_a_fresh_one_does_not() {
    let site = Site::of_worker(&patient(), "");
    let host = Host::start(&site);
    let (goes_on, fresh) = (host.send("step.one", "order_1"), host.send("step.one", "order_2"));
    let waits = |event: &str, calls: usize| {
        crate::support::wait_for("it to wait", || {
            let event = host.event(event);
            let delivery = &event["deliveries"][0];
            let waits = delivery["state"] == "waiting" && outcomes(&event).len() == calls;
            waits.then(|| delivery["id"].as_str().unwrap().to_owned())
        })
    };
    let (first, second) = (waits(&goes_on, 1), waits(&fresh, 1));
    let shown = site.ask(&host, &["deliveries", &first]);
    assert!(shown.out.contains("asked once to be called again"), "{shown:?}");
    assert!(shown.out.contains("step charge (4 B) recorded in attempt 1 by "), "{shown:?}");
    assert_eq!(site.ask(&host, &["deliveries", "retry", &first]).code, 0);
    host.until_done(&goes_on);
    assert_eq!(outcomes(&host.event(&goes_on)), ["again", "ok"]);
    assert_eq!(site.ask(&host, &["deliveries", "retry", &second, "--fresh"]).code, 0);
    waits(&fresh, 2);
    assert_eq!(outcomes(&host.event(&fresh)), ["again", "again"]);
}

#[test]
fn a_handler_that_asks_too_often_is_a_dead_letter_that_names_the_key() {
    let site = Site::of_worker(&guest("poll"), "[plugins.worker]\nmax_again = 0\n");
    let host = Host::start(&site);
    let id = host.send("step.one", "order_1");
    host.settled();
    let event = host.event(&id);
    assert_eq!(
        (outcomes(&event), &event["deliveries"][0]["state"]),
        (vec!["error"], &json!("dead"))
    );
    let error = event["deliveries"][0]["attempts"][0]["error"].as_str().unwrap();
    assert!(error.contains("`max_again`"), "{error}");
    assert_eq!(event["deliveries"][0]["steps"][0]["name"], "charge", "a retry goes on from it");
}

#[test]
fn what_a_bucket_cannot_be_is_refused_with_its_place_and_a_remedy() {
    for (section, hint) in [
        ("kv = { bucket = \"a/b\" }", "`plugins.worker.kv.bucket` is \"a/b\", which is no name"),
        ("kv = { ttl = \"1s\" }", "`plugins.worker.kv.ttl`"),
        ("kv = { buket = \"a\" }", "did you mean `bucket`?"),
        ("max_again = -1", "write a whole number from 0 to 1000000"),
        ("again_for = \"0s\"", "`plugins.worker.again_for`"),
    ] {
        let sections = format!("[plugins.worker]\n{section}\n");
        let ran = Site::of_worker(&guest("ok"), &sections).run(&["check"]);
        assert!(ran.code == 2 && ran.err.contains(hint), "{section}: {ran:?}");
    }
    let two = "[plugins.a]\nkv = { bucket = \"b\", ttl = \"1d\" }\n[plugins.b]\nkv = { bucket = \"b\" }\n";
    let files: [(&str, &[u8]); 2] = [("a.wat", &guest("kv")), ("b.wat", &guest("kv"))];
    let ran = Site::new(&format!("{SOURCE}{two}"), &files).run(&["check"]);
    assert!(ran.out.contains("b  of a, b"), "{ran:?}");
    assert!(ran.out.contains("live for another time than those of plugin `a`"), "{ran:?}");
}

#[test]
fn what_an_event_did_becomes_a_case_that_the_plugin_passes() {
    let site = Site::of_worker(&guest("emit"), "");
    let host = Host::start(&site);
    let id = host.send("step.one", "order_1");
    host.until_done(&id);
    let made = site.ask(&host, &["events", "case", &id, "--dir", "made/cases/one"]);
    assert!(made.code == 0 && made.out.contains("made/cases/one/expected.json"), "{made:?}");
    let tested = site.run(&["test", "made", "--plugin", "plugins/worker.wat"]);
    assert_eq!(tested.code, 0, "{tested:?}");
    let again = site.ask(&host, &["events", "case", &id, "--dir", "made/cases/one"]);
    assert!(again.code == 1 && again.err.contains("is there already"), "{again:?}");
    let nobody = site.ask(&host, &["events", "case", &id, "--plugin", "no", "--dir", "other"]);
    assert!(nobody.code == 1 && nobody.err.contains("no attempt of `no`"), "{nobody:?}");
}
