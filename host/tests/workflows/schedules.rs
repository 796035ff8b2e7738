//! Schedules: a host by a clock that is moved by hand, and what its commands say.

use serde_json::json;

use super::{events, site};
use crate::support::{Host, wait_for};
use hookbox::clock::Clock;

/// 2026-03-28, a day before the clocks of Berlin change.
const START_MS: i64 = 1_774_656_000_000;

const HOUR_MS: i64 = 3_600_000;

const SECTIONS: &str = "[schedules.daily]\ncron = \"30 2 * * *\"\ntz = \"Europe/Berlin\"\nemit = \"report.due\"\n\
    data = { kind = \"daily\" }\n[schedules.off]\nevery = \"5m\"\nemit = \"report.due\"\nenabled = false\n\
    [routes]\n\"schedules/daily:report.*\" = \"next\"\n";

#[test]
fn a_schedule_ticks_by_the_clock_and_shows_what_became_of_it() {
    let (site, clock) = (site(SECTIONS), Clock::manual(START_MS));
    let host = Host::start_by(&site, &clock);
    let shown = |name: &str| {
        let list = host.api("/api/v1/schedules");
        let items = list["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["name"] == name).unwrap()
    };
    wait_for("its beginning", || {
        (shown("daily")["next"] == "2026-03-28T01:30:00.000Z").then_some(())
    });
    assert_eq!(shown("daily")["upcoming"][1], "2026-03-29T01:00:00.000Z", "the end of the gap");
    assert_eq!((&shown("off")["next"], &shown("off")["last"]), (&json!(null), &json!(null)));
    assert_eq!(shown("daily")["upcoming"].as_array().unwrap().len(), 5);
    let in_words = |name: &str| (shown(name)["words"].clone(), shown(name)["zone"].clone());
    assert_eq!(in_words("daily"), (json!("every day at 02:30"), json!("Europe/Berlin")));
    assert_eq!(in_words("off"), (json!("every 5 minutes"), json!("UTC")));
    clock.set(START_MS + 2 * HOUR_MS);
    wait_for("a tick", || (events(&host, "report.due").len() == 1).then_some(()));
    host.settled();
    let event = &events(&host, "report.due")[0];
    assert_eq!(event["time"], "2026-03-28T01:30:00.000Z", "{event}");
    assert_eq!((&event["source"], &event["subject"]), (&json!("schedules/daily"), &json!("daily")));
    assert_eq!((&event["data"]["kind"], &event["parent_id"]), (&json!("daily"), &json!(null)));
    assert_eq!(event["deliveries"][0]["plugin"], "next", "{event}");
    let last = &shown("daily")["last"];
    assert_eq!(last["event_id"], event["id"], "{last}");
    assert_eq!((&last["time"], &last["skipped"]), (&event["time"], &json!(null)), "{last}");
    let list = site.ask(&host, &["schedules"]).said();
    for part in
        ["daily", "30 2 * * * (Europe/Berlin)", "2026-03-29T01:00:00.000Z", "disabled", "never"]
    {
        assert!(list.contains(part), "{part} is not in\n{list}");
    }
    assert!(list.contains(event["id"].as_str().unwrap()), "{list}");
    let ticks = host.api("/api/v1/schedules/daily")["ticks"].clone();
    assert_eq!((ticks.as_array().unwrap().len(), &ticks[0]["id"]), (1, &event["id"]), "{ticks}");
    let one = site.ask(&host, &["schedules", "daily"]).said();
    assert!(one.contains("every day at 02:30") && one.contains("done next"), "{one}");
    // Set back: nothing comes twice. Then three ticks are due at once, and two are missed.
    clock.step(START_MS);
    clock.set(START_MS + 80 * HOUR_MS);
    wait_for("the last of three", || (events(&host, "report.due").len() == 2).then_some(()));
    let last = events(&host, "report.due").remove(1);
    assert_eq!(last["time"], "2026-03-31T00:30:00.000Z", "{last}");
    let one = site.ask(&host, &["schedules", "daily"]).said();
    let skipped = "2026-03-29T01:00:00.000Z to 2026-03-30T00:30:00.000Z, 2 ticks: missed";
    assert!(one.contains(skipped), "{one}");
    host.settled();
    host.stop();
}

#[test]
fn a_schedule_is_taken_with_a_reload_and_checked_with_its_next_ticks() {
    let (site, clock) = (site(""), Clock::manual(START_MS));
    let host = Host::start_by(&site, &clock);
    assert_eq!(host.api("/api/v1/schedules")["items"], json!([]));
    assert_eq!(site.ask(&host, &["schedules"]).said(), "no schedule\n");
    site.put_config(&format!("{}{SECTIONS}", crate::support::SOURCE));
    wait_for("the schedule", || {
        let list = host.api("/api/v1/schedules");
        (list["items"][0]["next"] == "2026-03-28T01:30:00.000Z").then_some(())
    });
    let checked = site.run(&["check"]).said();
    let line = checked.lines().find(|line| line.contains("30 2 * * *")).unwrap();
    assert!(line.contains("→ report.due") && line.matches(".000Z").count() == 3, "{line}");
    assert!(checked.lines().any(|line| line.contains("every 5m") && line.contains("disabled")));
    let unknown = site.ask(&host, &["schedules", "dialy"]);
    assert!(unknown.err.contains("did you mean `daily`?"), "{}", unknown.err);
    host.stop();
}
