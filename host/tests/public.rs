//! A public HTTP component that was not written for this host, as it comes: `cargo xtask test` fetches and builds it.

use std::path::Path;

use serde_json::json;

use crate::harness::{self, SOURCE, Site};

/// The component, or `None` (said aloud) where it has not been built.
fn component() -> Option<Vec<u8>> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("public/http-server.wasm");
    let found = std::fs::read(&file).ok();
    if found.is_none() {
        println!("SKIPPED: there is no {} (`cargo xtask test` makes it)", file.display());
    }
    found
}

#[test]
fn a_public_http_component_works_when_it_is_dropped_in() {
    let Some(component) = component() else { return };
    let config = format!(
        "{SOURCE}[routes]\n\"test:video.*\" = [\"echo\", \"status\", \"nowhere\"]\n\
         [plugins.echo]\npath = \"/echo\"\ninstance = \"reuse\"\n\
         [plugins.status]\npath = \"/response-status\"\nretry = {{ max_attempts = 1 }}\n\
         [plugins.nowhere]\npath = \"/nowhere\"\n"
    );
    let files: Vec<(&str, &[u8])> =
        ["echo.wasm", "status.wasm", "nowhere.wasm"].map(|name| (name, component.as_slice())).into();
    let site = Site::new(&config, &files);
    let host = harness::start(&site);
    harness::wait_for("the component to be loaded", || {
        let plugins = host.api("/api/v1/plugins");
        plugins["items"].as_array().unwrap().iter().all(|plugin| plugin["state"] == "loaded").then_some(())
    });
    let contract = host.api("/api/v1/plugins/echo")["contract"].as_str().unwrap().to_owned();
    assert!(contract.starts_with("http@0.2."), "{contract}");
    for order in ["order_1", "order_2"] {
        let body = json!({ "event_type": "video.done", "event_data": { "callback_id": order } });
        assert_eq!(host.post(&body.to_string()).unwrap().0, 200);
    }
    host.settled();
    for order in ["order_1", "order_2"] {
        let events = host.api(&format!("/api/v1/events?subject={order}&source=test"));
        let id = events["items"][0]["id"].as_str().unwrap();
        let event = host.api(&format!("/api/v1/events/{id}"));
        let state = |plugin: &str| {
            let deliveries = event["deliveries"].as_array().unwrap();
            let found = deliveries.iter().find(|delivery| delivery["plugin"] == plugin).unwrap();
            (found["state"].clone(), found["attempts"][0]["outcome"].clone())
        };
        assert_eq!(state("echo"), (json!("done"), json!("ok")), "{event}");
        assert_eq!(state("status"), (json!("dead"), json!("retry")), "a 500 may succeed later: {event}");
        assert_eq!(state("nowhere"), (json!("dead"), json!("reject")), "a 404 never will: {event}");
    }
}
