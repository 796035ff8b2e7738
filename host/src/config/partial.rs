//! The parts of a configuration that clients read: each by itself, so that a mistake elsewhere does
//! not stop a client that needs only the host's address, or the way a source signs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::known::{KnownNames, MissingPlugins};
use super::plugin::{self, PluginSettings};
use super::raw::{Section, Sink};
use super::secrets::Places;
use super::server::{
    DEFAULT_ADMIN, DEFAULT_LISTEN, Reach, SECRETS_FOLDER, address, data_path, plugins_path,
};
use super::sources::{self, Keys};
use super::store::{StorePlace, read_store};
use super::urls::read_public_url;
use super::{
    Config, MakeSecrets, Problems, Source, Surroundings, mask_likely_secrets, networks, places,
    read_text,
};
use crate::env;

/// A configuration, as far as it can be read.
#[derive(Debug)]
pub struct Partial {
    /// The admin address of the host.
    pub admin: AdminAddress,
    /// `server.listen`, or what is wrong with it.
    listen: Result<SocketAddr, Problems>,
    /// `server.plugins_dir`, absolute.
    pub plugins_dir: PathBuf,
    /// The folder of the secrets that are made or registered, absolute.
    pub secrets_dir: PathBuf,
    /// The store.
    pub store: StorePlace,
    /// The lines of `[routes]` as they are written, in the order of their patterns: whether a
    /// plugin exists is not asked.
    pub routes: Vec<(String, Vec<WrittenItem>)>,
    /// The whole, or everything that is wrong with it.
    pub whole: Result<Config, Problems>,
    /// The settings of each plugin that has a section, or what is wrong with them.
    plugins: BTreeMap<String, Result<Arc<PluginSettings>, Problems>>,
    /// Each source, or what is wrong with it.
    sources: BTreeMap<String, Result<Arc<Source>, Problems>>,
}

/// The host's admin address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAddress {
    /// The file says so, or says nothing, which means the default.
    Known(SocketAddr),
    /// The default, because the file cannot be read where it would say so.
    Guessed(SocketAddr),
}

impl Partial {
    /// Reads a file, and the secrets it names. Creates nothing.
    ///
    /// # Errors
    /// The file cannot be read, or is no text.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = read_text(path)?;
        Ok(Self::parse(path, &text, Surroundings { make_secrets: MakeSecrets::No, env: &env::var }))
    }

    /// The same with the text of the file given; `path` says where relative paths start.
    pub fn parse(path: &Path, text: &str, surroundings: Surroundings<'_>) -> Self {
        let whole = Config::parse(path, text, surroundings);
        let (table, syntax) = DeTable::parse_recoverable(text);
        let path = places::absolute(path);
        let base = path.parent().unwrap_or(&path);
        let file = PartialFile {
            path: &path,
            text,
            table: table.get_ref(),
            is_damaged: !syntax.is_empty(),
        };
        let listen = file.address("listen");
        let places = Places { base, env: surroundings.env };
        let store = read_store(
            Section::new("store".to_owned(), file.section("store"), &Sink::default()),
            &places,
        );
        let (plugins_dir, data_dir, public_url, proxies) = {
            let sink = Sink::default();
            let mut server = Section::new("server".to_owned(), file.section("server"), &sink);
            let plugins_dir = plugins_path(server.take("plugins_dir").as_ref(), base);
            let data_dir = data_path(server.take("data_dir").as_ref(), base, store.folder());
            let public_url = server.take("public_url").and_then(|item| read_public_url(&item));
            let proxies = server.take("trusted_proxies").map(|item| networks::read(&item));
            (plugins_dir, data_dir, public_url, proxies.unwrap_or_default())
        };
        let folder = data_dir.join(SECRETS_FOLDER);
        let keys = Keys {
            reach: Reach::of(
                listen.as_ref().ok().and_then(|listen| *listen).unwrap_or(DEFAULT_LISTEN),
                public_url.as_deref(),
                &proxies,
            ),
            folder: &folder,
            make: MakeSecrets::No,
            public_url: public_url.as_deref(),
        };
        let (sources, plugins) = match &whole {
            Ok(config) => (fine(&config.sources), fine(&config.plugins)),
            Err(_) => (file.sources(&places, &keys), file.plugins(&places)),
        };
        Self {
            admin: file.admin(),
            listen: listen.map(|listen| listen.unwrap_or(DEFAULT_LISTEN)),
            plugins_dir,
            secrets_dir: folder.clone(),
            store: store.place,
            routes: file.routes(),
            whole,
            plugins,
            sources,
        }
    }

    /// The admin address of a host whose file says nothing of it.
    pub fn default_admin() -> SocketAddr {
        DEFAULT_ADMIN
    }

    /// Gives a source away, or what is wrong with it; `None` if there is none of this name.
    pub fn take_source(&mut self, name: &str) -> Option<Result<Arc<Source>, Problems>> {
        self.sources.remove(name)
    }

    /// Gives the settings of a plugin away, or what is wrong with them; `None` if it has no
    /// section.
    pub fn take_plugin(&mut self, name: &str) -> Option<Result<Arc<PluginSettings>, Problems>> {
        self.plugins.remove(name)
    }

    /// Gives `server.listen` away, or what is wrong with it.
    ///
    /// # Errors
    /// The file says it in a way that cannot be read.
    pub fn take_listen(&mut self) -> Result<SocketAddr, Problems> {
        std::mem::replace(&mut self.listen, Ok(DEFAULT_LISTEN))
    }

    /// The names of all sources that were not given away.
    pub fn source_names(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }
}

/// All that is in a configuration without a problem.
fn fine<T>(parts: &BTreeMap<String, Arc<T>>) -> BTreeMap<String, Result<Arc<T>, Problems>> {
    parts.iter().map(|(name, part)| (name.clone(), Ok(Arc::clone(part)))).collect()
}

/// A file, as far as it is TOML.
struct PartialFile<'a> {
    path: &'a Path,
    text: &'a str,
    table: &'a DeTable<'a>,
    /// Whether it is not TOML; only the recovered parts are read then.
    is_damaged: bool,
}

impl PartialFile<'_> {
    fn section(&self, name: &str) -> Option<&DeTable<'_>> {
        self.table.get(name)?.get_ref().as_table()
    }

    /// Reads a part of the file, and has nothing to do with the problems of the others.
    fn part<T>(&self, read: impl FnOnce(&Sink) -> T) -> Result<T, Problems> {
        let sink = Sink::default();
        if self.is_damaged {
            mask_likely_secrets(self.text, &sink);
        }
        let value = read(&sink);
        if sink.is_empty() {
            return Ok(value);
        }
        let (problems, masked) = sink.into_parts();
        Err(Problems::new(self.path, self.text, problems, &masked))
    }

    /// An address under `[server]`; `None` if the file says nothing of it.
    fn address(&self, key: &'static str) -> Result<Option<SocketAddr>, Problems> {
        let read = |sink: &Sink| {
            let mut server = Section::new("server".to_owned(), self.section("server"), sink);
            server.take(key).and_then(|item| address(&item))
        };
        self.part(read)
    }

    fn admin(&self) -> AdminAddress {
        match self.address("admin") {
            Ok(Some(admin)) => AdminAddress::Known(admin),
            Ok(None) if !self.is_damaged => AdminAddress::Known(DEFAULT_ADMIN),
            Ok(None) | Err(_) => AdminAddress::Guessed(DEFAULT_ADMIN),
        }
    }

    fn sources(
        &self,
        places: &Places<'_>,
        keys: &Keys<'_>,
    ) -> BTreeMap<String, Result<Arc<Source>, Problems>> {
        let mut sources = BTreeMap::new();
        for (key, value) in self.section("sources").into_iter().flatten() {
            // By itself, so that the problems of other sources are not taken for its own.
            let mut alone = DeTable::new();
            alone.insert(key.clone(), value.clone());
            let read = |sink: &Sink| {
                let drafts = sources::read_all(
                    Section::new("sources".to_owned(), Some(&alone), sink),
                    places,
                );
                sources::complete(drafts, keys, sink).into_values().next()
            };
            if let Some(source) = self.part(read).transpose() {
                sources.insert(key.get_ref().to_string(), source);
            }
        }
        sources
    }

    fn plugins(
        &self,
        places: &Places<'_>,
    ) -> BTreeMap<String, Result<Arc<PluginSettings>, Problems>> {
        // Whether there is a file of this name is not asked.
        let known = KnownNames {
            sources: BTreeSet::new(),
            joins: BTreeSet::new(),
            batches: BTreeSet::new(),
            schedules: BTreeSet::new(),
            plugins: None,
            plugins_dir: String::new(),
            missing: MissingPlugins::Wait,
        };
        let mut plugins = BTreeMap::new();
        for (key, value) in self.section("plugins").into_iter().flatten() {
            let mut alone = DeTable::new();
            alone.insert(key.clone(), value.clone());
            let read = |sink: &Sink| {
                plugin::read_all(
                    Section::new("plugins".to_owned(), Some(&alone), sink),
                    &known,
                    places,
                )
                .into_values()
                .next()
            };
            if let Some(settings) = self.part(read).transpose() {
                plugins.insert(key.get_ref().to_string(), settings);
            }
        }
        plugins
    }

    fn routes(&self) -> Vec<(String, Vec<WrittenItem>)> {
        let routes = self.section("routes").into_iter().flatten();
        routes
            .map(|(pattern, items)| (pattern.get_ref().to_string(), written(items, self.text)))
            .collect()
    }
}

/// An item of a route, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenItem {
    /// The plugin's name.
    pub plugin: String,
    /// The text: the name in quotes, or a table.
    pub text: String,
}

/// The items of a route in this text, which are a list or a single one.
pub(super) fn written(value: &Spanned<DeValue<'_>>, text: &str) -> Vec<WrittenItem> {
    let item = |value: &Spanned<DeValue<'_>>| {
        let plugin = match value.get_ref() {
            DeValue::Table(table) => table.get("plugin")?.get_ref().as_str(),
            other => other.as_str(),
        };
        Some(WrittenItem { plugin: plugin?.to_owned(), text: text.get(value.span())?.to_owned() })
    };
    match value.get_ref().as_array() {
        Some(list) => list.iter().filter_map(item).collect(),
        None => item(value).into_iter().collect(),
    }
}
