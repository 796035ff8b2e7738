//! The imports that a plugin may have, checked by name before anything is linked, so that a refusal
//! says what to do.

use std::collections::BTreeSet;

use super::error::LoadError;
use super::kind::version_of;
use crate::sandbox::Capability;
use crate::sandbox::host::{self, Offer};

/// The package of this host's own interfaces.
const OWN: &str = "hookbox:plugin/";

/// The capabilities that a file with these imports asks for.
pub(super) fn capabilities(imports: &[String]) -> BTreeSet<Capability> {
    let asks =
        |it: &Capability| imports.iter().any(|import| version_of(import, it.interface()).is_some());
    Capability::all().filter(asks).collect()
}

/// Refuses the first import that the host does not offer.
pub(super) fn check(imports: &[String]) -> Result<(), LoadError> {
    match imports.iter().find(|import| !is_offered(import)) {
        None => Ok(()),
        Some(import) => Err(LoadError::Import { import: import.clone(), advice: advice(import) }),
    }
}

fn is_offered(import: &str) -> bool {
    host::offers().iter().any(|offer| {
        let version = version_if_named(import, offer);
        version.is_some_and(|version| version.starts_with(offer.version))
    })
}

/// The version of an import, if the offer names it.
fn version_if_named<'a>(import: &'a str, offer: &Offer) -> Option<&'a str> {
    offer.interfaces.iter().find_map(|interface| {
        if interface.ends_with('/') {
            let name = import.strip_prefix(interface)?;
            Some(name.split_once('@').map_or("", |(_, version)| version))
        } else {
            version_of(import, interface)
        }
    })
}

fn advice(import: &str) -> String {
    let is = |prefix| import.starts_with(prefix);
    if is("fermyon:spin/") || is("spin:") || is("wasmcloud:") {
        return "it is an interface of another host: build the plugin on standard WASI 0.2 \
                (cli, clocks, http, io, random)"
            .to_owned();
    }
    match host::offers().iter().find(|offer| version_if_named(import, offer).is_some()) {
        Some(offer) if is_own(offer) => {
            "this host offers version 0.1 of it: build the plugin against `wit/` of \
                                         this host"
                .to_owned()
        }
        Some(_) => {
            "this host offers WASI 0.2: build the plugin for it (Rust: `--target wasm32-wasip2`)"
                .to_owned()
        }
        None => format!(
            "this host offers hookbox:plugin@0.1 ({}) and WASI 0.2 ({}): build the plugin without this import",
            shown(true),
            shown(false)
        ),
    }
}

fn is_own(offer: &Offer) -> bool {
    offer.interfaces.iter().all(|interface| interface.starts_with(OWN))
}

/// The names of what the host offers: of its own interfaces, or of the standard ones.
fn shown(own: bool) -> String {
    let offers =
        host::offers().iter().filter(|offer| is_own(offer) == own && !offer.shown.is_empty());
    offers.map(|offer| offer.shown).collect::<Vec<_>>().join(", ")
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
            (
                "a:b/c",
                "hookbox:plugin@0.1 (log, kv, steps, config) and WASI 0.2 (http, cli, clocks, io, random; ",
            ),
        ];
        for (import, expected) in cases {
            let message = check(&["wasi:io/poll@0.2.6".to_owned(), import.to_owned()])
                .unwrap_err()
                .to_string();
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
        let all = [
            "wasi:http/outgoing-handler@0.2.9",
            "hookbox:plugin/kv@0.1.0",
            "hookbox:plugin/config@0.1.2",
        ];
        assert_eq!(asks(&all), ["http", "kv", "config"]);
    }

    #[test]
    fn what_toolchains_add_by_themselves_is_offered() {
        let imports =
            ["hookbox:plugin/types@0.1.0", "hookbox:plugin/kv@0.1.3", "wasi:sockets/tcp@0.2.9"];
        assert!(check(&imports.map(str::to_owned)).is_ok());
    }
}
