//! The file a user writes, read into a [`Config`] that nothing changes afterwards.
//!
//! `raw` reads TOML with its spans, each section's module checks its own part and goes on after a problem, and what
//! comes out is complete: defaults filled in, paths absolute, secrets resolved, presets expanded into the template they
//! are data for. A file with any problem yields [`Problems`], all of them, and nothing else. This is the only place
//! that reads environment variables.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use crate::files;

mod ambient;
mod breaker;
pub mod grants;
mod inputs;
mod limits;
mod networks;
mod partial;
mod places;
mod plugin;
pub mod presets;
mod problems;
mod raw;
pub mod routes;
mod secrets;
mod server;
pub mod source;
mod sources;
mod syntax;
mod template;
mod units;
mod warnings;

pub use ambient::{admin_address, colour, config_file, is_dumb_terminal};
pub use breaker::BreakerPolicy;
pub use grants::{Grants, HostPattern, HttpRule, Injected, METHODS};
pub use inputs::{Content, Input};
pub use limits::Limits;
pub use networks::Networks;
pub use partial::{Admin, Partial};
pub use plugin::{Approve, PluginLog, PluginSettings, is_path};
pub use problems::{Problem, Problems};
pub use routes::Routes;
pub use routes::read::MissingPlugins;
pub use secrets::MakeSecrets;
pub use server::{DEFAULT_STACK_BYTES, Server, StoreSettings};
pub use source::Source;
pub use warnings::{About, Warning};

use raw::{Section, Sink};
use routes::read::Known;
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
    /// `[sources.NAME]`.
    pub sources: BTreeMap<String, Arc<Source>>,
    /// `[routes]`.
    pub routes: Arc<Routes>,
    /// `[plugins.NAME]`; a plugin without a section has [`PluginSettings::default`].
    pub plugins: BTreeMap<String, Arc<PluginSettings>>,
    /// Warnings: this configuration can run, and they want attention all the same. In no order.
    pub warnings: Vec<Warning>,
    /// The other files that were read for it.
    pub inputs: Vec<Input>,
}

/// What [`Config::parse`] reads besides the file's text.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Whether a missing secret may be created.
    pub make_secrets: MakeSecrets,
    /// Reads an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").field("make_secrets", &self.make_secrets).finish_non_exhaustive()
    }
}

impl Config {
    /// Reads and checks a file, the folder of plugins it names, and the secrets it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(path: &Path, make_secrets: MakeSecrets) -> Result<Self, Problems> {
        Self::load_with(path, make_secrets, MissingPlugins::Refuse)
    }

    /// As [`Config::load`], and says what becomes of it if it names plugins without a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load_with(path: &Path, make_secrets: MakeSecrets, missing: MissingPlugins) -> Result<Self, Problems> {
        let text = read_text(path)?;
        let around = Surroundings { make_secrets, env: &|name| std::env::var_os(name) };
        Self::parse_with(path, &text, around, missing)
    }

    /// As [`Config::load`], with the text of the file given; `path` says where relative paths start.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn parse(path: &Path, text: &str, around: Surroundings<'_>) -> Result<Self, Problems> {
        Self::parse_with(path, text, around, MissingPlugins::Refuse)
    }

    fn parse_with(
        path: &Path,
        text: &str,
        around: Surroundings<'_>,
        missing: MissingPlugins,
    ) -> Result<Self, Problems> {
        let sink = Sink::default();
        let (table, syntax) = DeTable::parse_recoverable(text);
        if !syntax.is_empty() {
            mask_likely_secrets(text, &sink);
        }
        syntax::explain(text, &syntax, &sink);
        let config = syntax.is_empty().then(|| Self::check(path, table.get_ref(), around, missing, &sink));
        match config {
            Some(config) if sink.is_empty() => Ok(config),
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
        around: Surroundings<'_>,
        missing: MissingPlugins,
        sink: &'a Sink,
    ) -> Self {
        let path = std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| places::tidy(&path));
        let base = path.parent().unwrap_or(&path);
        let places = Places { base, env: around.env };
        let mut root = Section::new(String::new(), Some(table), sink);
        let server_section = root.take_section("server", "{ listen = \"127.0.0.1:3000\" }");
        let store = server::read_store(root.take_section("store", "{ retention = \"30d\" }"), base);
        let (server, files) = server::read_server(server_section, base, store.folder(), missing, sink);
        let sources_section = root.take_section("sources", "{ heygen = { preset = \"heygen\" } }");
        let names: BTreeSet<&str> = sources_section.keys().collect();
        let drafts = sources::read_all(sources_section, &places);
        let plugins_dir = server.plugins_dir.display().to_string();
        let known = Known { sources: names, plugins: files.as_ref(), plugins_dir, missing };
        let routes = routes::read::read(root.take_section("routes", "{ \"order.paid\" = \"audit\" }"), &known);
        let plugins =
            plugin::read_all(root.take_section("plugins", "{ audit = { timeout = \"10s\" } }"), &known, &places);
        root.finish();
        // Nothing is created for a file that will not be used.
        let make = if sink.is_empty() { around.make_secrets } else { MakeSecrets::No };
        let folder = server.secrets_dir();
        let keys = Keys { loopback: server.listen.ip().is_loopback(), folder: &folder, make };
        let sources = sources::complete(drafts, &keys, sink);
        let (warnings, inputs) = (sink.take_warnings(), sink.take_inputs());
        Self { path, server, store, sources, routes: Arc::new(routes), plugins, warnings, inputs }
    }

    /// The settings of a plugin, default ones if it has no section.
    pub fn plugin(&self, name: &str) -> Arc<PluginSettings> {
        self.plugins.get(name).cloned().unwrap_or_default()
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

    /// Says in the log which sources take requests from anyone; at every start and every change.
    pub fn warn_of_open_sources(&self) {
        for source in self.sources.values().filter(|source| matches!(source.verify, source::Verify::None)) {
            tracing::warn!(source.name = %source.name, "scheme = \"none\": this source takes requests from anyone");
        }
    }

    /// Takes over the secrets of `running` for sources that have none here. For a changed `server.listen` that waits for
    /// a restart: until then the host listens where its own secrets are good enough.
    pub fn keep_secrets_of(&mut self, running: &Self) {
        for (name, source) in &mut self.sources {
            let old = running.sources.get(name).map(|old| &old.verify);
            let (source::Verify::Signature(new), Some(source::Verify::Signature(old))) = (&source.verify, old) else {
                continue;
            };
            if matches!(new.secrets, source::Secrets::Missing(_)) {
                let verify = source::Signature { secrets: old.secrets.clone(), ..new.clone() };
                *source = Arc::new(Source { verify: source::Verify::Signature(verify), ..(**source).clone() });
                let about = |warning: &&Warning| warning.about == Some(About::Source(name.clone()));
                self.warnings.retain(|warning| !about(&warning));
                self.warnings.extend(running.warnings.iter().filter(about).cloned());
            }
        }
    }

    /// Says which files held a secret for `running` and hold none any more, though this file still names them. The file of
    /// one of several secrets may be removed.
    ///
    /// # Errors
    /// There are some: for people.
    pub fn keeps_secrets_of(&self, running: &Self) -> Result<(), String> {
        let has_others = |name: &str| {
            let secrets = self.sources.get(name).map(|source| &source.verify);
            matches!(secrets, Some(source::Verify::Signature(signature)) if matches!(signature.secrets, source::Secrets::Set(_)))
        };
        let lost = inputs::lost(&running.inputs, &self.inputs, has_others);
        match lost.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{}: files that it names held a secret and are empty or absent now, so the last one stays in use: {} \
                 (write the secret into the file, or take the file out of the configuration)",
                self.path.display(),
                lost.join(", ")
            )),
        }
    }

    /// The keys that differ and only take effect after a restart.
    pub fn restart_needed(&self, other: &Self) -> Vec<&'static str> {
        let (old, new) = (&self.server, &other.server);
        // Where the file says nothing else, it follows `store.url`, which is named.
        let beside_store = |config: &Self| config.server.data_dir == config.store.folder();
        let moved_with_store = beside_store(self) && beside_store(other);
        let keys = [
            ("server.listen", old.listen != new.listen),
            ("server.admin", old.admin != new.admin),
            ("server.plugins_dir", old.plugins_dir != new.plugins_dir),
            ("server.data_dir", old.data_dir != new.data_dir && !moved_with_store),
            ("server.plugin_stack", old.plugin_stack_bytes != new.plugin_stack_bytes),
            ("server.tree_events", old.tree_events != new.tree_events),
            ("server.tree_size", old.tree_bytes != new.tree_bytes),
            ("store.url", self.store.sqlite_path != other.store.sqlite_path),
            ("store.max_size", self.store.max_bytes != other.store.max_bytes),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }
}

fn read_text(path: &Path) -> Result<String, Problems> {
    let refuse = |message: String, help: &str| Problems::of_file(path, message, help);
    let unreadable = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "create it, or name another one with `--config FILE` or HOOKBOX_CONFIG",
            std::io::ErrorKind::IsADirectory => "name the file within it",
            std::io::ErrorKind::InvalidInput => "name a regular file: it is read again whenever it changes",
            _ => "let this user read it, or name another one with `--config FILE` or HOOKBOX_CONFIG",
        };
        refuse(format!("the configuration file cannot be read: {error}"), help)
    };
    let bytes = match files::read_regular(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            let message = format!("the configuration file is larger than {}", units::show_bytes(MAX_FILE_BYTES));
            return Err(refuse(message, "is it the right file?"));
        }
        read => read.map_err(unreadable)?,
    };
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        refuse(
            format!("the configuration file is not UTF-8: there is a stray byte in line {line}"),
            "save it as UTF-8, as TOML wants it",
        )
    })
}

/// Masks the values of likely keys in a text that is not TOML, where nothing tells a variable's name from a secret.
fn mask_likely_secrets(text: &str, sink: &Sink) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((_, value)) = line.split_once('=').filter(|(key, _)| raw::looks_secret(key)) {
            sink.mask(start + line.len() - value.len()..start + line.len());
        }
        start += line.len();
    }
}

/// The fault that a test wants injected, for [`crate::fail::arm`]: `HOOKBOX_FAIL` and `HOOKBOX_FAIL_UNTIL`.
pub fn fail_plan() -> Option<(String, Option<PathBuf>)> {
    let plan = std::env::var("HOOKBOX_FAIL").ok().filter(|plan| !plan.is_empty())?;
    Some((plan, std::env::var_os("HOOKBOX_FAIL_UNTIL").map(PathBuf::from)))
}

/// What is to be logged, `HOOKBOX_LOG`, in the syntax of `tracing_subscriber::EnvFilter`.
pub fn log_filter() -> Option<String> {
    std::env::var("HOOKBOX_LOG").ok().filter(|filter| !filter.is_empty())
}

/// What calls this program from a shell: `hookbox` if the shell finds this file by that name, else the file's path.
pub fn own_command() -> String {
    const NAME: &str = "hookbox";
    let Ok(own) = std::env::current_exe() else { return NAME.to_owned() };
    let search = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&search).map(|dir| dir.join(NAME)).find(|file| file.is_file());
    let same = found.is_some_and(|file| file.canonicalize().ok() == own.canonicalize().ok());
    if same { NAME.to_owned() } else { own.to_string_lossy().into_owned() }
}

/// A path under which this very program can be started again, also after its file was replaced by another version.
pub fn own_program() -> std::io::Result<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok(PathBuf::from("/proc/self/exe")),
        false => std::env::current_exe(),
    }
}

/// Where what this user can do without may be kept: `XDG_CACHE_HOME`, or `.cache` in the home folder
/// (<https://specifications.freedesktop.org/basedir-spec>).
pub fn user_cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

/// Where temporary files are made.
pub fn temp_dir() -> PathBuf {
    std::env::temp_dir()
}
