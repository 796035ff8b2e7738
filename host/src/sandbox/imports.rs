//! What a plugin may import, checked by name before anything is linked, so that a refusal says what to do.

use super::contract::version_of;
use super::load::LoadError;

/// The interfaces of `hookbox:plugin@0.1`.
const HOOKBOX: [&str; 4] = ["hookbox:plugin/types", "hookbox:plugin/log", "hookbox:plugin/config", "hookbox:plugin/kv"];
/// The packages of WASI 0.2 that are linked; see [`super::wasi`] for how little is behind them.
const WASI: [&str; 7] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:http/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Refuses the first import that the host does not offer.
pub(super) fn check(imports: &[String]) -> Result<(), LoadError> {
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
    fn what_toolchains_add_by_themselves_is_offered() {
        let imports = ["hookbox:plugin/types@0.1.0", "hookbox:plugin/kv@0.1.3", "wasi:sockets/tcp@0.2.9"];
        assert!(check(&imports.map(str::to_owned)).is_ok());
    }
}
