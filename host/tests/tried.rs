//! Events that are tried on plugins of a running host: nothing comes of it.

use serde_json::{Value, json};

use crate::support::{Host, SOURCE, Site, guest, wait_for};

const ROUTES: &str = "[routes]\n\"step.one\" = \"told\"\n\"guest.echoed\" = \"counts\"\n\
    [plugins.sends]\nhttp = [{ host = \"api.example.com\" }]\n[plugins.told]\nconfig = { do = \"reject\" }\n";

fn tried(host: &Host, plugin: &str, asked: Value) -> (u16, Value) {
    host.api_status("POST", &format!("/api/v1/plugins/{plugin}/try"), Some(asked))
}

/// Requests to try that are refused, and why.
fn refuses(host: &Host, id: &str) {
    for (plugin, asked, status, part) in [
        ("tald", json!({ "event_id": id }), 404, "did you mean `told`?"),
        ("told", json!({}), 400, "`event_id`"),
        ("told", json!({ "event_id": id, "event": {} }), 400, "`event_id`"),
        ("told", json!({ "event_id": "x" }), 400, "`event_id`"),
        ("told", json!({ "event_id": id, "digest": "07".repeat(32) }), 409, "another file"),
    ] {
        let (found, answer) = tried(host, plugin, asked);
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(found == status && detail.contains(part), "{found} {answer}");
    }
}

/// The counts, without the time and how much comes in lately.
fn stats(host: &Host) -> Value {
    let mut stats = host.api("/api/v1/stats");
    for member in ["at", "lately"] {
        stats.as_object_mut().unwrap().remove(member);
    }
    stats
}

#[test]
fn an_event_that_is_tried_leaves_nothing_behind() {
    let plugins = ["as-told", "emit", "kv", "loop", "send"].map(|name| match name {
        "loop" => std::fs::read("tests/hostile/trap.wat").unwrap(),
        name => guest(name),
    });
    let site = Site::new(
        &format!("{SOURCE}{ROUTES}"),
        &[
            ("told.wat", &plugins[0]),
            ("echo.wat", &plugins[1]),
            ("counts.wat", &plugins[2]),
            ("traps.wat", &plugins[3]),
            ("sends.wat", &plugins[4]),
        ],
    );
    let host = Host::start(&site);
    let id = host.send("step.one", "order_1");
    wait_for("its end", || (host.count("dead") == 1).then_some(()));
    let before = stats(&host);
    let asked = json!({ "event_id": id });
    let (status, trial) = tried(&host, "told", asked.clone());
    assert_eq!((status, &trial["outcome"]), (200, &json!("reject")), "{trial}");
    assert_eq!(trial["against"]["verdict"], "same error", "{trial}");
    assert_eq!(trial["logs"].as_array().map(Vec::len), Some(16), "{trial}");
    // With another setting it is fixed.
    site.put_config(&format!("{SOURCE}{ROUTES}").replace("\"reject\"", "\"ok\""));
    let trial = wait_for("the new setting", || {
        let (_, trial) = tried(&host, "told", asked.clone());
        (trial["outcome"] == "ok").then_some(trial)
    });
    assert_eq!(trial["against"]["verdict"], "fixed", "{trial}");
    let (_, trial) = tried(&host, "echo", json!({ "event_id": id, "data": { "n": 1.0 } }));
    let emitted = &trial["emitted"][0];
    assert_eq!(
        (&emitted["type"], &emitted["plugins"], &trial["against"]),
        (&json!("guest.echoed"), &json!(["counts"]), &Value::Null),
        "{trial}"
    );
    assert_eq!(emitted["data"].to_string(), "{\"n\":1.0}");
    let (_, trial) = tried(&host, "counts", json!({ "event": { "type": "a.b", "data": {} } }));
    let written: Vec<_> = trial["kv_writes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["key"].as_str().unwrap())
        .collect();
    assert_eq!((&trial["outcome"], written), (&json!("ok"), vec!["old", "seen"]), "{trial}");
    assert_eq!(host.api("/api/v1/kv/counts")["items"], json!([]));
    // `1api.example.com/x`: a rule lets it go there, but for a trial.
    let event = json!({ "type": "a.b", "data_base64": "MWFwaS5leGFtcGxlLmNvbS94" });
    let (_, trial) = tried(&host, "sends", json!({ "event": event }));
    assert_eq!(trial["requests"][0]["refused"], true, "{trial}");
    let (_, trial) = tried(&host, "traps", asked.clone());
    assert_eq!(trial["outcome"], "trap", "{trial}");
    assert_eq!(stats(&host), before, "nothing was stored");
    refuses(&host, &id);
    let said = site.ask(&host, &["plugins", "try", "told", "--event", &id]).said();
    assert!(said.contains("fixed (it was reject)"), "{said}");
}
