//! The pages in a browser: a real host, real plugins, and Debian's Chromium. Each test is one check
//! of what an operator sees and does; a state is waited for, never a time.

mod access;
mod bulk;
mod driver;
mod edit;
mod events;
mod filled;
mod frame;
mod keys;
mod map;
mod pictures;
mod plugins;
mod sources;
mod story;
mod weight;

use serde_json::json;

use crate::support::{Host, Site, wait_for};

/// The messages of a console while the host that a page asks is gone.
const GONE: &[&str] = &[
    "ERR_CONNECTION_REFUSED",
    "ERR_INCOMPLETE_CHUNKED",
    "ERR_EMPTY",
    "Failed to fetch",
    "ERR_CONNECTION_RESET",
    "ERR_CONNECTION_CLOSED",
    "ERR_SOCKET_NOT_CONNECTED",
    "ERR_NETWORK",
];

/// Does as its configuration says under `do`.
const AS_TOLD: &str = include_str!("guests/as-told.wat");

/// The worker does this with each event; a second attempt comes after an hour.
fn told(what: &str) -> String {
    format!(
        "[plugins.worker]\nretry = {{ initial = \"1h\", max = \"1h\" }}\n\
         [plugins.worker.config]\ndo = \"{what}\"\n"
    )
}

/// A host whose worker rejects each event.
fn rejecting() -> (Site, Host) {
    let site = Site::of_worker(AS_TOLD.as_bytes(), &told("reject"));
    let host = Host::start(&site);
    (site, host)
}

/// Waits until so many deliveries are in a state.
fn until_count(host: &Host, state: &str, count: u64) {
    wait_for(state, || {
        let stats = host.api("/api/v1/stats");
        (stats["deliveries"][state] == json!(count)).then_some(())
    });
}
