//! What a plugin may import, checked by name before anything is linked, so that a refusal says what to do; and which of
//! it is a capability, so that a new file that asks for more can be told from one that does not.

use std::collections::BTreeSet;
use std::fmt;

use super::kind::version_of;
use super::link::LoadError;

/// The interfaces of `hookbox:plugin@0.1`.
const HOOKBOX: [&str; 4] = ["hookbox:plugin/types", "hookbox:plugin/log", "hookbox:plugin/config", "hookbox:plugin/kv"];
/// The packages of WASI 0.2 that are linked; see [`crate::sandbox::host::wasi`] for how little is behind them.
const WASI: [&str; 7] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Something that a plugin can do beyond computing on the event that it is given, by what it imports.
///
/// Everything else that the host offers counts for nothing: toolchains link most of WASI by themselves, and there is
/// nothing behind it here that reaches out or stays (`wasi:cli`, `io`, `clocks`, `random`; `filesystem` and `sockets`
/// without any content; `hookbox:plugin/log`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Sends HTTP requests, as far as it is granted.
    Http,
    /// Keeps values from one event to the next.
    Kv,
    /// Reads what its owner wrote for it.
    Config,
}

/// Every capability: its name, and the interface that stands for it in any version.
const CAPABILITIES: [(Capability, &str, &str); 3] = [
    (Capability::Http, "http", "wasi:http/outgoing-handler"),
    (Capability::Kv, "kv", "hookbox:plugin/kv"),
    (Capability::Config, "config", "hookbox:plugin/config"),
];

/// What a file with these imports asks for.
pub(in crate::sandbox) fn capabilities(imports: &[String]) -> BTreeSet<Capability> {
    let wanted = |interface| imports.iter().any(|import| version_of(import, interface).is_some());
    CAPABILITIES.iter().filter(|(.., interface)| wanted(interface)).map(|(capability, ..)| *capability).collect()
}

impl Capability {
    /// The name that people see.
    pub fn name(self) -> &'static str {
        let (_, name, _) = CAPABILITIES[self as usize];
        name
    }

    /// The interface whose import stands for it, without a version.
    pub fn interface(self) -> &'static str {
        let (.., interface) = CAPABILITIES[self as usize];
        interface
    }

    /// Reads the name that people see.
    pub fn from_name(name: &str) -> Option<Self> {
        CAPABILITIES.iter().find(|(_, its, _)| *its == name).map(|(capability, ..)| *capability)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Refuses the first import that the host does not offer.
pub(in crate::sandbox) fn check(imports: &[String]) -> Result<(), LoadError> {
    match imports.iter().find(|import| !offered(import)) {
        None => Ok(()),
        Some(import) => Err(LoadError::Import { import: import.clone(), advice: advice(import) }),
    }
}

fn offered(import: &str) -> bool {
    let hookbox = HOOKBOX.iter().filter_map(|interface| version_of(import, interface));
    hookbox.into_iter().any(|version| version.starts_with("0.1."))
        || WASI.iter().any(|package| import.starts_with(package)) && import.contains("@0.2.")
}

fn advice(import: &str) -> &'static str {
    let is = |prefix| import.starts_with(prefix);
    if is("fermyon:spin/") || is("spin:") || is("wasmcloud:") {
        "it is an interface of another host: build the plugin on standard WASI 0.2 (cli, clocks, http, io, random)"
    } else if HOOKBOX.iter().any(|interface| version_of(import, interface).is_some()) {
        "this host offers version 0.1 of it: build the plugin against `wit/` of this host"
    } else if WASI.iter().any(|package| is(package)) {
        "this host offers WASI 0.2: build the plugin for it (Rust: `--target wasm32-wasip2`)"
    } else {
        "this host offers hookbox:plugin@0.1 (log, config, kv) and WASI 0.2 (cli, clocks, http, io, random; filesystem and \
         sockets without any content): build the plugin without this import"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_import_is_named_with_what_to_do() {
        let cases = [
            ("fermyon:spin/redis@2.0.0", "of another host"),
            ("wasi:http/types@0.3.0", "offers WASI 0.2"),
            ("wasi:cli/environment@0.3.0", "offers WASI 0.2"),
            ("hookbox:plugin/kv@0.2.0", "version 0.1"),
            ("hookbox:plugin/secrets@0.1.0", "without this import"),
            ("env", "without this import"),
        ];
        for (import, expected) in cases {
            let message = check(&["wasi:io/poll@0.2.6".to_owned(), import.to_owned()]).unwrap_err().to_string();
            assert!(message.contains(import) && message.contains(expected), "{message}");
        }
    }

    #[test]
    fn only_what_reaches_out_or_stays_is_a_capability() {
        let asks = |imports: &[&str]| {
            let imports: Vec<String> = imports.iter().map(|import| (*import).to_owned()).collect();
            capabilities(&imports).into_iter().map(Capability::name).collect::<Vec<_>>()
        };
        let by_themselves = [
            "hookbox:plugin/types@0.1.0",
            "hookbox:plugin/log@0.1.0",
            "wasi:cli/environment@0.2.3",
            "wasi:clocks/wall-clock@0.2.3",
            "wasi:filesystem/preopens@0.2.3",
            "wasi:http/types@0.2.3",
            "wasi:io/streams@0.2.3",
            "wasi:random/random@0.2.3",
            "wasi:sockets/tcp@0.2.3",
            "wasi_snapshot_preview1.fd_write",
        ];
        assert!(asks(&by_themselves).is_empty());
        let all = ["wasi:http/outgoing-handler@0.2.9", "hookbox:plugin/kv@0.1.0", "hookbox:plugin/config@0.1.2"];
        assert_eq!(asks(&all), ["http", "kv", "config"]);
        for (capability, name, interface) in CAPABILITIES {
            assert_eq!((capability.name(), capability.interface()), (name, interface), "the table is in order");
            assert_eq!(Capability::from_name(name), Some(capability));
        }
        assert_eq!(Capability::from_name("everything"), None);
    }

    #[test]
    fn what_toolchains_add_by_themselves_is_offered() {
        let imports = ["hookbox:plugin/types@0.1.0", "hookbox:plugin/kv@0.1.3", "wasi:sockets/tcp@0.2.9"];
        assert!(check(&imports.map(str::to_owned)).is_ok());
    }
}
