//! The file a user writes, read into a [`Config`] that nothing changes afterwards.
//!
//! `raw` reads TOML with its spans; each section's module checks its own part and goes on after a
//! problem. The result is complete: defaults filled in, paths absolute, secrets resolved, presets
//! expanded into the template they are data for. A file with any problem yields [`Problems`], all
//! of them, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use crate::clock::Clock;
use crate::event::{Target, TargetOptions};
use crate::names::PluginName;
use crate::{env, files};

mod breaker;
mod change;
pub mod grants;
mod inputs;
mod json;
mod key_source;
mod known;
mod kv;
mod limits;
mod networks;
mod order;
mod partial;
mod places;
mod plugin;
mod preset_file;
pub mod presets;
mod problems;
mod rate;
mod raw;
pub mod routes;
pub mod schedules;
mod secrets;
mod server;
pub mod source;
mod sources;
mod store;
mod syntax;
mod telemetry;
mod template;
mod tokens;
mod units;
mod urls;
mod warnings;
mod written;

pub use breaker::BreakerPolicy;
pub use grants::{Authorities, Grants, HostPattern, HttpRule, Injected, METHODS};
pub use inputs::{ContentDigest, Input};
pub use known::MissingPlugins;
pub use kv::{AgainPolicy, KvSettings, shared_buckets};
pub use limits::Limits;
pub use networks::Networks;
pub use partial::{AdminAddress, Partial, WrittenItem};
pub use plugin::{Approve, PluginLog, PluginSettings, is_path};
pub use problems::{Problem, Problems};
pub use rate::Rate;
pub use routes::Routes;
pub use schedules::Schedule;
pub use secrets::MakeSecrets;
pub use server::{DEFAULT_STACK_BYTES, Server};
pub use source::Source;
pub use store::{
    PostgresPlace, RequiredPromise, StorePlace, StoreSettings, holds_password, is_postgres,
    without_user,
};
pub use telemetry::{OtlpEndpoint, Telemetry};
pub use tokens::{AdminToken, AdminUrl, Role, check_token_name};
pub use warnings::{About, Warning};
pub use written::{EffectiveKey, Written};

use known::KnownNames;
use raw::{Section, Sink};
use secrets::Places;
use sources::Keys;

/// The largest configuration file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A complete, checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from, absolute.
    pub path: PathBuf,
    /// `[server]`.
    pub server: Server,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[telemetry]`.
    pub telemetry: Telemetry,
    /// `[sources.NAME]`.
    pub sources: BTreeMap<String, Arc<Source>>,
    /// `[routes]`.
    pub routes: Arc<Routes>,
    /// `[schedules.NAME]`.
    pub schedules: BTreeMap<String, Arc<Schedule>>,
    /// `[plugins.NAME]`; a plugin without a section has [`PluginSettings::default`].
    pub plugins: BTreeMap<String, Arc<PluginSettings>>,
    /// Warnings: this configuration can run, and they want attention all the same. In no order.
    pub warnings: Vec<Warning>,
    /// The other files that were read for it.
    pub inputs: Vec<Input>,
    /// The keys of the file.
    pub written: BTreeMap<String, Written>,
}

/// The surroundings that [`Config::parse`] reads besides the file's text.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Whether a missing secret may be created.
    pub make_secrets: MakeSecrets,
    /// Reads an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("make_secrets", &self.make_secrets)
            .finish_non_exhaustive()
    }
}

/// A plugin as a target, with the key of its deliveries.
fn target(
    plugins: &BTreeMap<String, Arc<PluginSettings>>,
    plugin: PluginName,
    options: TargetOptions,
) -> Arc<Target> {
    let policy = plugins.get(&*plugin).and_then(|settings| settings.key.as_ref());
    let key = policy.map(|policy| policy.source.clone());
    Arc::new(Target { plugin, options: TargetOptions { key, ..options } })
}

impl Config {
    /// Reads and checks a file, the folder of plugins it names, and the secrets it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(path: &Path, make_secrets: MakeSecrets) -> Result<Self, Problems> {
        Self::load_with(path, make_secrets, MissingPlugins::Refuse)
    }

    /// Loads the file like [`Config::load`]; `missing` tells how plugins without a file are taken.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load_with(
        path: &Path,
        make_secrets: MakeSecrets,
        missing: MissingPlugins,
    ) -> Result<Self, Problems> {
        let text = read_text(path)?;
        let surroundings = Surroundings { make_secrets, env: &env::var };
        Self::parse_with(path, &text, surroundings, missing)
    }

    /// Reads `text` like [`Config::load`]; relative paths start at the folder of `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn parse(
        path: &Path,
        text: &str,
        surroundings: Surroundings<'_>,
    ) -> Result<Self, Problems> {
        Self::parse_with(path, text, surroundings, MissingPlugins::Refuse)
    }

    fn parse_with(
        path: &Path,
        text: &str,
        surroundings: Surroundings<'_>,
        missing: MissingPlugins,
    ) -> Result<Self, Problems> {
        let sink = Sink::default();
        let (table, syntax) = DeTable::parse_recoverable(text);
        if !syntax.is_empty() {
            mask_likely_secrets(text, &sink);
        }
        syntax::explain(text, &syntax, &sink);
        let config = syntax
            .is_empty()
            .then(|| Self::check(path, table.get_ref(), surroundings, missing, &sink));
        match config {
            Some(config) if sink.is_empty() => {
                Ok(Self { written: written::read(text, table.get_ref()), ..config })
            }
            config => {
                let (problems, masked) = sink.into_parts();
                let inputs = config.map(|config| config.inputs).unwrap_or_default();
                Err(Problems::new(path, text, problems, &masked).with_inputs(inputs))
            }
        }
    }

    fn check<'a>(
        path: &Path,
        table: &'a DeTable<'a>,
        surroundings: Surroundings<'_>,
        missing: MissingPlugins,
        sink: &'a Sink,
    ) -> Self {
        let path = places::absolute(path);
        let base = path.parent().unwrap_or(&path);
        let places = Places { base, env: surroundings.env };
        let mut root = Section::new(String::new(), Some(table), sink);
        let server_section = root.take_section("server", "{ listen = \"127.0.0.1:3000\" }");
        let store =
            store::read_store(root.take_section("store", "{ retention = \"30d\" }"), &places);
        let telemetry = telemetry::read(&mut root, &places);
        let (server, files) =
            server::read_server(server_section, base, store.folder(), missing, sink);
        known::warn_of_endings(&server.plugins_dir, sink);
        let sources_section = root.take_section("sources", "{ heygen = { preset = \"heygen\" } }");
        let names: BTreeSet<&str> = sources_section.keys().collect();
        let drafts = sources::read_all(sources_section, &places);
        let [joins, batches, schedules] = workflow_sections(&mut root);
        let known = KnownNames {
            sources: names,
            joins: joins.keys().collect(),
            batches: batches.keys().collect(),
            schedules: schedules.keys().collect(),
            plugins: files.as_ref(),
            plugins_dir: server.plugins_dir.display().to_string(),
            missing,
        };
        let section = root.take_section("plugins", "{ audit = { timeout = \"10s\" } }");
        let plugins = plugin::read_all(section, &known, &places);
        let section = root.take_section("routes", "{ \"order.paid\" = \"audit\" }");
        let mut routes = routes::read::read(section, &known, &plugins);
        routes.gatherings = routes::gatherings::read(joins, batches, &known);
        let schedules = schedules::read(schedules, || Clock::system().now_ms());
        schedules::warn_of_lost(&schedules, &routes, sink);
        routes.warn_of_lost(sink);
        root.finish();
        // Nothing is created for a file that will not be used.
        let make = if sink.is_empty() { surroundings.make_secrets } else { MakeSecrets::No };
        let folder = server.secrets_dir();
        let (reach, public_url) = (server.reach(), server.public_url.as_deref());
        let keys = Keys { reach, folder: &folder, make, public_url };
        let sources = sources::complete(drafts, &keys, sink);
        Self {
            path,
            server,
            store,
            telemetry,
            sources,
            routes: Arc::new(routes),
            schedules,
            plugins,
            warnings: sink.take_warnings(),
            inputs: sink.take_inputs(),
            written: BTreeMap::new(),
        }
    }

    /// The settings of a plugin, default ones if it has no section.
    pub fn plugin(&self, name: &str) -> Arc<PluginSettings> {
        self.plugins.get(name).cloned().unwrap_or_default()
    }

    /// A plugin as the target of a delivery that no route asks for.
    pub fn target(&self, plugin: PluginName) -> Arc<Target> {
        target(&self.plugins, plugin, TargetOptions::default())
    }

    /// The largest request body that is read for `source`, in bytes.
    pub fn max_body_bytes(&self, source: &Source) -> usize {
        source.max_body_bytes.unwrap_or(self.server.max_body_bytes)
    }

    /// The largest request body that is read for any source, in bytes.
    pub fn largest_body_bytes(&self) -> usize {
        let of_sources = self.sources.values().map(|source| self.max_body_bytes(source));
        of_sources.max().unwrap_or(self.server.max_body_bytes)
    }

    /// Logs which sources take requests from anyone, at every start and every change.
    pub fn warn_of_open_sources(&self) {
        for source in
            self.sources.values().filter(|source| matches!(source.verify, source::Verify::None))
        {
            tracing::warn!(source.name = %source.name, "scheme = \"none\": this source takes requests from anyone");
        }
    }
}

/// The sections of joins, batches and schedules.
fn workflow_sections<'a>(root: &mut Section<'a>) -> [Section<'a>; 3] {
    [
        root.take_section("joins", "{ order = { on = \"order.*\", within = \"1h\" } }"),
        root.take_section("batches", "{ sync = { on = \"contact.*\", within = \"1m\" } }"),
        root.take_section("schedules", "{ report = { every = \"1h\", emit = \"report.due\" } }"),
    ]
}

fn read_text(path: &Path) -> Result<String, Problems> {
    let refuse = |message: String, help: &str| Problems::of_file(path, message, help);
    let unreadable = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "create it, or name another one with `--config FILE` or HOOKBOX_CONFIG"
            }
            std::io::ErrorKind::IsADirectory => "name the file within it",
            std::io::ErrorKind::InvalidInput => {
                "name a regular file: it is read again whenever it changes"
            }
            _ => {
                "let this user read it, or name another one with `--config FILE` or HOOKBOX_CONFIG"
            }
        };
        refuse(format!("the configuration file cannot be read: {error}"), help)
    };
    let bytes = match files::read_regular(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            let message = format!(
                "the configuration file is larger than {}",
                units::show_bytes(MAX_FILE_BYTES)
            );
            return Err(refuse(message, "is it the right file?"));
        }
        read => read.map_err(unreadable)?,
    };
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        refuse(
            format!("the configuration file is not UTF-8: there is a stray byte in line {line}"),
            "save it as UTF-8, as TOML wants it",
        )
    })
}

/// Masks the values of likely keys in a text that is not TOML, where nothing tells a variable's
/// name from a secret.
fn mask_likely_secrets(text: &str, sink: &Sink) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((_, value)) = line.split_once('=').filter(|(key, _)| raw::looks_secret(key)) {
            sink.mask(start + line.len() - value.len()..start + line.len());
        }
        start += line.len();
    }
}
