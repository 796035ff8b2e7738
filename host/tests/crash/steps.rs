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
        let (status, reply) = host.post(&body("step.one", "order_1")).unwrap();
        assert_eq!(status, 200, "{reply}");
        host.wait();
        let host = Host::start(&site);
        host.settled();
        let event = host.event(reply["id"].as_str().unwrap());
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
