//! The same as people see it: the real binary, its API, its command line, its metrics and its log.

use hookbox::clock::Clock;
use serde_json::{Value, json};

use super::AS_TOLD;
use crate::support::{Host, SOURCE, Site, guest, wait_for};

/// A host with one plugin, told to do this, and more of its section.
fn site(does: &str, section: &str) -> Site {
    let config = format!(
        "{SOURCE}[routes]\n\"a.b\" = \"unruly\"\n[plugins.unruly]\nconfig = {{ do = \"{does}\" }}\nconcurrency = 1\n{section}"
    );
    Site::new(&config, &[("unruly.wat", AS_TOLD.as_bytes())])
}

fn send(host: &Host, count: usize) {
    for number in 0..count {
        host.send("a.b", number);
    }
}

/// The value of a metric of `unruly`.
fn metric(host: &Host, name: &str) -> Option<f64> {
    host.metric(&format!("{name}{{plugin=\"unruly\"}}"))
}

#[test]
fn an_open_breaker_is_seen_everywhere_and_a_new_file_closes_it() {
    let site = site("fail", "breaker = { failures = 3, pause = \"1h\" }\n");
    let host = Host::start(&site);
    let plugin = host.plugin("unruly");
    assert_eq!(
        (&plugin["breaker"]["state"], &plugin["breaker"]["failures"]),
        (&json!("closed"), &json!(3))
    );
    send(&host, 5);
    let breaker = wait_for("the breaker to open", || {
        let breaker = host.plugin("unruly")["breaker"].clone();
        (breaker["state"] == "open").then_some(breaker)
    });
    assert_eq!(
        (&breaker["failures_in_a_row"], &breaker["pause_ms"]),
        (&json!(3), &json!(3_600_000)),
        "{breaker}"
    );
    assert_eq!(breaker["last_error"], "as told", "{breaker}");
    let (since, next) =
        (breaker["since"].as_str().unwrap(), breaker["next_attempt_at"].as_str().unwrap());
    assert!(since < next, "{breaker}");
    is_shown(&site, &host, since);
    assert_eq!(metric(&host, "hookbox_breaker_open"), Some(1.0));
    assert_eq!(metric(&host, "hookbox_breaker_openings_total"), Some(1.0));
    // Another file of it, which needs no configuration to succeed.
    site.put_plugin("unruly.wat", &guest("ok"));
    host.settled();
    assert_eq!(host.api("/readyz")["status"], "ready");
    assert_eq!(host.plugin("unruly")["breaker"]["failures_in_a_row"], 0);
    assert_eq!(metric(&host, "hookbox_breaker_open"), Some(0.0));
    let log = site.log();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).collect::<Vec<_>>();
    let (opened, closed) = (lines("circuit breaker opened"), lines("circuit breaker closed"));
    assert!(
        opened.len() == 1 && opened[0].contains("WARN") && opened[0].contains("as told"),
        "{opened:?}"
    );
    assert!(
        closed.len() == 1 && closed[0].contains("INFO") && closed[0].contains("another file"),
        "{closed:?}"
    );
}

/// The probe and the command line show the open breaker: it has been open `since`.
fn is_shown(site: &Site, host: &Host, since: &str) {
    // It serves, and says what wants attention, since when, and what helps.
    let health = host.api("/readyz");
    assert_eq!(health["status"], "degraded", "{health}");
    let problem = &health["problems"][0];
    assert_eq!(
        (&problem["part"], &problem["name"]),
        (&json!("plugin"), &json!("unruly")),
        "{health}"
    );
    for part in
        [since, "3 attempts in a row failed, the last one with \"as told\"", "every 1h", "new file"]
    {
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {health}");
    }
    let shown = site.ask(host, &["plugins", "unruly"]).said();
    for line in [
        format!("open since      {since}"),
        "failed in a row 3".to_owned(),
        "last error      as told".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line}: {shown}");
    }
    assert!(site.ask(host, &["plugins"]).said().contains("slowed down, it only fails: as told"));
}

#[test]
fn a_flood_of_failures_writes_a_few_log_lines_and_counts_the_rest() {
    const EVENTS: u64 = 200;
    let site = site("reject", "");
    let host = Host::start(&site);
    send(&host, EVENTS as usize);
    host.settled();
    host.stop();
    let (mut written, mut counted, mut windows) = (0, 0, 0);
    for line in site.log().lines() {
        if line.contains("attempt failed") || line.contains("dead letter") {
            written += 1;
        } else if let Some((_, rest)) = line.split_once("and ")
            && let Some((more, _)) = rest.split_once(" more in 10 s")
        {
            assert!(
                line.contains("plugin.name=unruly") && line.contains("attempts.failed=reject "),
                "{line}"
            );
            counted += more.replace(',', "").parse::<u64>().unwrap();
            windows += 1;
        }
    }
    assert_eq!(
        written + counted,
        2 * EVENTS,
        "every attempt and every dead letter is written or counted"
    );
    assert!(windows > 0 && written <= 6 * (windows + 1), "{written} lines in {windows} windows");
}

#[test]
fn attempts_beyond_what_is_kept_are_counted_and_the_delivery_says_so() {
    const ATTEMPTS: usize = 400;
    // 64 KiB of log each: a burst holds about 60 of them.
    let does = format!("later{}", "x".repeat(5_000));
    let site = site(&does, &format!("retry = {{ max_attempts = {ATTEMPTS} }}\n"));
    // By a clock that stands: what is kept is the burst, however long the attempts take.
    site.keep_secret_in_file();
    let (host, _series) = Host::start_measured_by(&site, &Clock::manual(1_790_000_000_000));
    send(&host, 1);
    host.settled();
    let page = host.api("/api/v1/deliveries?state=dead");
    let id = page["items"][0]["id"].as_str().unwrap();
    let delivery = host.api(&format!("/api/v1/deliveries/{id}"));
    let attempts = delivery["attempts"].as_array().unwrap();
    let last = attempts.last().unwrap();
    assert_eq!(
        (&last["number"], &last["error"]),
        (&json!(ATTEMPTS), &json!("as told")),
        "the last one is kept"
    );
    assert_eq!((&last["logs"], &last["calls"]), (&json!([]), &json!([])), "in short: {last}");
    let logs = |attempt: &Value| attempt["logs"].as_array().map_or(0, Vec::len);
    assert!(logs(&attempts[0]) >= 15, "the first ones are kept whole");
    let unrecorded = ATTEMPTS - attempts.len();
    assert!(unrecorded > 0, "{} were kept", attempts.len());
    assert_eq!(delivery["unrecorded"], unrecorded, "{}", delivery["note"]);
    let note = format!(
        "{unrecorded} attempts left no record: the plugin failed faster than its attempts are kept (1 MiB a second)"
    );
    assert_eq!(delivery["note"], note);
    let event = host.event(delivery["event_id"].as_str().unwrap());
    assert_eq!(event["deliveries"][0]["note"], note);
    assert!(site.ask(&host, &["deliveries", id]).said().contains(&note));
    assert_eq!(metric(&host, "hookbox_attempts_unrecorded_total"), Some(unrecorded as f64));
    let kept: Vec<&Value> = attempts.iter().map(|attempt| &attempt["number"]).collect();
    assert!(kept.is_sorted_by_key(|number| number.as_u64()), "{kept:?}");
}
