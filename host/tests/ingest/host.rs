//! An intake on a real store, and a client that speaks HTTP byte by byte.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hookbox::clock::Clock;
use hookbox::config::{
    Config, DEFAULT_STACK_BYTES, Networks, Routes, Server, Source, StorePlace, StoreSettings,
};
use hookbox::ingest::{Capacity, Intake, KeyFetcher, SourceActivity, Unidentified, serve};
use hookbox::server::ServerTimeouts;
use hookbox::store::{EventFilter, EventView, Page, Queue, Sqlite, SqliteOptions, Store};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{sources::preset, sources::secrets, stores::Held};

/// Time after which a test has hung; nothing here takes a fraction of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const NOW_S: i64 = 1_770_000_000;
pub(crate) const MAX_BODY_BYTES: usize = 300_000;
pub(crate) const SECRET: &[u8] = b"a secret for tests";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A limit that is meant to be reached.
pub(crate) const SOON: Duration = Duration::from_millis(50);

/// Limits that no test reaches unless it sets out to.
pub(crate) const PATIENT: ServerTimeouts = ServerTimeouts {
    header: PATIENCE,
    header_when_full: PATIENCE,
    body: PATIENCE,
    reply: PATIENCE,
    write: PATIENCE,
    linger: PATIENCE,
    drain: PATIENCE,
};

pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    pub(crate) config: Arc<ArcSwap<Config>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) unidentified: Arc<Unidentified>,
    pub(crate) activity: Arc<SourceActivity>,
    pub(crate) clock: Clock,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    _folder: TempDir,
}

/// The differences between the hosts of the tests.
pub(crate) struct Options {
    pub(crate) sources: Vec<Source>,
    pub(crate) timeouts: ServerTimeouts,
    pub(crate) capacity: Capacity,
    pub(crate) max_waiting_appends: usize,
    pub(crate) keys: KeyFetcher,
    pub(crate) now_s: i64,
}

impl Default for Options {
    fn default() -> Self {
        let sources = ["heygen", "github"].map(|name| preset(name, secrets(&[SECRET])));
        Self {
            sources: sources.to_vec(),
            timeouts: PATIENT,
            capacity: Capacity::default(),
            max_waiting_appends: 100,
            keys: KeyFetcher::system(),
            now_s: NOW_S,
        }
    }
}

pub(crate) fn config(sources: Vec<Source>) -> Arc<Config> {
    let localhost = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let named = |source: Source| (source.name.to_string(), Arc::new(source));
    Arc::new(Config {
        path: "config.toml".into(),
        server: Server {
            name: "hookbox".to_owned(),
            listen: localhost,
            admin: localhost,
            admin_tokens: Vec::new(),
            admin_url: None,
            public_url: None,
            trusted_proxies: Networks::default(),
            keep_alive_ms: PATIENCE.as_millis() as u64,
            plugins_dir: "plugins".into(),
            data_dir: "unused".into(),
            max_body_bytes: MAX_BODY_BYTES,
            plugin_stack_bytes: DEFAULT_STACK_BYTES,
            tree_events: 10_000,
            tree_bytes: 64 << 20,
        },
        store: StoreSettings {
            place: StorePlace::Sqlite("unused".into()),
            retention_ms: 0,
            dedupe_window_ms: 0,
            payload_retention_ms: None,
            audit_retention_ms: 365 * 86_400_000,
            max_bytes: None,
            secret_key: None,
        },
        telemetry: Default::default(),
        schedules: Default::default(),
        sources: sources.into_iter().map(named).collect(),
        routes: Arc::new(Routes::default()),
        plugins: BTreeMap::new(),
        warnings: Vec::new(),
        inputs: Vec::new(),
        written: BTreeMap::new(),
    })
}

impl Host {
    pub(crate) async fn start(options: Options) -> Self {
        Self::start_with(options, |store| store).await
    }

    /// A host whose appends wait until the gate is opened.
    pub(crate) async fn start_held(timeouts: ServerTimeouts) -> (Self, Arc<Held>) {
        Self::start_held_with(Options { timeouts, ..Options::default() }).await
    }

    pub(crate) async fn start_held_with(options: Options) -> (Self, Arc<Held>) {
        let mut held = None;
        let host = Self::start_with(options, |store| {
            let gate = Held::new(store);
            held = Some(gate.clone());
            gate
        })
        .await;
        (host, held.expect("it was made"))
    }

    async fn start_with(
        options: Options,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Queue>,
    ) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), options, wrap).await
    }

    /// A host on the `hookbox.db` of a folder.
    pub(crate) async fn start_in(
        folder: TempDir,
        options: Options,
        wrap: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Queue>,
    ) -> Self {
        let clock = Clock::manual(options.now_s * 1_000);
        let sqlite = SqliteOptions {
            max_waiting_appends: options.max_waiting_appends,
            ..SqliteOptions::at(folder.path().join("hookbox.db"), clock.clone())
        };
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(sqlite).expect("a store"));
        let config = Arc::new(ArcSwap::new(config(options.sources)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        let (unidentified, activity) =
            (Arc::<Unidentified>::default(), Arc::<SourceActivity>::default());
        let intake = Intake {
            config: config.clone(),
            store: wrap(store.clone()),
            reads: store.clone(),
            clock: clock.clone(),
            timeouts: options.timeouts,
            capacity: options.capacity,
            unidentified: unidentified.clone(),
            activity: activity.clone(),
            tracer: Default::default(),
            keys: options.keys,
            series: Arc::default(),
        };
        let serving = tokio::spawn(serve(listener, intake, shutdown.clone()));
        let _folder = folder;
        Self { address, config, store, unidentified, activity, clock, shutdown, serving, _folder }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).await.expect("the host listens"))
    }

    /// A connection from another address of this machine.
    pub(crate) async fn connect_from(&self, local: IpAddr) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((local, 0).into()).expect("a loopback address");
        Client::new(socket.connect(self.address).await.expect("the host listens"))
    }

    /// From the next connection and request on, these peers are trusted proxies.
    pub(crate) fn trust(&self, networks: Networks) {
        let mut config = Config::clone(&self.config.load());
        config.server.trusted_proxies = networks;
        self.config.store(Arc::new(config));
    }

    /// The answer to one request on a connection of its own.
    pub(crate) async fn exchange(&self, request: impl AsRef<[u8]>) -> Response {
        let mut client = self.connect().await;
        client.send(request).await;
        client.response().await
    }

    /// Everything stored, oldest first.
    pub(crate) async fn events(&self) -> Vec<EventView> {
        events(&self.store).await
    }
}

pub(crate) async fn events(store: &Arc<dyn Store>) -> Vec<EventView> {
    let page = Page { limit: 100, after: None };
    let (summaries, _) = store.events(EventFilter::default(), page).await.expect("a page");
    let mut events = Vec::new();
    for summary in summaries.iter().rev() {
        events.push(store.event(summary.event.id).await.expect("an event"));
    }
    events
}

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("the host reads");
    }

    /// Sends, and says whether the host still takes it.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends until the host will have no more.
    pub(crate) async fn send_until_refused(&mut self, bytes: &[u8]) {
        let sending = async { while self.stream.write_all(bytes).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, sending)
            .await
            .expect("the host gives up on a client that does not read");
    }

    /// The next response.
    pub(crate) async fn response(&mut self) -> Response {
        loop {
            if let Some(head) = position(&self.unread, b"\r\n\r\n") {
                let text = String::from_utf8(self.unread[..head].to_vec()).expect("ASCII");
                let (start, headers) = text.split_once("\r\n").unwrap_or((&text, ""));
                let headers: BTreeMap<_, _> = headers
                    .lines()
                    .filter_map(|line| line.split_once(": "))
                    .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                    .collect();
                let length = headers
                    .get("content-length")
                    .map_or(0, |length| length.parse().expect("a number"));
                let end = head + 4 + length;
                if self.unread.len() >= end {
                    let status = start[9..12].parse().expect("a status");
                    let body =
                        String::from_utf8(self.unread[head + 4..end].to_vec()).expect("text");
                    self.unread.drain(..end);
                    return Response { status, headers, body };
                }
            }
            assert!(
                self.read().await,
                "the connection is closed without a response: {:?}",
                self.unread
            );
        }
    }

    /// Waits for the end of the connection, and returns what came before it.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.read().await {}
        std::mem::take(&mut self.unread)
    }

    /// The same, where the end may be a reset.
    pub(crate) async fn rest_or_reset(&mut self) -> Vec<u8> {
        let reading = async {
            while self.stream.read_buf(&mut self.unread).await.is_ok_and(|read| read > 0) {}
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the host closes");
        std::mem::take(&mut self.unread)
    }

    /// Waits for the host to ask for the body of a request that expects to be asked.
    pub(crate) async fn is_asked_for_the_body(&mut self) {
        while self.unread.len() < CONTINUE.len() {
            assert!(self.read().await, "the connection is closed: {:?}", self.unread);
        }
        assert_eq!(self.unread.drain(..CONTINUE.len()).as_slice(), CONTINUE);
    }

    /// Cuts the connection: the host gets a reset, not an orderly end.
    pub(crate) fn reset(self) {
        self.stream.set_zero_linger().expect("an open socket");
    }

    /// Ends our side only.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("an open socket");
    }

    async fn read(&mut self) -> bool {
        let reading = self.stream.read_buf(&mut self.unread);
        let read =
            tokio::time::timeout(PATIENCE, reading).await.expect("the host answers or closes");
        read.expect("the connection is not reset") > 0
    }
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// The event's id and what became of it.
    pub(crate) fn stored(&self) -> (String, String) {
        assert_eq!(
            (self.status, self.header("content-type")),
            (200, "application/json"),
            "{}",
            self.body
        );
        let json = self.json();
        let text = |key: &str| json[key].as_str().expect("a string").to_owned();
        (text("id"), text("status"))
    }

    /// Asserts that it is a problem as RFC 9457 has it.
    pub(crate) fn is_problem(&self, status: u16) {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, "application/problem+json"),
            "{self:?}"
        );
        let json = self.json();
        assert_eq!((&json["status"], &json["type"]), (&status.into(), &"about:blank".into()));
        assert!(json["title"].is_string() && json["detail"].is_string(), "{json}");
        assert_eq!(
            self.headers.contains_key("retry-after"),
            matches!(status, 429 | 503),
            "{self:?}"
        );
    }
}

/// A request to `path` with these header lines and body.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [request.as_bytes(), body].concat()
}

/// The signature header's value that the tests' secret makes over `body`.
pub(crate) fn signature(body: &[u8]) -> String {
    let source = preset("heygen", secrets(&[SECRET]));
    let signed = hookbox::ingest::sign(&source, body, "unused", NOW_S).expect("it can be signed");
    signed.into_iter().find(|(name, _)| name == "heygen-signature").expect("it is there").1
}

/// A signed request to the HeyGen source.
pub(crate) fn signed(body: &[u8]) -> Vec<u8> {
    request("POST", "/webhook/heygen", &[("Heygen-Signature", &signature(body))], body)
}
