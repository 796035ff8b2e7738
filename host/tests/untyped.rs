//! Events without a type, as an operator meets them: in the log, the metrics, the probe, and when
//! they are replayed.

use crate::support::{Host, SOURCE, Site, guest, wait_for};

#[test]
fn an_event_without_a_type_is_logged_once_counted_and_named_by_the_probe() {
    let site = Site::new(
        &format!("{SOURCE}[routes]\n\"a.*\" = \"fine\"\n"),
        &[("fine.wat", &guest("ok"))],
    );
    let host = Host::start(&site);
    assert_eq!(host.api("/readyz")["status"], "ready");
    for body in ["a form=1", "another", "a third"] {
        host.provide(body);
    }
    let health = host.api("/readyz");
    assert_eq!(health["status"], "degraded", "{health}");
    let problem = &health["problems"][0];
    assert_eq!(
        (&problem["part"], &problem["name"]),
        (&"source".into(), &"test".into()),
        "{health}"
    );
    let detail = problem["detail"].as_str().unwrap();
    for said in [
        "the type of 3 of its events",
        "the body is not JSON",
        "[sources.test]",
        "\"test:hookbox.unidentified\"",
    ] {
        assert!(detail.contains(said), "{said}: {detail}");
    }
    assert_eq!(host.metric("hookbox_ingest_unidentified_total{source=\"test\"}"), Some(3.0));
    let log = wait_for("the log line", || {
        let log = site.log();
        log.contains("the type of an event cannot be read").then_some(log)
    });
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("the type of an event cannot be read")).collect();
    assert!(
        lines.len() == 1 && lines[0].contains("the body is not JSON") && lines[0].contains("test"),
        "{lines:?}"
    );
}
