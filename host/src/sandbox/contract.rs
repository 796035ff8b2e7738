//! What a file in the plugins folder is, read from its first bytes and its exports.

use std::borrow::Cow;
use std::fmt;

use super::load::LoadError;

/// How the host talks to a plugin, chosen from what the file exports.
///
/// One of four that are planned; the others are recognised by [`choose`] and [`binary`], and refused by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// A component that exports `hookbox:plugin/handler`.
    Handler,
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "handler",
        })
    }
}

/// A contract, and the export that offers it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) contract: Contract,
    pub(super) version: String,
}

/// The interface a handler exports, without its version.
const HANDLER: &str = "hookbox:plugin/handler";
/// The version of the interface that this host was built with.
const HOST_VERSION: &str = "0.1.0";
/// What the versions that this host runs begin with.
const COMPATIBLE: &str = "0.1.";
/// How many exports an error names.
const MAX_NAMED: usize = 8;

/// The binary form of a component, from its text if need be.
pub(super) fn binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    let binary = match bytes {
        [] => return Err(LoadError::Empty),
        [0x7f, b'E', b'L', b'F', ..] => return Err(LoadError::Precompiled),
        [0, b'a', b's', b'm', ..] => Cow::Borrowed(bytes),
        _ if is_text(bytes) => wat::parse_bytes(bytes).map_err(|error| LoadError::text(&error))?,
        _ => return Err(LoadError::NotWasm),
    };
    // Four bytes of magic, two of version, two of layer: https://webassembly.github.io/spec and the component model's
    // Binary.md.
    match binary.get(4..8) {
        Some([_, _, 1, 0]) => Ok(binary),
        Some([1, 0, 0, 0]) => Err(LoadError::Unsupported { found: "a core WebAssembly module" }),
        Some(_) => Err(LoadError::NotWasm),
        None => Err(LoadError::Invalid("it ends within its first eight bytes".to_owned())),
    }
}

/// Whether a file may be WebAssembly text: a parenthesis, after white space and comments.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    std::str::from_utf8(bytes).is_ok() && (text.starts_with(b"(") || text.starts_with(b";;"))
}

/// Chooses by the names that a component exports: the newest interface that this host knows first.
pub(super) fn choose(exports: &[&str]) -> Result<Chosen, LoadError> {
    let versions = || exports.iter().filter_map(|name| version_of(name, HANDLER));
    if let Some(version) = versions().find(|version| version.starts_with(COMPATIBLE)) {
        return Ok(Chosen { contract: Contract::Handler, version: version.to_owned() });
    }
    if let Some(version) = versions().next() {
        return Err(LoadError::Version { found: format!("{HANDLER}@{version}"), host: HOST_VERSION });
    }
    let has = |interface| exports.iter().any(|name| version_of(name, interface).is_some());
    if has("wasi:http/incoming-handler") {
        return Err(LoadError::Unsupported { found: "an HTTP handler (it exports wasi:http/incoming-handler)" });
    }
    if has("wasi:cli/run") {
        return Err(LoadError::Unsupported { found: "a command (it exports wasi:cli/run)" });
    }
    Err(LoadError::NoHandler { exports: listed(exports) })
}

/// The version of `name` if it names `interface`: empty if it has none.
pub(super) fn version_of<'a>(name: &'a str, interface: &str) -> Option<&'a str> {
    match name.strip_prefix(interface)? {
        "" => Some(""),
        rest => rest.strip_prefix('@'),
    }
}

fn listed(exports: &[&str]) -> String {
    match exports {
        [] => "nothing".to_owned(),
        _ if exports.len() <= MAX_NAMED => exports.join(", "),
        _ => format!("{} and {} more", exports[..MAX_NAMED].join(", "), exports.len() - MAX_NAMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_of_any_patch_version_is_chosen() {
        for name in ["hookbox:plugin/handler@0.1.0", "hookbox:plugin/handler@0.1.17"] {
            let chosen = choose(&["init", "wasi:cli/run@0.2.0", name]).unwrap();
            assert_eq!((chosen.contract, name.ends_with(&chosen.version)), (Contract::Handler, true));
        }
    }

    #[test]
    fn what_is_not_a_handler_is_named() {
        let cases = [
            (&["hookbox:plugin/handler@0.2.0"][..], "hookbox:plugin/handler@0.2.0, and this host runs 0.1.0"),
            (&["hookbox:plugin/handler"], "hookbox:plugin/handler@, and"),
            (&["wasi:http/incoming-handler@0.2.3"], "an HTTP handler"),
            (&["wasi:cli/run@0.2.0"], "a command"),
            (&["a", "b"], "it exports a, b"),
            (&[], "it exports nothing"),
        ];
        for (exports, expected) in cases {
            let message = choose(exports).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
