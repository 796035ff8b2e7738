//! Reads `[server]`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::known::{MissingPlugins, list_plugins};
use super::networks::{self, Networks};
use super::places;
use super::raw::{Item, Section, Sink};
use super::tokens::{AdminToken, AdminUrl, read_tokens, read_url};
use super::units::{HOUR_MS, SECOND_MS};
use super::urls::{leads_to_this_machine, read_public_url};
use super::warnings::Warning;
use crate::files::instead_of_folder;
use crate::text::needs_escape;

/// The bounds of `max_body`, for all sources and for one.
pub(super) const MAX_BODY_BOUNDS: RangeInclusive<u64> = 1 << 10..=64 << 20;
const KEEP_ALIVE_BOUNDS_MS: RangeInclusive<u64> = SECOND_MS..=HOUR_MS;
/// Longer than the idle time of usual load balancers (60 s), so that they close first.
const DEFAULT_KEEP_ALIVE_MS: u64 = 75 * SECOND_MS;
const PLUGIN_STACK_BOUNDS: RangeInclusive<u64> = 64 << 10..=4 << 20;
/// Stack of a plugin, unless the configuration says otherwise, in bytes.
pub const DEFAULT_STACK_BYTES: usize = 512 << 10;
const DEFAULT_MAX_BODY_BYTES: usize = 1 << 20;
const TREE_EVENTS_BOUNDS: RangeInclusive<u32> = 1..=10_000_000;
const DEFAULT_TREE_EVENTS: u32 = 10_000;
const TREE_SIZE_BOUNDS: RangeInclusive<u64> = 1 << 20..=64 << 30;
const DEFAULT_TREE_BYTES: u64 = 64 << 20;
/// The longest `name`, in characters.
const MAX_NAME_CHARS: usize = 40;
const DEFAULT_NAME: &str = "hookbox";

/// The default address for webhooks.
pub(super) const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// The default address of the API.
pub(super) const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3001);

/// The folder in the data folder that keeps the secrets the host makes.
pub(super) const SECRETS_FOLDER: &str = "secrets";

/// `[server]`. A change of any of these needs a restart, and a reload says so; only `name`,
/// `admin_tokens`, `admin_url`, `public_url`, `trusted_proxies`, `keep_alive` and `max_body` take
/// effect at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The name that people know this host by.
    pub name: String,
    /// Webhooks, and nothing else.
    pub listen: SocketAddr,
    /// API and metrics; on loopback, or with tokens.
    pub admin: SocketAddr,
    /// The clients of the API; without one, everybody on loopback is operator.
    pub admin_tokens: Vec<AdminToken>,
    /// The address of the API behind a reverse proxy; only with tokens.
    pub admin_url: Option<AdminUrl>,
    /// How providers reach this host, without a path of a source.
    pub public_url: Option<String>,
    /// Peers whose forwarded client addresses are believed.
    pub trusted_proxies: Networks,
    /// The time that a connection is kept between two requests, in milliseconds.
    pub keep_alive_ms: u64,
    /// The folder whose `*.wasm` and `*.wat` files are the plugins, absolute.
    pub plugins_dir: PathBuf,
    /// The folder of what the host keeps beside its store, absolute.
    pub data_dir: PathBuf,
    /// The largest request body that is read, in bytes, of a source that says nothing else.
    pub max_body_bytes: usize,
    /// Stack of a plugin, in bytes.
    pub plugin_stack_bytes: usize,
    /// Events that may descend from one event from outside.
    pub tree_events: u64,
    /// Bytes of their bodies.
    pub tree_bytes: u64,
}

/// The reach of the listener: keys that the host makes itself are for tests on its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing says that webhooks come from elsewhere.
    ThisMachine,
    /// Others reach it. The text says what shows that.
    Others(&'static str),
}

impl Reach {
    /// A proxy on this machine brings webhooks of others to a loopback address.
    pub(super) fn of(listen: SocketAddr, public_url: Option<&str>, proxies: &Networks) -> Self {
        if !listen.ip().is_loopback() {
            return Self::Others("`server.listen` is not a loopback address");
        }
        if public_url.is_some_and(|url| !leads_to_this_machine(url)) {
            return Self::Others("`server.public_url` is set");
        }
        match proxies.is_empty() {
            true => Self::ThisMachine,
            false => Self::Others("`server.trusted_proxies` is set"),
        }
    }
}

impl Server {
    /// Where webhooks can come from.
    pub(super) fn reach(&self) -> Reach {
        Reach::of(self.listen, self.public_url.as_deref(), &self.trusted_proxies)
    }

    /// Secrets that the host has made.
    pub fn secrets_dir(&self) -> PathBuf {
        self.data_dir.join(SECRETS_FOLDER)
    }

    /// Machine code of plugins, and the files that ran last.
    pub fn compiled_dir(&self) -> PathBuf {
        self.data_dir.join("compiled")
    }
}

/// Reads `[server]`; `base` is the folder of the file, `beside_store` that of the store. Also lists
/// the plugins, if their folder can be read.
pub(super) fn read_server(
    mut section: Section<'_>,
    base: &Path,
    beside_store: &Path,
    missing: MissingPlugins,
    sink: &Sink,
) -> (Server, Option<BTreeSet<String>>) {
    let name = section.take("name").and_then(|item| host_name(&item));
    let tokens = section.take("admin_tokens");
    let admin_tokens = tokens.as_ref().map(read_tokens).unwrap_or_default();
    let has_tokens = tokens.is_some_and(|item| !item.one_or_many().is_empty());
    let (listen, admin) = read_addresses(&mut section, has_tokens, sink);
    let admin_url = section.take("admin_url").and_then(|it| read_proxied(&it, admin, has_tokens));
    warn_of_plain_http(admin, admin_url.as_ref(), sink);
    let public_url = section.take("public_url").and_then(|item| read_public_url(&item));
    let trusted_proxies =
        section.take("trusted_proxies").map(|item| networks::read(&item)).unwrap_or_default();
    let keep_alive =
        section.take("keep_alive").and_then(|item| item.duration_ms(KEEP_ALIVE_BOUNDS_MS));
    let keep_alive_ms = keep_alive.unwrap_or(DEFAULT_KEEP_ALIVE_MS);
    let plugins_item = section.take("plugins_dir");
    let plugins_dir = plugins_path(plugins_item.as_ref(), base);
    let plugins = list_plugins(&plugins_dir).map_err(|error| {
        let message = format!("the plugins folder {} cannot be read: {error}", plugins_dir.display());
        let help = "create it, or set `plugins_dir` in `[server]`; a relative path starts at the configuration file";
        // Otherwise the registry says so.
        if missing == MissingPlugins::Refuse {
            sink.problem(plugins_item.map(|item| item.span), message, help);
        }
    });
    let data_dir = data_path(section.take("data_dir").as_ref(), base, beside_store);
    let max_body = section.take("max_body").and_then(|item| item.size_bytes(MAX_BODY_BOUNDS));
    let max_body_bytes =
        max_body.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(DEFAULT_MAX_BODY_BYTES);
    let stack = section.take("plugin_stack").and_then(|item| item.size_bytes(PLUGIN_STACK_BOUNDS));
    let plugin_stack_bytes =
        stack.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(DEFAULT_STACK_BYTES);
    let tree_events = section.take("tree_events").and_then(|item| item.whole(TREE_EVENTS_BOUNDS));
    let tree_events = tree_events.unwrap_or(DEFAULT_TREE_EVENTS).into();
    let tree_size = section.take("tree_size").and_then(|item| item.size_bytes(TREE_SIZE_BOUNDS));
    let tree_bytes = tree_size.unwrap_or(DEFAULT_TREE_BYTES);
    section.finish();
    let server = Server {
        name: name.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
        listen,
        admin,
        admin_tokens,
        admin_url,
        public_url,
        trusted_proxies,
        keep_alive_ms,
        plugins_dir,
        data_dir,
        max_body_bytes,
        plugin_stack_bytes,
        tree_events,
        tree_bytes,
    };
    (server, plugins.ok())
}

/// The name of the host, for people.
fn host_name(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"acme-prod\"")?;
    let fits = (1..=MAX_NAME_CHARS).contains(&text.chars().count())
        && !text.chars().any(needs_escape)
        && text.trim() == text;
    if !fits {
        let help =
            format!("write 1 to {MAX_NAME_CHARS} characters on one line, such as \"acme-prod\"");
        item.refuse("is not a name", help);
    }
    fits.then(|| text.to_owned())
}

/// Warns of an API that other machines reach without TLS.
fn warn_of_plain_http(admin: SocketAddr, url: Option<&AdminUrl>, sink: &Sink) {
    if !admin.ip().is_loopback() && url.is_none() {
        sink.warn(Warning::new(format!(
            "`server.admin` ({admin}) is plain HTTP that other machines reach: tokens and payloads pass in the clear; \
             put a reverse proxy that speaks TLS in front of it, and name it in `server.admin_url`"
        )));
    }
}

/// Reads the address behind a proxy. Without a token it is refused: whoever comes through the proxy
/// comes over loopback. Beyond loopback `server.admin` itself is refused.
fn read_proxied(item: &Item<'_>, admin: SocketAddr, has_tokens: bool) -> Option<AdminUrl> {
    let url = read_url(item)?;
    if has_tokens || !admin.ip().is_loopback() {
        return Some(url);
    }
    let help = "whoever comes through that proxy would be operator: name them in `admin_tokens` (`hookbox token new NAME \
        --role operator` makes a token), or take `admin_url` out";
    let what = "by which others reach the admin API, and there is no token";
    item.refuse(format_args!("is \"{}\", {what}", url.origin()), help);
    None
}

/// Reads the two addresses of `[server]`.
fn read_addresses(
    section: &mut Section<'_>,
    has_tokens: bool,
    sink: &Sink,
) -> (SocketAddr, SocketAddr) {
    let listen_item = section.take("listen");
    let listen = listen_item.as_ref().and_then(address).unwrap_or(DEFAULT_LISTEN);
    let admin_item = section.take("admin");
    let admin = admin_item.as_ref().and_then(address).unwrap_or(DEFAULT_ADMIN);
    let is_open = !admin.ip().is_loopback() && !has_tokens;
    if let Some(item) = &admin_item
        && is_open
    {
        let help = "other addresses need `admin_tokens` (`hookbox token new NAME --role operator` makes one); or use \
            127.0.0.1 and a tunnel, such as ssh -L";
        let what = "which is not a loopback address, and there is no token";
        item.refuse(format_args!("is {admin}, {what}"), help);
    }
    if collide(listen, admin) {
        let span = admin_item.or(listen_item).map(|item| item.span);
        let message =
            format!("`server.listen` ({listen}) and `server.admin` ({admin}) are the same address");
        sink.problem(
            span,
            message,
            "give one of them another port: the API must not be reachable where webhooks come in",
        );
    }
    (listen, admin)
}

/// The plugins folder, absolute.
pub(super) fn plugins_path(item: Option<&Item<'_>>, base: &Path) -> PathBuf {
    places::tidy(&base.join(item.and_then(|item| path(item, "\"plugins\"")).unwrap_or("plugins")))
}

/// The data folder, absolute. It is made when it is needed.
pub(super) fn data_path(item: Option<&Item<'_>>, base: &Path, beside_store: &Path) -> PathBuf {
    let named = item.and_then(|item| Some((item, path(item, "\"data\"")?)));
    let Some((item, text)) = named else { return beside_store.to_owned() };
    let dir = places::tidy(&base.join(text));
    if dir.exists() && !dir.is_dir() {
        let help = "name a folder, which is made if it is not there; a relative path starts at the configuration file";
        item.refuse(
            format_args!("is \"{text}\", which cannot be used: {}", instead_of_folder(&dir)),
            help,
        );
    }
    dir
}

/// The address that `server.listen` or `server.admin` says.
pub(super) fn address(item: &Item<'_>) -> Option<SocketAddr> {
    let text = item.text("\"127.0.0.1:3000\"")?;
    let read = text.parse().ok();
    if read.is_none() {
        let port = text.rsplit(':').next().unwrap_or_default();
        let port = if port.parse::<u16>().is_ok() { port } else { "3000" };
        let help = format!(
            "write an IP address and a port, such as \"127.0.0.1:{port}\" for this machine or \"0.0.0.0:{port}\" for \
                all networks"
        );
        item.refuse(format_args!("is \"{text}\", which is not a socket address"), help);
    }
    read
}

/// Whether both cannot be bound, or should not: port 0 is a different one each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let meet = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && meet
}

fn path<'a>(item: &Item<'a>, example: &str) -> Option<&'a str> {
    let text = item.text(example)?;
    if text.is_empty() || text.contains('\0') {
        item.refuse("is not a path", format!("write for example {example}"));
        return None;
    }
    Some(text)
}
