//! A small world: a machine with a server of its own, an internet behind it, and a resolver that
//! says what it is told.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookbox::config::{Config, Grants, Limits, MakeSecrets, Surroundings};
use hookbox::egress::{
    BoxError, Egress, Network, NetworkFuture, RequestBody, RequestContext, RequestError,
    RequestTimeouts, ResponseBody, Session,
};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use tokio::net::TcpStream;

pub(super) use self::server::{Reply, Server, Then};

mod server;

/// A credential, as the environment of these tests holds it.
pub(super) const TOKEN: &str = "sk-live-0123456789/+abc";

/// A public address where nobody listens, and one that never answers.
pub(super) const CLOSED: &str = "93.184.215.99";
pub(super) const TARPIT: &str = "93.184.215.98";

/// A network that answers as it is told, and keeps what it was asked. `slow.example.com` is never
/// resolved.
pub(super) struct Net {
    /// The addresses that names resolve to, in turn; the last answer stays.
    answers: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    resolved: Mutex<Vec<String>>,
    dialled: Mutex<Vec<IpAddr>>,
    /// Where every address leads that is not this machine's.
    internet: SocketAddr,
}

impl Net {
    pub(super) fn answer(&self, name: &str, answers: &[&[&str]]) {
        let read =
            |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().unwrap().insert(name.to_owned(), answers.iter().map(read).collect());
    }

    pub(super) fn dialled(&self) -> Vec<String> {
        self.dialled.lock().unwrap().iter().map(IpAddr::to_string).collect()
    }

    pub(super) fn resolved(&self) -> Vec<String> {
        self.resolved.lock().unwrap().clone()
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
    }
}

impl Network for Net {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        self.resolved.lock().unwrap().push(name.to_owned());
        if name == "slow.example.com" {
            return Box::pin(std::future::pending());
        }
        let mut answers = self.answers.lock().unwrap();
        let answer = answers
            .get_mut(name)
            .map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        let answer = answer.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such name"));
        Box::pin(async move {
            Ok(answer?.into_iter().map(|address| SocketAddr::new(address, port)).collect())
        })
    }

    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, TcpStream> {
        self.dialled.lock().unwrap().push(address.ip());
        match address.ip().to_string().as_str() {
            CLOSED => {
                return Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())));
            }
            TARPIT => return Box::pin(std::future::pending()),
            _ => {}
        }
        let mapped = match address.ip() {
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map(IpAddr::V4),
            IpAddr::V4(_) => None,
        };
        let near = mapped.unwrap_or(address.ip()).is_loopback() || address.ip().is_unspecified();
        Box::pin(TcpStream::connect(if near { address } else { self.internet }))
    }
}

/// Everything together.
pub(super) struct World {
    pub(super) net: Arc<Net>,
    pub(super) egress: Egress,
    /// On this machine: what an attack wants to reach.
    pub(super) canary: Arc<Server>,
    /// At every other address, whatever the port.
    pub(super) internet: Arc<Server>,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::answering(|_| Reply::ok("hello")).await
    }

    /// A world whose servers answer like this.
    pub(super) async fn answering(script: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        let both =
            |script: Arc<dyn Fn(&str) -> Reply + Send + Sync>| move |request: &str| script(request);
        let (canary, internet) =
            (Server::new(both(script.clone())).await, Server::new(both(script)).await);
        let net = Arc::new(Net {
            answers: Mutex::default(),
            resolved: Mutex::default(),
            dialled: Mutex::default(),
            internet: SocketAddr::from(([127, 0, 0, 1], internet.port)),
        });
        net.answer("api.example.com", &[&["93.184.215.14"]]);
        Self { egress: Egress::over(net.clone()), net, canary, internet }
    }

    /// A text with the canary's port in place of `PORT`.
    pub(super) fn aimed(&self, text: &str) -> String {
        text.replace("PORT", &self.canary.port.to_string())
    }

    /// Rules, as a configuration holds them.
    pub(super) fn grants(&self, rules: &str) -> Arc<Grants> {
        grants(&self.aimed(rules))
    }

    /// The session of an attempt of `guest`, and its log.
    pub(super) fn session(&self, rules: &str) -> Attempt {
        self.limited(rules, Limits::default())
    }

    pub(super) fn limited(&self, rules: &str, limits: Limits) -> Attempt {
        self.attempt("guest", &self.grants(rules), limits)
    }

    pub(super) fn attempt(&self, plugin: &str, grants: &Arc<Grants>, limits: Limits) -> Attempt {
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let session = self.egress.session(RequestContext {
            plugin: plugin.into(),
            grants: Arc::clone(grants),
            limits,
            idempotency_key: "dlv_1_0".into(),
            began: Instant::now(),
            deadline: Instant::now() + Duration::from_millis(limits.timeout_ms),
            trace: None,
            warn: Box::new(move |line| lines.lock().unwrap().push(line.to_owned())),
        });
        Attempt { session, log, port: self.canary.port }
    }
}

/// `http = RULES` of `[plugins.guest]`, as the configuration reads it.
pub(super) fn grants(rules: &str) -> Arc<Grants> {
    read(&format!("[plugins.guest]\nhttp = {rules}"))
        .unwrap_or_else(|problems| panic!("{rules}\n{problems}"))
}

/// The grants of `guest` in a configuration, or what is wrong with it.
pub(super) fn read(text: &str) -> Result<Arc<Grants>, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("plugins")).unwrap();
    for name in ["guest", "other"] {
        std::fs::write(folder.path().join("plugins").join(name).with_extension("wasm"), "")
            .unwrap();
    }
    let env = |name: &str| (name == "API_TOKEN").then(|| TOKEN.into());
    let path: &Path = &folder.path().join("config.toml");
    let config =
        Config::parse(path, text, Surroundings { make_secrets: MakeSecrets::No, env: &env });
    config
        .map(|config| config.plugin("guest").grants.clone())
        .map_err(|problems| problems.render(false))
}

/// An attempt that sends.
pub(super) struct Attempt {
    pub(super) session: Session,
    log: Arc<Mutex<Vec<String>>>,
    port: u16,
}

impl Attempt {
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The only line of its log.
    #[track_caller]
    pub(super) fn line(&self) -> String {
        let log = self.log();
        assert_eq!(log.len(), 1, "{log:?}");
        log[0].clone()
    }

    /// A request without a body, in the canary's port if it says `PORT`.
    pub(super) fn request(&self, method: &str, url: &str) -> Result<Request<RequestBody>, String> {
        let uri = uri(&url.replace("PORT", &self.port.to_string()))?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Request::builder().method(method).uri(uri).body(body("")).unwrap())
    }

    pub(super) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, RequestError> {
        self.session.send(request, RequestTimeouts::default()).await
    }

    /// The response to a GET.
    pub(super) async fn open(&self, url: &str) -> Result<Response<ResponseBody>, RequestError> {
        self.send(self.request("GET", url).unwrap()).await
    }

    /// Status and body.
    pub(super) async fn get(&self, url: &str) -> Result<(u16, String), RequestError> {
        take(self.open(url).await?).await
    }

    #[track_caller]
    pub(super) fn get_now(&self, url: &str) -> impl Future<Output = (u16, String)> {
        let got = self.get(url);
        async move { got.await.unwrap_or_else(|failure| panic!("{failure}")) }
    }
}

/// Status and body of a response.
pub(super) async fn take(response: Response<ResponseBody>) -> Result<(u16, String), RequestError> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

pub(super) fn body(text: &str) -> RequestBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(BoxError::from).boxed_unsync()
}

/// A URL, put together as `wasi:http` does it: scheme, authority and path are set apart.
fn uri(url: &str) -> Result<Uri, String> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let mut uri = Uri::builder().scheme(scheme).authority(authority);
    if !path.is_empty() {
        uri = uri.path_and_query(path);
    }
    uri.build().map_err(|error| format!("unreadable: {error}"))
}
