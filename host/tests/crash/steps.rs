//! The same for steps: a host is killed while it records them, and at each point of the road while
//! its plugins record and ask to be called again.
//!
//! `HOOKBOX_STEP_CYCLES` sets the number of cycles (60 by default).

use hookbox::fail::{POINTS, RECORD_POINTS};
use serde_json::Value;

use super::*;

/// The outcomes of a delivery's attempts, and for each whether it recorded its step.
fn attempts(delivery: &Value) -> Vec<(&str, Option<bool>)> {
    let attempts = delivery["attempts"].as_array().unwrap();
    let recorded = |attempt: &Value| {
        let step = attempt["steps"].as_array().unwrap().first()?.clone();
        assert_eq!((&step["name"], &step["bytes"]), (&"charge".into(), &4.into()));
        Some(!step["recorded_after_ms"].is_null())
    };
    attempts.iter().map(|it| (it["outcome"].as_str().unwrap(), recorded(it))).collect()
}

#[test]
fn a_recorded_step_is_never_run_again_for_its_delivery_whatever_crashes() {
    let crash = ("crash", None);
    let (recorded, recalled) = (("again", Some(true)), ("ok", Some(false)));
    for (point, expected) in
        RECORD_POINTS.into_iter().zip([vec![crash, recorded, recalled], vec![crash, recalled]])
    {
        let routes = "[routes]\n\"step.one\" = \"relay\"\n";
        let site = Site::new(&format!("{SOURCE}{routes}"), &[("relay.wat", &guest("poll"))]);
        let host = Host::start_with(&site, &[("HOOKBOX_FAIL", &format!("{point}:1"))]).unwrap();
        // Perhaps the host is faster to die of it than to answer.
        let _ = host.post(&body("step.one", "order_1"));
        host.wait();
        let host = Host::start(&site);
        host.settled();
        let listed = host.api("/api/v1/events?type=step.one");
        let event = host.event(listed["items"][0]["id"].as_str().unwrap());
        let delivery = &event["deliveries"][0];
        assert_eq!(attempts(delivery), expected, "{point}: {event}");
        assert_eq!(delivery["state"], "done", "{event}");
        assert_eq!(event["children"].as_array().unwrap().len(), 1, "{event}");
        assert_eq!(delivery["steps"], serde_json::json!([]), "done: nothing is kept");
    }
}

#[test]
fn steps_and_calls_again_survive_a_kill_at_every_point() {
    let cycles = std::env::var("HOOKBOX_STEP_CYCLES")
        .map_or(60, |text| text.parse().expect("a number of cycles"));
    let plugins: [(&str, &[u8]); 2] = [("relay.wat", &guest("poll")), ("sink.wat", &guest("ok"))];
    let site = Site::new(&format!("{SOURCE}{ROUTES}"), &plugins);
    let (journal, sent) = (Arc::<Mutex<Journal>>::default(), Arc::<AtomicUsize>::default());
    let mut died_at = HashMap::<&str, usize>::new();
    for cycle in 0..cycles {
        // The points of recording as often as the others together.
        let points = POINTS.into_iter().filter(|point| *point != "store.retention");
        let points: Vec<_> =
            points.flat_map(|point| [point, RECORD_POINTS[cycle / 2 % 2]]).collect();
        let point = points[cycle % points.len()];
        let plan = format!("{point}:{}", 1 + (cycle * 7919) % 97);
        let ended = live(&site, &plan, LIFE, &journal, &sent, |_| {});
        if matches!(ended, Ended::Inside) {
            *died_at.entry(point).or_default() += 1;
        }
        if !matches!(ended, Ended::BeforeItServed) {
            check(&site.path("data/hookbox.db"), &journal.lock().unwrap());
        }
    }
    for point in RECORD_POINTS {
        assert!(died_at.contains_key(point), "no host died at {point}: {died_at:?}");
    }
    finish(&site, &journal);
    let acknowledged = journal.lock().unwrap().acknowledged.len();
    println!("{cycles} cycles, {acknowledged} events acknowledged, killed inside at {died_at:?}");
    assert!(acknowledged > cycles, "there was no load to speak of");
}

/// `unary` reads its number and writes one more, in unary; `sum` adds without reading.
const COUNTERS: &str = "[routes]\n\"step.one\" = [\"unary\", \"sum\"]\n";

/// Both counters are as many as deliveries are done; says how many.
fn counted(database: &Path) -> i64 {
    let (_copy, store) = copy_of(database);
    let number = |sql: &str| -> i64 { store.query_row(sql, [], |row| row.get(0)).unwrap() };
    let done = |plugin: &str| {
        number(&format!("SELECT count(*) FROM deliveries WHERE plugin = '{plugin}' AND state = 3"))
    };
    let unary = "SELECT coalesce(sum(length(value)), 0) FROM kv WHERE plugin = 'unary'";
    assert_eq!(number(unary), done("unary"));
    let sum = "SELECT value FROM kv WHERE plugin = 'sum' AND key = 'n'";
    let sum: Option<[u8; 8]> = store.query_row(sum, [], |row| row.get(0)).ok();
    assert_eq!(sum.map_or(0, i64::from_le_bytes), done("sum"));
    done("unary") + done("sum")
}

#[test]
fn a_counter_incremented_by_n_events_reads_n_after_kill_9_throughout_with_and_without_add() {
    let plugins: [(&str, &[u8]); 2] = [("unary.wat", &guest("kv")), ("sum.wat", &guest("add"))];
    let site = Site::new(&format!("{SOURCE}{COUNTERS}"), &plugins);
    let (journal, sent) = (Arc::<Mutex<Journal>>::default(), Arc::<AtomicUsize>::default());
    let database = site.path("data/hookbox.db");
    let mut before = 0;
    for (cycle, point) in POINTS.into_iter().enumerate() {
        let plan = format!("{point}:{}", 1 + (cycle * 7919) % 97);
        if !matches!(live(&site, &plan, LIFE, &journal, &sent, |_| {}), Ended::BeforeItServed) {
            let now = counted(&database);
            assert!(now >= before, "nothing is counted back");
            before = now;
        }
    }
    let host = Host::start(&site);
    host.settled();
    let (status, retried) = host.api_status("POST", "/api/v1/deliveries/retry?state=dead", None);
    assert_eq!(status, 200, "{retried}");
    let stats = host.settled();
    let events = stats["events"].as_i64().unwrap();
    assert_eq!(stats["deliveries"]["done"], 2 * events, "{stats}");
    host.stop();
    assert_eq!(counted(&database), 2 * events);
    assert!(events > 20, "there was no load to speak of");
}
