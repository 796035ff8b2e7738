//! Logs of a provider that are not as they should be: cursors that are refused, another order,
//! times that cannot be read, and clocks that differ.

use hookbox::clock::Clock;
use serde_json::{Value, json};

use super::{HOUR_MS, MINUTE_MS, kept, provider, site, stored};
use crate::support::{API_KEY, HeyGen, Host, Site, guest, wait_for};

const START_MS: i64 = 1_900_000_000_000;

const SUCCESS: &str = "avatar_video.success";

/// Unix seconds, this long after the start by the provider's clock.
fn at(ms: i64) -> i64 {
    (START_MS + ms) / 1000
}

/// A source that asks for the log every ten minutes.
fn asking(heygen: &HeyGen) -> Site {
    let site = site(heygen, "secrets = [{ file = \"own.secret\" }]\nreconcile = \"10m\"\n");
    site.put("own.secret", "whsec_own_secret_of_the_test");
    site
}

fn count(host: &Host, expected: usize) {
    wait_for("the events", || (stored(host).len() == expected).then_some(()));
}

/// The value of `n` in each stored event, the newest first.
fn numbers(host: &Host) -> Vec<Value> {
    let of = |event: &Value| {
        let id = event["id"].as_str().unwrap();
        host.api(&format!("/api/v1/events/{id}"))["data"]["event_data"]["n"].clone()
    };
    stored(host).iter().map(of).collect()
}

#[test]
fn a_cursor_that_is_always_refused_ends_the_pass_and_other_sources_are_asked() {
    let (heygen, other) = (HeyGen::start(), HeyGen::start());
    for n in 0..120 {
        heygen.happen(SUCCESS, &json!({ "n": n }), at(n - HOUR_MS));
    }
    heygen.refuse_cursors();
    other.happen(SUCCESS, &json!({ "n": "other" }), at(-HOUR_MS));
    let source = |name: &str, url: &str| {
        format!(
            "[sources.{name}]\npreset = \"heygen\"\napi_url = \"{url}\"\nreconcile = \"10m\"\n\
             api_key = {{ file = \"api.key\" }}\nsecrets = [{{ env = \"TEST_SECRET\" }}]\n"
        )
    };
    let config = format!(
        "{}{}[routes]\n\"avatar_video.*\" = \"worker\"\n",
        source("first", &heygen.url),
        source("second", &other.url)
    );
    let site = Site::new(&config, &[("worker.wat", &guest("ok"))]);
    site.put("api.key", API_KEY);
    let clock = Clock::manual(START_MS);
    let host = Host::start_by(&site, &clock);
    wait_for("the other source", || (other.requests().len() == 1).then_some(()));
    let trouble = || host.api("/readyz").to_string().contains("token is not valid");
    wait_for("the trouble", || trouble().then_some(()));
    assert_eq!(heygen.requests().len(), 2, "a page, and the next one in vain");
    count(&host, 51);
    // The next pass forgets the cursor that was stored, once. It is not due before the pause.
    clock.set(START_MS + MINUTE_MS);
    wait_for("the next pass", || (heygen.requests().len() == 5).then_some(()));
    assert!(trouble());
}

#[test]
fn a_clock_that_is_ahead_of_the_providers_loses_nothing_that_happens_later() {
    let heygen = HeyGen::start();
    let site = asking(&heygen);
    heygen.happen(SUCCESS, &json!({ "n": "before" }), at(-MINUTE_MS));
    let ahead_ms = 30 * HOUR_MS;
    let clock = Clock::manual(START_MS + ahead_ms);
    let host = Host::start_by(&site, &clock);
    wait_for("the first pass", || (heygen.requests().len() == 1).then_some(()));
    heygen.happen(SUCCESS, &json!({ "n": "after" }), at(MINUTE_MS));
    wait_for("what happened after the first pass", || {
        clock.set(clock.now_ms() + 10 * MINUTE_MS);
        numbers(&host).contains(&"after".into()).then_some(())
    });
}

#[test]
fn a_log_that_begins_with_its_oldest_event_is_read_to_its_end() {
    let heygen = HeyGen::start();
    heygen.turn_the_log();
    let site = asking(&heygen);
    for n in 0..70 {
        heygen.happen(SUCCESS, &json!({ "n": "too old" }), at(1000 * n - 30 * HOUR_MS));
    }
    for n in 0..50 {
        heygen.happen(SUCCESS, &json!({ "n": n }), at(1000 * n - HOUR_MS));
    }
    let clock = Clock::manual(START_MS);
    let host = Host::start_by(&site, &clock);
    count(&host, 50);
    assert_eq!(numbers(&host)[0], 49, "they are stored in the order in which they happened");
    heygen.happen(SUCCESS, &json!({ "n": "last" }), at(MINUTE_MS));
    wait_for("the last one", || {
        clock.set(clock.now_ms() + 10 * MINUTE_MS);
        (stored(&host).len() == 51).then_some(())
    });
    assert!(!numbers(&host).contains(&"too old".into()));
}

#[test]
fn a_time_that_cannot_be_read_is_told_and_nothing_is_appended() {
    let heygen = HeyGen::start();
    let site = asking(&heygen);
    heygen.happen(SUCCESS, &json!({ "n": 1 }), at(-30 * HOUR_MS));
    heygen.happen(SUCCESS, &json!({ "n": 2 }), "a while ago");
    let host = Host::start_by(&site, &Clock::manual(START_MS));
    wait_for("the trouble", || {
        let ready = host.api("/readyz").to_string();
        (ready.contains("created_at") && ready.contains("hg_evt_2")).then_some(())
    });
    assert_eq!(stored(&host).len(), 0);
}

#[test]
fn only_types_that_are_registered_are_appended() {
    let heygen = HeyGen::start();
    heygen.takes_any_address();
    let site = site(&heygen, "public_url = \"https://hooks.example.com\"\nreconcile = \"10m\"\n");
    let failed = ["register", "--event", "avatar_video.fail"];
    provider(&site, &failed).said();
    assert_eq!(kept(&site).unwrap()["events"], json!(["avatar_video.fail"]));
    heygen.happen(SUCCESS, &json!({ "n": 1 }), at(-2 * MINUTE_MS));
    heygen.happen("avatar_video.fail", &json!({ "n": 2 }), at(-MINUTE_MS));
    let clock = Clock::manual(START_MS);
    let host = Host::start_by(&site, &clock);
    // The oldest one comes first.
    wait_for("an event", || (!stored(&host).is_empty()).then_some(()));
    assert_eq!(numbers(&host), [2]);
    // A rotation keeps the types, and an update replaces them.
    provider(&site, &["rotate"]).said();
    assert_eq!(kept(&site).unwrap()["events"], json!(["avatar_video.fail"]));
    provider(&site, &["update"]).said();
    assert_eq!(kept(&site).unwrap()["events"], Value::Null);
    heygen.happen(SUCCESS, &json!({ "n": 3 }), at(MINUTE_MS));
    wait_for("an event of another type", || {
        clock.set(clock.now_ms() + 10 * MINUTE_MS);
        numbers(&host).contains(&3.into()).then_some(())
    });
}
