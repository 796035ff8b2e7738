//! Reads `[store]`.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::places;
use super::raw::{Item, Section, Sink};
use super::secrets::{self, Places};
use super::units::{DAY_MS, HOUR_MS, MINUTE_MS, show_ms};
use crate::files::instead_of_folder;
use crate::seal::SealKey;

mod secret_key;

const STORE_SIZE_BOUNDS: RangeInclusive<u64> = 64 << 20..=64 << 40;
const RETENTION_BOUNDS_MS: RangeInclusive<u64> = HOUR_MS..=3_650 * DAY_MS;
const DEFAULT_RETENTION_MS: u64 = 30 * DAY_MS;
const DEFAULT_AUDIT_RETENTION_MS: u64 = 365 * DAY_MS;
const LEAST_DEDUPE_WINDOW_MS: u64 = MINUTE_MS;
const DEFAULT_DEDUPE_WINDOW_MS: u64 = 14 * DAY_MS;

const TAIL_BOUNDS: RangeInclusive<u64> = 0..=4 << 30;
const DEFAULT_TAIL: u64 = 32 << 20;

/// The store, unless the file names another.
const DEFAULT_FILE: &str = "data/hookbox.db";

/// An address of each kind, for people.
const EXAMPLES: &str = "\"sqlite:data/hookbox.db\"";

/// `[store]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The store itself.
    pub place: StorePlace,
    /// Settled events older than this are deleted.
    pub retention_ms: u64,
    /// Settled events older than this lose their data and keep their place; `None`: they keep it as
    /// long as they are there. Not longer than `retention_ms`.
    pub payload_retention_ms: Option<u64>,
    /// Repeated deliveries are recognised for this long; not longer than `retention_ms`.
    pub dedupe_window_ms: u64,
    /// Entries of the audit log that are older are deleted.
    pub audit_retention_ms: u64,
    /// The most that the database and its log may take before new events are refused, in bytes;
    /// without it a tenth of the disk, or a GiB, is left free.
    pub max_bytes: Option<u64>,
    /// Seals the secrets that hosts of a shared store have together; without it each has its own.
    pub secret_key: Option<SealKey>,
}

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// The SQLite file of `url = "sqlite:PATH"`, absolute.
    Sqlite(PathBuf),
    /// A Postgres database that several hosts share.
    Postgres(PostgresPlace),
}

/// Where events have to be before they are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequiredPromise {
    /// On the primary's disk.
    #[default]
    Primary,
    /// Also on the disk of a standby.
    Replicated,
}

/// A Postgres database, and how to get there.
#[derive(Clone)]
pub struct PostgresPlace {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    pub url: SecretString,
    /// The PEM file of the authorities that the server's certificate is checked against, absolute;
    /// the public ones if there is none.
    pub ca_file: Option<PathBuf>,
    /// Where events have to be before they are acknowledged.
    pub require: RequiredPromise,
    /// The bytes of acknowledged batches that are kept in memory for a failover; 0 keeps none.
    pub tail_bytes: u64,
    /// Whether a pooler is between, if somebody says so.
    pub pooler: Option<bool>,
    /// The folder of what a host keeps beside it, absolute, unless the file names another.
    folder: PathBuf,
}

impl PostgresPlace {
    /// Server and database, without user and password.
    pub fn shown(&self) -> String {
        without_user(self.url.expose_secret())
    }
}

impl PartialEq for PostgresPlace {
    fn eq(&self, other: &Self) -> bool {
        self.url.expose_secret() == other.url.expose_secret()
            && self.ca_file == other.ca_file
            && self.require == other.require
            && self.tail_bytes == other.tail_bytes
            && self.pooler == other.pooler
            && self.folder == other.folder
    }
}

impl Eq for PostgresPlace {}

impl fmt::Debug for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresPlace").field(&self.shown()).finish()
    }
}

impl fmt::Display for StorePlace {
    /// The address as the file may have it, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(place) => f.write_str(&place.shown()),
        }
    }
}

/// Reads `[store]`.
pub(super) fn read_store(mut section: Section<'_>, places: &Places<'_>) -> StoreSettings {
    let secret_key = section.take("secret_key");
    let (place, is_shared) = read_place(&mut section, places);
    let secret_key = secret_key.and_then(|item| secret_key::read(&item, is_shared, places));
    let retention_ms =
        section.take("retention").and_then(|item| item.duration_ms(RETENTION_BOUNDS_MS));
    let retention_ms = retention_ms.unwrap_or(DEFAULT_RETENTION_MS);
    let payloads = section.take("payload_retention");
    let payload_retention_ms =
        payloads.as_ref().and_then(|item| item.duration_ms(RETENTION_BOUNDS_MS));
    if let Some(item) = payloads
        && payload_retention_ms > Some(retention_ms)
    {
        let kept = show_ms(retention_ms);
        let help = format!("write at most {kept}, or a longer `retention`");
        item.refuse(format_args!("is longer than `store.retention` ({kept})"), help);
    }
    let window = section.take("dedupe_window");
    let dedupe_window_ms =
        window.as_ref().and_then(|item| item.duration_ms(LEAST_DEDUPE_WINDOW_MS..=u64::MAX));
    let dedupe_window_ms = dedupe_window_ms.unwrap_or(DEFAULT_DEDUPE_WINDOW_MS.min(retention_ms));
    if let Some(item) = window
        && dedupe_window_ms > retention_ms
    {
        let kept = show_ms(retention_ms);
        let help = format!(
            "write at most {kept}, or a longer `retention`: a duplicate names the first event, which must still be \
                there"
        );
        item.refuse(format_args!("is longer than `store.retention` ({kept})"), help);
    }
    let audit = section.take("audit_retention");
    let audit = audit.and_then(|item| item.duration_ms(RETENTION_BOUNDS_MS));
    let max_bytes = section.take("max_size").and_then(|item| item.size_bytes(STORE_SIZE_BOUNDS));
    section.finish();
    StoreSettings {
        place,
        retention_ms,
        payload_retention_ms,
        dedupe_window_ms,
        audit_retention_ms: audit.unwrap_or(DEFAULT_AUDIT_RETENTION_MS),
        max_bytes,
        secret_key,
    }
}

impl StoreSettings {
    /// The folder of the SQLite file, or `data` beside the configuration; absolute.
    pub fn folder(&self) -> &Path {
        match &self.place {
            StorePlace::Sqlite(path) => path.parent().unwrap_or(Path::new("/")),
            StorePlace::Postgres(place) => &place.folder,
        }
    }

    /// The SQLite file, if the store is one.
    pub fn sqlite_path(&self) -> Option<&Path> {
        match &self.place {
            StorePlace::Sqlite(path) => Some(path),
            StorePlace::Postgres(_) => None,
        }
    }

    /// The folder in which a hookbox before schema version 6 kept what plugins may do.
    pub fn former_approvals_dir(&self) -> PathBuf {
        self.folder().join("approved")
    }

    /// The folder in which it kept machine code.
    pub fn former_compiled_dir(&self) -> PathBuf {
        self.folder().join("cache")
    }
}

/// The keys that only a store in Postgres has.
struct PostgresKeys<'a> {
    ca_file: Option<Item<'a>>,
    require: Option<Item<'a>>,
    tail: Option<Item<'a>>,
    pooler: Option<Item<'a>>,
}

/// Reads `url` and what belongs to it. Also returns whether it means a store in Postgres, which it
/// may although no address of one was found.
fn read_place(section: &mut Section<'_>, places: &Places<'_>) -> (StorePlace, bool) {
    let url = section.take("url");
    let keys = PostgresKeys {
        ca_file: section.take("ca_file"),
        require: section.take("require"),
        tail: section.take("tail"),
        pooler: section.take("pooler"),
    };
    let sqlite = |file: &str| StorePlace::Sqlite(places::tidy(&places.base.join(file)));
    let found = url.as_ref().and_then(|item| {
        if item.value.is_table() {
            let url = placed_url(item, places)?;
            return Some(postgres(url, &keys, places));
        }
        let text = item.text(EXAMPLES)?;
        if is_postgres(text) {
            return written_url(item, text).map(|url| postgres(url, &keys, places));
        }
        sqlite_file(item, text).map(sqlite)
    });
    let place = found.unwrap_or_else(|| sqlite(DEFAULT_FILE));
    if let StorePlace::Sqlite(path) = &place {
        refuse_file_for_folder(path, url.as_ref(), section.sink());
    }
    let is_sqlite = matches!(place, StorePlace::Sqlite(_))
        && url.as_ref().is_none_or(|url| url.value.as_str().is_some_and(|text| !is_postgres(text)));
    let all = [keys.ca_file, keys.require, keys.tail, keys.pooler];
    if is_sqlite {
        for item in all.iter().flatten() {
            item.refuse_key(
                "is for a store in Postgres",
                "leave it out, or name a server in `url`",
            );
        }
    }
    (place, !is_sqlite)
}

fn postgres(url: String, keys: &PostgresKeys<'_>, places: &Places<'_>) -> StorePlace {
    let ca_file = keys.ca_file.as_ref().and_then(|item| {
        let path = places::tidy(&places.base.join(item.text("\"/etc/hookbox/ca.pem\"")?));
        if !path.is_file() {
            let help = "name the PEM file of the authority that the server's certificate is by";
            item.refuse(format_args!("is \"{}\", where no file is", path.display()), help);
        }
        Some(path)
    });
    let require = keys.require.as_ref().and_then(required);
    let tail = keys.tail.as_ref().and_then(|item| item.size_bytes(TAIL_BOUNDS));
    StorePlace::Postgres(PostgresPlace {
        url: url.into(),
        ca_file,
        require: require.unwrap_or_default(),
        tail_bytes: tail.unwrap_or(DEFAULT_TAIL),
        pooler: keys.pooler.as_ref().and_then(Item::truth),
        folder: places::tidy(&places.base.join("data")),
    })
}

/// Refuses a store whose folder cannot be one: a file is in its place.
fn refuse_file_for_folder(path: &Path, url: Option<&Item<'_>>, sink: &Sink) {
    let Some(folder) = path.parent() else { return };
    let Some(file) = places::instead_of(folder) else { return };
    let message = format!(
        "the folder of `store.url`, {}, cannot be made: {}: {}",
        folder.display(),
        file.display(),
        instead_of_folder(file)
    );
    let help =
        "move what is there away, or name another place: `url = \"sqlite:PATH\"` under [store]";
    sink.problem(url.map(|item| item.span.clone()), message, help);
}

fn required(item: &Item<'_>) -> Option<RequiredPromise> {
    match item.text("\"replicated\"")? {
        "primary" => Some(RequiredPromise::Primary),
        "replicated" => Some(RequiredPromise::Replicated),
        other => {
            let help = "write \"primary\", or \"replicated\" if an event has to be on a standby \
                 before it is acknowledged";
            item.refuse(format_args!("is \"{other}\""), help);
            None
        }
    }
}

/// Whether a text is the address of a Postgres database.
pub fn is_postgres(text: &str) -> bool {
    text.starts_with("postgres:") || text.starts_with("postgresql:")
}

/// Whether the address of a Postgres database holds a password.
pub fn holds_password(url: &str) -> bool {
    let rest = url.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let user = before.rsplit_once('@').map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':'))
        || query.split('&').any(|pair| pair.starts_with("password="))
}

/// Server and database of such an address, without user and password.
pub fn without_user(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default())
}

/// An address that an environment variable or a file holds.
fn placed_url(item: &Item<'_>, places: &Places<'_>) -> Option<String> {
    secrets::mask_but(item, &["env", "file"]);
    let section = item.section("{ env = \"DATABASE_URL\" }")?;
    let help = "it is to hold \"postgres://USER:PASSWORD@HOST:PORT/DATABASE\"";
    match secrets::read_place(item, section, places)? {
        (place, None) => {
            item.refuse(format_args!("names {place}, which is empty or absent"), help);
            None
        }
        (place, Some(text)) => {
            let url = String::from_utf8(text.to_vec()).ok().filter(|url| is_postgres(url));
            if url.is_none() {
                item.refuse(
                    format_args!("names {place}, which holds no address of a Postgres database"),
                    help,
                );
            }
            url
        }
    }
}

/// An address in the file itself, which has no password.
fn written_url(item: &Item<'_>, text: &str) -> Option<String> {
    if holds_password(text) {
        item.sink().mask(item.span.clone());
        item.refuse(
            "holds a password, and a secret is never written here",
            "put the whole address into an environment variable or a file: `url = { env = \"DATABASE_URL\" }`",
        );
        return None;
    }
    let rest = text.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    if rest.split('?').next().is_none_or(str::is_empty) {
        item.refuse(
            "is not the address of a store",
            "write \"postgres://USER@HOST:PORT/DATABASE\", or keep it with its password elsewhere: \
             `url = { env = \"DATABASE_URL\" }`",
        );
        return None;
    }
    Some(text.to_owned())
}

/// The path in `sqlite:PATH`; `sqlite://PATH` is the same.
fn sqlite_file<'a>(item: &Item<'a>, text: &'a str) -> Option<&'a str> {
    let file = text.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
    let file = file.filter(|file| {
        !file.is_empty()
            && !file.ends_with('/')
            && !file.contains(['?', '\0'])
            && !file.starts_with(':')
    });
    if file.is_none() {
        // An address may carry a password, a path does not.
        let is_path = !text.contains(['@', '?', ':']);
        let near = match is_path && !text.is_empty() {
            true => format!("did you mean \"sqlite:{text}\"? "),
            false => String::new(),
        };
        if !is_path {
            item.sink().mask(item.span.clone());
        }
        let help = "write \"sqlite:\" and the path of a file, for example \"sqlite:data/hookbox.db\", or \
            \"postgres://USER@HOST/DATABASE\"; a store in memory would lose what was acknowledged";
        item.refuse("is not the address of a store", format!("{near}{help}"));
    }
    file
}
