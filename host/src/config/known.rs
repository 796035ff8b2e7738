//! The names that a configuration may use: sources that have a section, plugins that have a file.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::raw::{Item, Sink, did_you_mean};
use super::warnings::Warning;
use crate::files::instead_of_folder;
use crate::names::{MAX_NAME_BYTES, is_plugin_name};

/// The names that a configuration may use.
#[derive(Debug)]
pub(super) struct KnownNames<'a> {
    /// Names of `[sources.NAME]`.
    pub(super) sources: BTreeSet<&'a str>,
    /// Names of `[joins.NAME]`.
    pub(super) joins: BTreeSet<&'a str>,
    /// Names of `[batches.NAME]`.
    pub(super) batches: BTreeSet<&'a str>,
    /// Names of `[schedules.NAME]`.
    pub(super) schedules: BTreeSet<&'a str>,
    /// Names of the files in the plugins folder; `None` if it could not be read, which is a problem
    /// of its own.
    pub(super) plugins: Option<&'a BTreeSet<String>>,
    /// The plugins folder, for messages.
    pub(super) plugins_dir: String,
    /// The treatment of a plugin without a file.
    pub(super) missing: MissingPlugins,
}

/// The treatment of a configuration that names a plugin without a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingPlugins {
    /// Refuse it, as for a running host that has a better one.
    Refuse,
    /// Take it with a warning: the plugin's deliveries wait, as they do when its file is removed
    /// while a host runs.
    Wait,
}

impl KnownNames<'_> {
    /// The help against a plugin of this name. If it only has no file yet and that may be, there is
    /// a warning of `item` instead, of which `what` is said.
    pub(super) fn against(&self, item: &Item<'_>, name: &str, what: &str) -> Option<String> {
        if let Some(bare) = name.strip_prefix("plugins/").map(bare_name)
            && is_plugin_name(bare)
        {
            return Some(format!(
                "write \"{bare}\": a plugin is named without its folder, and `plugins/NAME:` in front of a pattern is \
                 what it emits"
            ));
        }
        let bare = name.strip_suffix(".wasm").or_else(|| name.strip_suffix(".wat"));
        if let Some(bare) = bare.filter(|bare| is_plugin_name(bare)) {
            let plugins = self.plugins.into_iter().flatten().map(String::as_str);
            let near = if plugins.clone().any(|name| name == bare) {
                String::new()
            } else {
                did_you_mean(bare, plugins)
            };
            return Some(format!(
                "{near}a plugin is named without the ending of its file: \"{bare}\""
            ));
        }
        if !is_plugin_name(name) {
            return Some(format!(
                "a plugin's name is 1 to {MAX_NAME_BYTES} letters, digits, `_` and `-`"
            ));
        }
        let help = self.no_such_plugin(name)?;
        if self.missing == MissingPlugins::Refuse {
            return Some(help);
        }
        item.sink().warn(Warning::new(format!("`{}` {what}: {help}", item.path)));
        None
    }

    fn no_such_plugin(&self, name: &str) -> Option<String> {
        let plugins = self.plugins.filter(|plugins| !plugins.contains(name))?;
        let near = did_you_mean(name, plugins.iter().map(String::as_str));
        let found = badly_ended(Path::new(&self.plugins_dir));
        let found = found.iter().find(|file| bare_name(file) == name);
        let found =
            found.map(|file| format!("; `{file}` is not read, {SMALL}")).unwrap_or_default();
        Some(format!(
            "{near}there is neither `{name}.wasm` nor `{name}.wat` in {}{found}",
            self.plugins_dir
        ))
    }

    /// Whether the source that a pattern names is there. Only a part of the host can be missing:
    /// what is no source's name belongs to the type. Tokens of the API are no section of the file.
    pub(super) fn check_source(&self, item: &Item<'_>, source: &str) -> bool {
        let (sections, name) = match source.split_once('/') {
            Some(("plugins", name)) => return self.check_emitter(item, source, name),
            Some(("joins", name)) => (&self.joins, name),
            Some(("batches", name)) => (&self.batches, name),
            Some(("schedules", name)) => (&self.schedules, name),
            _ => return true,
        };
        if sections.contains(name) {
            return true;
        }
        let near = did_you_mean(name, sections.iter().copied());
        let section = source.replacen('/', ".", 1);
        item.refuse_key(
            format_args!("names the unknown source `{source}`"),
            format!("{near}there is no section [{section}], whose events these would be"),
        );
        false
    }

    fn check_emitter(&self, item: &Item<'_>, source: &str, plugin: &str) -> bool {
        // Without a listing nobody can tell, and that is reported already.
        let Some(why) = self.against(item, plugin, "names a plugin without a file") else {
            return true;
        };
        let right = "`plugins/NAME` in front of the colon is what the plugin NAME emits";
        item.refuse_key(
            format_args!("names the unknown source `{source}`"),
            format!("{why}; {right}"),
        );
        false
    }
}

/// Warns of files that would be plugins, were their endings in small letters.
pub(super) fn warn_of_endings(folder: &Path, sink: &Sink) {
    for file in badly_ended(folder) {
        let folder = folder.display();
        sink.warn(Warning::new(format!("`{file}` in {folder} is not read as a plugin, {SMALL}")));
    }
}

const SMALL: &str = "because its ending is not in small letters: rename it";

/// Files whose endings have capital letters.
fn badly_ended(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_bad = |name: &String| {
        let is_plugins = is_plugin_name(bare_name(name));
        let lower = name.to_ascii_lowercase();
        let ending = &name[bare_name(&lower).len()..];
        is_plugins && ending.contains(|c: char| c.is_ascii_uppercase())
    };
    let mut found: Vec<String> = names.filter(is_bad).collect();
    found.sort();
    found
}

/// The name of a file without the ending of a plugin.
fn bare_name(file: &str) -> &str {
    let bare = |ending: &str| {
        let at = file.len().checked_sub(ending.len())?;
        file.get(at..)?.eq_ignore_ascii_case(ending).then(|| &file[..at])
    };
    bare(".wasm").or_else(|| bare(".wat")).unwrap_or(file)
}

/// The names of the plugins: files `NAME.wasm` and `NAME.wat` directly in the folder.
pub(super) fn list_plugins(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let entries = std::fs::read_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory => instead_of_folder(folder),
        _ => error,
    })?;
    for entry in entries {
        let path = entry?.path();
        let ending = path.extension().is_some_and(|ending| ending == "wasm" || ending == "wat");
        let name =
            path.file_stem().and_then(|name| name.to_str()).filter(|name| is_plugin_name(name));
        if let Some(name) = name
            && ending
            && path.is_file()
        {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}
