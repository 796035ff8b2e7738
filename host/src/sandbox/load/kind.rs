//! Which kind of plugin a file is, by its exports.

use super::error::LoadError;
use crate::sandbox::Contract;

/// A contract, and the version of the export that offers it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) contract: Contract,
    pub(super) version: String,
}

/// The interface that a handler exports, without its version.
const HANDLER: &str = "hookbox:plugin/handler";
/// The version of the interface that this host was built with.
const HOST_VERSION: &str = "0.1.1";
/// How the versions that this host runs begin.
const COMPATIBLE: &str = "0.1.";
/// The standard interfaces that are contracts as well.
const STANDARD: [(&str, Contract); 2] =
    [("wasi:http/incoming-handler", Contract::Http), ("wasi:cli/run", Contract::Command)];
/// How their versions begin.
const STANDARD_COMPATIBLE: &str = "0.2.";
/// How many exports an error names.
const MAX_NAMED: usize = 8;
/// The export by which a core module for WASI preview 1 is started.
const START: &str = "_start";
/// The module from which it imports everything.
const PREVIEW1: &str = "wasi_snapshot_preview1";
/// Shown as the version of that interface.
const PREVIEW1_VERSION: &str = "preview1";

/// Chooses by the names that a component exports: the newest interface that this host knows first.
pub(super) fn choose(exports: &[&str]) -> Result<Chosen, LoadError> {
    let versions = |interface| exports.iter().filter_map(move |name| version_of(name, interface));
    if let Some(version) = versions(HANDLER).find(|version| version.starts_with(COMPATIBLE)) {
        return Ok(Chosen { contract: Contract::Handler, version: version.to_owned() });
    }
    if let Some(version) = versions(HANDLER).next() {
        return Err(LoadError::Version {
            found: format!("{HANDLER}@{version}"),
            host: HOST_VERSION,
        });
    }
    for (interface, contract) in STANDARD {
        if let Some(version) =
            versions(interface).find(|version| version.starts_with(STANDARD_COMPATIBLE))
        {
            return Ok(Chosen { contract, version: version.to_owned() });
        }
    }
    for (interface, _) in STANDARD {
        if let Some(version) = versions(interface).next() {
            return Err(LoadError::Version {
                found: format!("{interface}@{version}"),
                host: "0.2",
            });
        }
    }
    Err(LoadError::NoHandler { exports: listed(exports) })
}

/// The same for a core module, which can only be a command for WASI preview 1.
pub(super) fn choose_for_module(
    exports: &[&str],
    imports: &[(&str, &str)],
) -> Result<Chosen, LoadError> {
    if !exports.contains(&START) {
        return Err(LoadError::NoStart { exports: listed(exports) });
    }
    match imports.iter().find(|(module, _)| *module != PREVIEW1) {
        None => Ok(Chosen { contract: Contract::Command, version: PREVIEW1_VERSION.to_owned() }),
        Some((module, name)) => Err(LoadError::Import {
            import: format!("{module}.{name}"),
            advice: "a command as a core module imports from wasi_snapshot_preview1 alone \
                     (Go: `GOOS=wasip1`)"
                .to_owned(),
        }),
    }
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
            assert_eq!(
                (chosen.contract, name.ends_with(&chosen.version)),
                (Contract::Handler, true)
            );
        }
    }

    #[test]
    fn the_standard_interfaces_are_contracts_too() {
        let cases = [
            (&["wasi:http/incoming-handler@0.2.3"][..], Contract::Http, "0.2.3"),
            (&["wasi:cli/run@0.2.0"], Contract::Command, "0.2.0"),
            (&["wasi:cli/run@0.2.0", "wasi:http/incoming-handler@0.2.0"], Contract::Http, "0.2.0"),
        ];
        for (exports, contract, version) in cases {
            let chosen = choose(exports).unwrap();
            assert_eq!((chosen.contract, chosen.version.as_str()), (contract, version));
        }
    }

    #[test]
    fn what_is_no_plugin_is_named() {
        let cases = [
            (
                &["hookbox:plugin/handler@0.2.0"][..],
                "hookbox:plugin/handler@0.2.0, and this host runs 0.1.1",
            ),
            (&["hookbox:plugin/handler"], "hookbox:plugin/handler@, and"),
            (&["wasi:http/incoming-handler@0.3.0"], "this host runs 0.2"),
            (&["a", "b"], "it exports a, b"),
            (&[], "it exports nothing"),
        ];
        for (exports, expected) in cases {
            let message = choose(exports).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_core_module_is_a_command_for_preview_1_or_nothing() {
        let imports = [("wasi_snapshot_preview1", "fd_write")];
        assert_eq!(
            choose_for_module(&["memory", "_start"], &imports).unwrap().contract,
            Contract::Command
        );
        let message =
            choose_for_module(&["_start"], &[("gojs", "runtime.ticks")]).unwrap_err().to_string();
        assert!(
            message.contains("gojs.runtime.ticks") && message.contains("GOOS=wasip1"),
            "{message}"
        );
        let message = choose_for_module(&["run"], &[]).unwrap_err().to_string();
        assert!(message.contains("exports run"), "{message}");
    }
}
