//! A store, plugins, a configuration, and the router on top of them.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use hookbox::admin::{self, Admin, Role};
use hookbox::clock::Clock;
use hookbox::config::{Config, MakeSecrets};
use hookbox::dispatch::{Breakers, QueueViews, Trials};
use hookbox::event::{
    AttemptRecord, Counted, EventId, GatheringKind, GatheringTerms, GuestUse, HttpCall, Key,
    LogLine, NewEvent, NewMember, Outcome,
};
use hookbox::plugins::{Loaded, Registry};
use hookbox::sandbox::{CodeSource, Sandbox, SandboxOptions};
use hookbox::status::Status;
use hookbox::store::{KvTransaction, LeaseQueue, Next, Settlement, Sqlite, SqliteOptions};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::support::{NOW_MS, attributes, new_event};

/// The smallest plugin.
pub(super) const PLUGIN: &str = include_str!("../guests/ok.wat");

const CONFIG: &str = r#"
[sources.github]
preset = "github"
secrets = [{ env = "A_SECRET_THAT_IS_NOT_SET" }]
[routes]
"video.*" = ["audit", "orders"]
[joins.videos]
on = "part.*"
key = "subject"
need = 3
within = "1h"
emit = "videos.ready"
[schedules.report]
every = "1h"
emit = "report.due"
"#;

pub(super) struct Console {
    pub(super) admin: Admin,
    router: Router,
    dir: tempfile::TempDir,
}

/// How an attempt of a test ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ends {
    Done,
    Dead,
    Waits,
}

pub(super) fn site() -> Console {
    let dir = tempfile::tempdir().unwrap();
    let plugins = dir.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    for name in ["audit", "orders"] {
        std::fs::write(plugins.join(format!("{name}.wat")), PLUGIN).unwrap();
    }
    let config = dir.path().join("config.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let config = Config::load(&config, MakeSecrets::No).unwrap();
    let path = dir.path().join("hookbox.db");
    let clock = Clock::manual(NOW_MS);
    let store = Sqlite::open(SqliteOptions::at(path, clock.clone())).unwrap();
    let admin = Admin {
        store: Arc::new(store),
        registry: Arc::new(ArcSwap::from_pointee(registry(dir.path()))),
        approvals: Arc::default(),
        reloads: Arc::default(),
        breakers: Breakers::default(),
        trials: Trials::default(),
        queues: QueueViews::default(),
        config: Arc::new(ArcSwap::from_pointee(config)),
        status: Arc::new(Status::default()),
        unidentified: Arc::default(),
        activity: Arc::default(),
        public_address: ([127, 0, 0, 1], 0).into(),
        render_metrics: Arc::new(|_, _| "# no recorder\n".to_owned()),
        clock,
        started_ms: NOW_MS - 90_000,
        series: Arc::default(),
        tracer: Default::default(),
        closing: CancellationToken::new(),
        streams: Arc::default(),
        own_address: IpAddr::from([127, 0, 0, 1]),
        operations: Arc::default(),
        answers: Arc::default(),
        keyed_changes: Arc::default(),
        access: Arc::default(),
        role_without_token: Some(Role::Operator),
    };
    let router = admin::router(admin.clone());
    Console { admin, router, dir }
}

impl Console {
    /// The same host with other lines in `[server]`.
    pub(super) fn configure(&self, server: &str) {
        let file = self.dir.path().join("config.toml");
        std::fs::write(&file, format!("[server]\n{server}\n{CONFIG}")).unwrap();
        let config = Config::load(&file, MakeSecrets::No).unwrap();
        self.admin.config.store(Arc::new(config));
    }

    /// The same host for clients of another role.
    pub(super) fn with_role(mut self, role: Option<Role>) -> Self {
        self.admin.role_without_token = role;
        self.rebuilt()
    }

    /// The same host with what was changed in `admin`.
    pub(super) fn rebuilt(mut self) -> Self {
        self.router = admin::router(self.admin.clone());
        self
    }
}

fn registry(dir: &std::path::Path) -> Registry {
    let sandbox = Sandbox::new(SandboxOptions::default()).unwrap();
    Registry::of(["audit", "orders"].map(|name| Loaded {
        name: name.into(),
        plugin: sandbox.load(PLUGIN.as_bytes()).unwrap(),
        digest: hookbox::event::Digest([7; 32]),
        path: dir.join("plugins").join(format!("{name}.wat")),
        loaded_at_ms: NOW_MS,
        usage: Arc::default(),
        size_bytes: 1_234,
        source: CodeSource::Compiled { ms: 12 },
    }))
}

/// An event of the source `heygen`.
pub(super) fn event(kind: &str, subject: &str, body: &[u8], targets: &[&str]) -> NewEvent {
    NewEvent {
        provider_id: Some("p1".to_owned()),
        headers: vec![("user-agent".to_owned(), "HeyGen".to_owned())],
        ..new_event(attributes(kind, subject, body), targets)
    }
}

/// A member of a join of the configuration.
pub(super) fn member(key: &str) -> NewEvent {
    let member = NewMember {
        terms: Arc::new(GatheringTerms {
            plugin: "joins/videos".into(),
            kind: GatheringKind::Join,
            within: std::time::Duration::from_secs(3_600),
            quiet: None,
            need: Some(3),
            types: 0,
        }),
        key: Key::Text(key.into()),
        counted: Counted::Event,
        need: None,
        seen: 0,
        closes: false,
    };
    NewEvent { members: vec![member], ..event("part.ready", key, b"{}", &[]) }
}

impl Console {
    pub(super) async fn append(&self, event: NewEvent) -> EventId {
        self.admin.store.append(event).await.unwrap().id
    }

    /// Runs the due deliveries of a plugin, all with the same end; says how many.
    pub(super) async fn work(&self, plugin: &str, ends: Ends) -> usize {
        let places = Arc::new(Semaphore::new(100)).acquire_many_owned(100).await.unwrap();
        let leased =
            self.admin.store.lease(LeaseQueue::Plugin(plugin.into()), places).await.unwrap();
        let count = leased.leases.len();
        for lease in leased.leases {
            let emitted = vec![NewEvent {
                parent: Some(lease.event.id),
                hops: 1,
                ..event("order.ready", "s", b"{}", &[])
            }];
            let (next, outcome) = match ends {
                Ends::Done => (Next::Done { emitted, kv: seen() }, Outcome::Ok),
                Ends::Dead => (Next::Dead(None), Outcome::Reject),
                Ends::Waits => (Next::RetryIn(std::time::Duration::from_secs(60)), Outcome::Retry),
            };
            let record = AttemptRecord {
                started_at_ms: NOW_MS,
                duration_us: 1_500,
                used: Some(GuestUse { cpu_us: 1_200, memory_kib: 1_152 }),
                outcome,
                error: (outcome != Outcome::Ok).then(|| "no such order".to_owned()),
                logs: vec![LogLine { level: "info".to_owned(), message: "looked".to_owned() }],
                calls: vec![HttpCall {
                    method: "GET".to_owned(),
                    url: "https://api.example.com/v1/videos?id=*".to_owned(),
                    status: Some(200),
                    error: None,
                    refused: false,
                    sent_bytes: 0,
                    received_bytes: 165,
                    duration_ms: 31,
                    offset_ms: Some(4),
                }],
                steps: Vec::new(),
                plugin_digest: Some(hookbox::event::Digest([7; 32])),
            };
            self.admin
                .store
                .settle(lease, Settlement { next, record: Some(record) })
                .await
                .unwrap();
        }
        count
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// A request from this machine: status and JSON body.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let request =
            Request::builder().method(method).uri(path).header(header::HOST, "localhost:3001");
        let request = match body {
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let response = self.send(request.unwrap()).await;
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A GET that answers 200 with a body that does not end.
    pub(super) async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Body {
        let mut request = Request::builder().uri(path).header(header::HOST, "localhost:3001");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.into_body()
    }

    /// A GET that answers 200.
    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// A request that is refused: status and detail.
    pub(super) async fn refused(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, String) {
        let (status, body) = self.ask(method, path, body).await;
        assert!(status.is_client_error() || status.is_server_error(), "{path}: {status} {body}");
        assert_eq!(body["status"], status.as_u16(), "{path}: {body}");
        (status.as_u16(), body["detail"].as_str().unwrap().to_owned())
    }
}

/// The key that an attempt leaves which is done.
fn seen() -> KvTransaction {
    let writes = vec![("seen".to_owned(), Some(b"{\"n\":1}".to_vec()))];
    KvTransaction { writes, ..KvTransaction::default() }
}
