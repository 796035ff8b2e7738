//! How long a connection is kept: between two requests, and once a header has begun.

use std::sync::Arc;

use hookbox::config::Config;
use hookbox::server::ServerTimeouts;

use super::host::{Client, Host, Options, PATIENT, SOON, request};

/// A host that gives a header this little time, and idle connections that.
async fn host(header_soon: bool, keep_alive_ms: u64) -> Host {
    let timeouts = if header_soon { ServerTimeouts { header: SOON, ..PATIENT } } else { PATIENT };
    let host = Host::start(Options { timeouts, ..Options::default() }).await;
    keep_alive(&host, keep_alive_ms);
    host
}

/// From the next connection on.
fn keep_alive(host: &Host, keep_alive_ms: u64) {
    let mut config = Config::clone(&host.config.load());
    config.server.keep_alive_ms = keep_alive_ms;
    host.config.store(Arc::new(config));
}

async fn probe(client: &mut Client) {
    client.send(request("OPTIONS", "/webhook/heygen", &[], b"")).await;
    assert_eq!(client.response().await.status, 204);
}

/// Fault A9.
#[tokio::test]
async fn an_idle_connection_outlives_the_time_for_a_header() {
    let host = host(true, 600_000).await;
    let mut kept = host.connect().await;
    probe(&mut kept).await;
    for _ in 0..2 {
        // It is opened later and has the time for a header only, so that time is over for both when
        // it is closed.
        let mut silent = host.connect().await;
        assert!(silent.rest().await.is_empty());
        probe(&mut kept).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_keep_alive_and_a_new_value_is_for_the_next_one() {
    let host = host(false, 20).await;
    let mut short = host.connect().await;
    probe(&mut short).await;
    assert!(short.rest().await.is_empty());
    keep_alive(&host, 600_000);
    let mut long = host.connect().await;
    probe(&mut long).await;
    keep_alive(&host, 20);
    let mut short = host.connect().await;
    probe(&mut short).await;
    assert!(short.rest().await.is_empty());
    probe(&mut long).await;
}

#[tokio::test]
async fn a_header_that_has_begun_on_a_kept_connection_has_the_time_for_a_header() {
    let host = host(true, 600_000).await;
    for start in ["P", "POST /webhook/heygen HTTP/1.1\r\nhost: localhost\r\nx-slow: "] {
        let mut client = host.connect().await;
        probe(&mut client).await;
        client.send(start).await;
        assert!(client.rest().await.is_empty(), "{start:?}");
    }
}

#[tokio::test]
async fn a_request_that_takes_long_is_not_an_idle_connection() {
    let (held_host, held) = Host::start_held(ServerTimeouts { header: SOON, ..PATIENT }).await;
    keep_alive(&held_host, 20);
    let mut client = held_host.connect().await;
    client.send(super::host::signed(br#"{"event_type":"avatar_video.success"}"#)).await;
    held.begun(1).await;
    let mut silent = held_host.connect().await;
    assert!(silent.rest().await.is_empty());
    held.open();
    assert_eq!(client.response().await.stored().1, "accepted");
}
