//! One sender cannot take the door: connections and the memory for bodies have shares.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use hookbox::config::{Config, MakeSecrets, Networks, Surroundings};
use hookbox::ingest::Capacity;
use hookbox::server::{self, ServerOptions, ServerTimeouts};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::host::{
    Client, Host, MAX_BODY_BYTES, Options, PATIENT, SOON, request, signature, signed,
};
use super::stores::Held;

const BODY: &[u8] = br#"{"event_type":"avatar_video.success"}"#;
const PROBE: &[u8] = b"OPTIONS /webhook/heygen HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Every address of 127.0.0.0/8 is this machine.
fn local(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn trusting(networks: &str) -> Networks {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder");
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &|_| None };
    let text = format!("[server]\ntrusted_proxies = {networks}");
    Config::parse(&folder.path().join("config.toml"), &text, around)
        .expect("a configuration")
        .server
        .trusted_proxies
}

fn connections(connections: u32) -> Capacity {
    Capacity { connections, ..Capacity::default() }
}

async fn host(capacity: Capacity, timeouts: ServerTimeouts) -> Host {
    Host::start(Options { capacity, timeouts, ..Options::default() }).await
}

/// The host has taken the connection, and it is idle.
async fn probed(host: &Host, from: u8) -> Client {
    let mut client = host.connect_from(local(from)).await;
    client.send(PROBE).await;
    assert_eq!(client.response().await.status, 204);
    client
}

/// Half a body: a request that is under way for as long as its client likes.
async fn under_way(host: &Host, from: u8) -> Client {
    let mut client = host.connect_from(local(from)).await;
    let head = format!(
        "heygen-signature: {}\r\nexpect: 100-continue\r\ncontent-length: {}",
        signature(BODY),
        BODY.len()
    );
    client
        .send(format!("POST /webhook/heygen HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n"))
        .await;
    client.is_asked_for_the_body().await;
    client
}

async fn goes_on(client: &mut Client) {
    client.send(PROBE).await;
    assert_eq!(client.response().await.status, 204);
}

/// Fault X7.
#[tokio::test]
async fn a_full_door_closes_the_connection_that_has_sent_nothing_for_longest() {
    let host = host(connections(4), PATIENT).await;
    let mut first = probed(&host, 2).await;
    let mut second = probed(&host, 3).await;
    let mut third = probed(&host, 4).await;
    let mut fourth = probed(&host, 5).await;
    goes_on(&mut first).await;
    let mut fifth = probed(&host, 6).await;
    assert!(second.rest().await.is_empty());
    for client in [&mut first, &mut third, &mut fourth, &mut fifth] {
        goes_on(client).await;
    }
}

#[tokio::test]
async fn half_a_header_does_not_keep_a_place() {
    let host = host(connections(4), PATIENT).await;
    let mut slow = probed(&host, 2).await;
    slow.send(&signed(BODY)[..40]).await;
    let mut others = Vec::new();
    for from in 3..=6 {
        others.push(probed(&host, from).await);
    }
    assert!(slow.rest_or_reset().await.is_empty());
    for client in &mut others {
        goes_on(client).await;
    }
}

#[tokio::test]
async fn requests_under_way_keep_their_places_and_the_next_waits_for_one() {
    let host = host(connections(2), PATIENT).await;
    let mut first = under_way(&host, 2).await;
    let mut second = under_way(&host, 3).await;
    let mut waiting = host.connect_from(local(4)).await;
    waiting.send(PROBE).await;
    first.send(BODY).await;
    assert_eq!(first.response().await.stored().1, "accepted");
    assert_eq!(waiting.response().await.status, 204);
    assert!(first.rest().await.is_empty(), "it became idle, and another waited");
    second.send(BODY).await;
    assert_eq!(second.response().await.stored().1, "duplicate");
}

#[tokio::test]
async fn a_place_that_is_given_up_is_for_who_waits() {
    let host = host(connections(1), PATIENT).await;
    let first = under_way(&host, 2).await;
    let mut waiting = host.connect_from(local(3)).await;
    waiting.send(PROBE).await;
    first.reset();
    assert_eq!(waiting.response().await.status, 204);
}

#[tokio::test]
async fn a_full_door_hurries_headers() {
    let host = host(connections(2), ServerTimeouts { header_when_full: SOON, ..PATIENT }).await;
    let mut first = under_way(&host, 2).await;
    let mut idle = probed(&host, 3).await;
    assert!(idle.rest().await.is_empty());
    first.send(BODY).await;
    assert_eq!(first.response().await.stored().1, "accepted");
}

/// Fault X7.
#[tokio::test]
async fn one_address_has_a_quarter_of_the_connections() {
    let host = host(connections(8), PATIENT).await;
    let mut others = probed(&host, 2).await;
    let mut first = probed(&host, 3).await;
    let mut second = probed(&host, 3).await;
    let mut third = probed(&host, 3).await;
    assert!(first.rest().await.is_empty());
    for client in [&mut others, &mut second, &mut third] {
        goes_on(client).await;
    }
}

#[tokio::test]
async fn an_address_whose_share_is_at_work_gets_no_more() {
    let host = host(connections(8), PATIENT).await;
    let mut under_ways = [under_way(&host, 3).await, under_way(&host, 3).await];
    let mut refused = host.connect_from(local(3)).await;
    assert!(refused.rest_or_reset().await.is_empty());
    probed(&host, 2).await;
    for client in &mut under_ways {
        client.send(BODY).await;
        client.response().await.stored();
    }
    probed(&host, 3).await;
}

#[tokio::test]
async fn a_trusted_proxy_has_no_share_of_connections() {
    let host = host(connections(8), PATIENT).await;
    host.trust(trusting("[\"127.0.0.3\"]"));
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(under_way(&host, 3).await);
    }
    for client in &mut clients {
        client.send(BODY).await;
        client.response().await.stored();
    }
}

#[tokio::test]
async fn the_operators_door_has_no_shares_on_loopback_and_closes_what_has_been_idle_for_longest() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(|| async { axum::http::StatusCode::NO_CONTENT });
    let config = Arc::new(arc_swap::ArcSwap::new(super::host::config(Vec::new())));
    let options = ServerOptions {
        name: "admin",
        max_connections: 4,
        timeouts: PATIENT,
        half_close: false,
        config: Arc::clone(&config),
    };
    let router = server::Routed::new(router, config);
    let (shutdown, probe) =
        (CancellationToken::new(), b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let serving = tokio::spawn(server::serve(listener, router, options, shutdown.clone()));
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::new(TcpStream::connect(address).await.unwrap());
        client.send(probe).await;
        assert_eq!(client.response().await.status, 204);
        clients.push(client);
    }
    assert!(clients[0].rest().await.is_empty());
    for client in &mut clients[1..] {
        client.send(probe).await;
        assert_eq!(client.response().await.status, 204);
    }
    shutdown.cancel();
    serving.await.unwrap();
}

/// The greatest `max_body`, for all sources or for one, fits into the share of one address.
#[test]
fn the_longest_body_that_can_be_configured_fits_into_a_share_of_the_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder");
    let around = Surroundings { make_secrets: MakeSecrets::No, env: &|_| None };
    let largest = |size: &str| {
        let source =
            "[sources.a]\nverify = { scheme = \"none\" }\ntype = { fixed = \"t\" }\nmax_body =";
        let text = format!("{source} \"{size}\"");
        Config::parse(&folder.path().join("config.toml"), &text, around)
            .map(|config| config.largest_body_bytes())
    };
    assert_eq!(largest("64MiB").expect("it is the most"), Capacity::default().body_bytes / 4);
    assert!(largest("65MiB").is_err());
}

const HALF_A_SHARE: usize = MAX_BODY_BYTES / 2;

/// A host whose appends wait, and so keep the memory of their bodies. It has memory for four bodies
/// of the largest size.
async fn host_that_keeps_bodies() -> (Host, Arc<Held>) {
    let capacity = Capacity { body_bytes: 4 * MAX_BODY_BYTES, ..Capacity::default() };
    Host::start_held_with(Options { capacity, ..Options::default() }).await
}

async fn sends(host: &Host, from: u8, forwarded_for: Option<&str>, bytes: usize) -> Client {
    let body = vec![b' '; bytes];
    let signature = signature(&body);
    let forwarded = forwarded_for.map(|address| ("x-forwarded-for", address));
    let headers: Vec<_> =
        [("heygen-signature", signature.as_str())].into_iter().chain(forwarded).collect();
    let mut client = host.connect_from(local(from)).await;
    client.send(request("POST", "/webhook/heygen", &headers, &body)).await;
    client
}

async fn is_told_to_come_later(mut client: Client) {
    let response = client.response().await;
    response.is_problem(503);
    assert_eq!((response.header("retry-after"), response.header("connection")), ("1", "close"));
}

/// Fault X8.
#[tokio::test]
async fn one_address_has_a_quarter_of_the_memory_for_bodies() {
    let (host, held) = host_that_keeps_bodies().await;
    let mut first = sends(&host, 3, None, HALF_A_SHARE).await;
    let mut second = sends(&host, 3, None, HALF_A_SHARE).await;
    held.begun(2).await;
    is_told_to_come_later(sends(&host, 3, None, 1).await).await;
    let mut other = sends(&host, 2, None, MAX_BODY_BYTES).await;
    held.begun(3).await;
    held.open();
    for client in [&mut first, &mut second, &mut other] {
        client.response().await.stored();
    }
    sends(&host, 3, None, MAX_BODY_BYTES).await.response().await.stored();
}

#[tokio::test]
async fn the_clients_that_a_trusted_proxy_forwards_for_have_a_share_each() {
    let (host, held) = host_that_keeps_bodies().await;
    host.trust(trusting("[\"127.0.0.3\", \"127.0.0.4\"]"));
    let _first = sends(&host, 3, Some("203.0.113.1"), MAX_BODY_BYTES).await;
    let _second = sends(&host, 3, Some("203.0.113.2"), MAX_BODY_BYTES).await;
    held.begun(2).await;
    is_told_to_come_later(sends(&host, 4, Some("203.0.113.1, 127.0.0.3"), 1).await).await;
    // A stranger cannot count for somebody else.
    let _third = sends(&host, 5, Some("203.0.113.1"), MAX_BODY_BYTES).await;
    held.begun(3).await;
    is_told_to_come_later(sends(&host, 5, Some("203.0.113.9"), 1).await).await;
}

#[tokio::test]
async fn a_trusted_proxy_that_does_not_say_for_whom_may_have_all_memory_and_no_more() {
    let (host, held) = host_that_keeps_bodies().await;
    host.trust(trusting("[\"127.0.0.0/8\"]"));
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(sends(&host, 3, None, MAX_BODY_BYTES).await);
    }
    held.begun(4).await;
    is_told_to_come_later(sends(&host, 3, None, 1).await).await;
    is_told_to_come_later(sends(&host, 2, Some("203.0.113.1"), 1).await).await;
}

#[tokio::test]
async fn what_is_refused_by_share_is_counted_as_that() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (host, held) = host_that_keeps_bodies().await;
    let _first = sends(&host, 3, None, MAX_BODY_BYTES).await;
    held.begun(1).await;
    is_told_to_come_later(sends(&host, 3, None, 1).await).await;
    let full = self::host(connections(4), PATIENT).await;
    let mut first = probed(&full, 3).await;
    let _second = probed(&full, 3).await;
    first.rest().await;
    let text = recorder.handle().render();
    for line in [
        r#"hookbox_ingest_requests_total{source="heygen",reason="client_share",code="503"} 1"#,
        r#"hookbox_connections_closed_total{door="public",reason="client_share"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// The log of this thread, which is the host's as well.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(lines))
    }

    fn lines_with(&self, text: &str) -> Vec<String> {
        let all = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn the_log_says_once_that_an_address_with_its_share_may_be_a_proxy() {
    let (log, _guard) = Log::start();
    let host = host(connections(4), PATIENT).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(probed(&host, 3).await);
    }
    let lines = log.lines_with("trusted_proxies");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("127.0.0.3") && lines[0].contains("a quarter, of the connections"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_refusal_in_the_log_names_the_client_that_a_trusted_proxy_forwards_for() {
    let (log, _guard) = Log::start();
    let host = host(connections(8), PATIENT).await;
    host.trust(trusting("[\"127.0.0.3\"]"));
    for from in [3, 4] {
        let mut client = host.connect_from(local(from)).await;
        let forwarded = [("forwarded", "for=1.1.1.1, for=203.0.113.9")];
        client.send(request("POST", "/webhook/heygen", &forwarded, b"")).await;
        client.response().await.is_problem(401);
    }
    let lines = log.lines_with("webhook refused");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("client.address=203.0.113.9 "), "{lines:?}");
    assert!(lines[1].contains("client.address=127.0.0.4:"), "a stranger's own address: {lines:?}");
}
