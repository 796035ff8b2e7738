//! `hookbox bench` against what only looks like a host, and answers its admin API as no host would.

use hookbox::event::EventId;
use serde_json::json;

use super::with_secret;
use crate::cli::pretender::{listing, next, pretender};
use crate::cli::site;
use crate::support::{Ran, Site};

#[test]
fn a_look_up_that_fails_is_made_again_and_the_bar_ends_nothing() {
    let site = site();
    let host = pretender(next, |look, ids| match look {
        0 | 2 => ("503 Service Unavailable", json!({"detail": "the store is busy"})),
        // Now the bar asks for the backlog, in vain.
        1 => ("200 OK", listing(ids, &["leased"], None)),
        _ => ("200 OK", listing(ids, &["done"], None)),
    });
    let ran = bench_pretender(&site, &host, &["--json"]);
    let report = ran.json();
    assert!(ran.code == 0 && report["acknowledged"].as_u64().unwrap() > 1, "{ran:?}");
    assert_eq!(
        (&report["settled"], &report["unknown"]),
        (&report["acknowledged"], &0.into()),
        "{ran:?}"
    );
    assert!(report["unknown_reason"].is_null(), "{ran:?}");
}

#[test]
fn what_could_not_be_looked_up_is_unknown_and_the_rest_is_told() {
    let site = site();
    // The newest event is on the first page, and there is no other.
    let host = || {
        pretender(next, |look, ids| match look {
            0 => ("200 OK", listing(&ids[ids.len() - 1..], &["dead"], Some("more"))),
            _ => ("503 Service Unavailable", json!({"detail": "the disk is away"})),
        })
    };
    let ran = bench_pretender(&site, &host(), &["--settle", "0", "--json"]);
    let report = ran.json();
    let unknown = report["unknown"].as_u64().unwrap();
    assert!(
        ran.code == 1 && unknown > 0 && report["unknown_reason"] == "the disk is away",
        "{ran:?}"
    );
    assert_eq!(
        (&report["stored"], &report["dead"], &report["lost"]),
        (&1.into(), &1.into(), &0.into()),
        "{ran:?}"
    );
    assert_eq!(report["acknowledged"], unknown + 1, "{ran:?}");
    let failure = &report["failures"][0];
    assert!(failure["id"].as_str().unwrap().starts_with("evt_"), "{ran:?}");
    assert_eq!(
        failure["error"], "its deliveries could not be looked up: the disk is away",
        "{ran:?}"
    );
    let ran = bench_pretender(&site, &host(), &["--settle", "0"]);
    assert!(
        ran.code == 1 && ran.out.contains("UNKNOWN: ") && ran.out.contains("the disk is away"),
        "{ran:?}"
    );
    assert!(
        ran.out.contains("  unknown\n") && ran.out.contains("are known to be stored"),
        "{ran:?}"
    );
}

#[test]
fn an_admin_api_that_answers_nonsense_after_the_load_leaves_a_report() {
    let site = site();
    let host = pretender(next, |_, _| ("200 OK", json!("no listing")));
    let ran = bench_pretender(&site, &host, &["--settle", "1", "--json"]);
    let report = ran.json();
    assert!(ran.code == 1 && report["requests_per_second"].as_f64().unwrap() > 0.0, "{ran:?}");
    assert_eq!(
        (&report["unknown"], &report["stored"]),
        (&report["acknowledged"], &0.into()),
        "{ran:?}"
    );
    assert!(
        report["unknown_reason"].as_str().unwrap().contains("/api/v1/events lacks an id"),
        "{ran:?}"
    );
}

#[test]
fn events_that_were_taken_for_one_are_not_called_stored() {
    let site = site();
    let one = |_| EventId::from_row(1 << 60);
    let host = pretender(one, |_, ids| ("200 OK", listing(&ids[..1], &["done"], None)));
    let ran = bench_pretender(&site, &host, &["--json"]);
    let report = ran.json();
    let (acknowledged, same) =
        (report["acknowledged"].as_u64().unwrap(), report["same_id"].as_u64().unwrap());
    assert!(ran.code == 1 && same > 0 && acknowledged == same + 1, "{ran:?}");
    assert_eq!((&report["stored"], &report["lost"]), (&1.into(), &0.into()), "{ran:?}");
    let said = format!(
        "TAKEN FOR ANOTHER: {same} of {acknowledged} acknowledged events were given the id of another"
    );
    assert!(report["check"].as_str().unwrap().contains(&said), "{said}: {ran:?}");
    assert!(report["check"].as_str().unwrap().contains("(evt_1000000000000000)"), "{ran:?}");
}

#[test]
fn open_and_waiting_deliveries_are_both_named_and_not_fine() {
    let site = site();
    let host = pretender(next, |_, ids| {
        let mut page = listing(ids, &["waiting"], None);
        page["items"][0] =
            listing(&ids[ids.len() - 1..], &["done", "ready"], None)["items"][0].take();
        ("200 OK", page)
    });
    let ran = bench_pretender(&site, &host, &["--settle", "0"]);
    assert!(
        ran.code == 1 && ran.out.contains("; 1 were not settled in the time that --settle gives; "),
        "{ran:?}"
    );
    assert!(ran.out.contains(" wait for another attempt\n"), "{ran:?}");
}

/// A bench of twenty events of what only looks like a host.
fn bench_pretender(site: &Site, address: &str, arguments: &[&str]) -> Ran {
    let load = ["bench", "heygen", "avatar_video.success", "--rate", "20", "--seconds", "1"];
    with_secret(site, &[&load[..], &["--url", address, "--admin", address], arguments].concat())
}
