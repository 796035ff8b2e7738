//! From the bytes of a file to a [`Plugin`]: everything that can be refused is refused here, with words.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wasmtime::component::Component;

use super::bindings::PluginPre;
use super::contract::{self, Chosen};
use super::engine::Core;
use super::{Plugin, imports, text};

/// The largest plugin file, in bytes.
const MAX_FILE_BYTES: usize = 128 << 20;

/// Why a file is not a plugin. The texts finish "cannot load it: …" and are fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Zero bytes.
    #[error("the file is empty")]
    Empty,
    /// More bytes than a plugin may have.
    #[error("the file has {bytes} bytes; a plugin has at most {MAX_FILE_BYTES}")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Neither form of WebAssembly.
    #[error("the file is not WebAssembly, neither binary (it does not start with `\\0asm`) nor text")]
    NotWasm,
    /// Machine code, which is never taken from a file.
    #[error("the file is precompiled machine code (ELF, as in `.cwasm`), which is never run: put the `.wasm` there")]
    Precompiled,
    /// Text that does not parse.
    #[error("the WebAssembly text has an error: {0}")]
    Text(String),
    /// Not valid, or beyond what the sandbox allows.
    #[error("the file is not a valid component, or not complete: {0}")]
    Invalid(String),
    /// One of the contracts that are planned.
    #[error(
        "the file is {found}, which is not supported yet: a plugin is a component that exports hookbox:plugin/handler@0.1.0"
    )]
    Unsupported {
        /// What it is.
        found: &'static str,
    },
    /// A handler for another host.
    #[error("the file exports {found}, and this host runs {host}: build it against `wit/` of this host")]
    Version {
        /// The interface with its version.
        found: String,
        /// The version that the host runs.
        host: &'static str,
    },
    /// A component of another kind.
    #[error("there is no handler: it exports {exports}; a plugin exports hookbox:plugin/handler@0.1.0")]
    NoHandler {
        /// Names of what it exports.
        exports: String,
    },
    /// It needs what the host does not offer.
    #[error("it imports {import}, which this host does not offer; {advice}")]
    Import {
        /// The name of the import.
        import: String,
        /// What to do.
        advice: &'static str,
    },
    /// An interface has the right name and another shape.
    #[error("an interface does not fit this host: {0}")]
    Mismatch(String),
}

impl LoadError {
    /// The text form does not parse.
    pub(super) fn text(error: &wat::Error) -> Self {
        // It draws the spot over several lines.
        Self::Text(error.to_string().lines().map(|line| text::plain(line, 200)).collect::<Vec<_>>().join("\n"))
    }
}

/// Compiles and links a file.
pub(super) fn load(core: &Arc<Core>, bytes: &[u8]) -> Result<Plugin, LoadError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(LoadError::TooLarge { bytes: bytes.len() });
    }
    let binary = contract::binary(bytes)?;
    // A compiler is large: should it panic on some input, that is no reason for the host to stop.
    let compiled = catch_unwind(AssertUnwindSafe(|| Component::from_binary(&core.engine, &binary)));
    let component = match compiled {
        Ok(component) => component.map_err(|error| LoadError::Invalid(chain(&error)))?,
        Err(_) => return Err(LoadError::Invalid("the compiler failed on it".to_owned())),
    };
    let shape = component.component_type();
    let exports: Vec<&str> = shape.exports(&core.engine).map(|(name, _)| name).collect();
    let Chosen { contract, version } = contract::choose(&exports)?;
    let mut imports: Vec<String> = shape.imports(&core.engine).map(|(name, _)| name.to_owned()).collect();
    imports.sort_unstable();
    imports::check(&imports)?;
    let linked = core.linker.instantiate_pre(&component).map_err(|error| LoadError::Mismatch(chain(&error)))?;
    let handler = PluginPre::new(linked).map_err(|error| LoadError::Mismatch(chain(&error)))?;
    Ok(Plugin { core: Arc::clone(core), queue: core.places.queue(), handler, contract, version, imports })
}

/// An error and its causes on one line.
fn chain(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error.chain().map(|cause| cause.to_string().trim().to_owned()).collect();
    text::error(&causes.join(": "))
}
