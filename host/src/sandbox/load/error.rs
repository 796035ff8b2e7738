//! Why a file is not a plugin.

use crate::text;

/// The largest plugin file, in bytes: 64 MiB. An interpreter has 10 to 30 MiB.
pub const MAX_FILE_BYTES: usize = 64 << 20;

/// Why a file is not a plugin. The texts finish "cannot load it: …" and can be shown to people.
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
    #[error(
        "the file is not WebAssembly, neither binary (it does not start with `\\0asm`) nor text"
    )]
    NotWasm,
    /// Machine code, which is never taken from a file.
    #[error(
        "the file is precompiled machine code (ELF, as in `.cwasm`), which is never run: put the `.wasm` there"
    )]
    Precompiled,
    /// Text that does not parse.
    #[error("the WebAssembly text has an error: {0}")]
    Text(String),
    /// Not valid, or beyond what the sandbox allows.
    #[error("the file is not a valid component, or not complete: {0}")]
    Invalid(String),
    /// A core module that names its world and cannot be made a component.
    #[error("the core module cannot be made a component for the world it names: {0}")]
    Wrap(String),
    /// Go's allocator and the adapter that such a component needs corrupt each other's memory.
    #[error(
        "it is a core module by Go's compiler that names a world and uses WASI preview 1 as well, \
         which would corrupt its memory: build a plain command instead (`GOOS=wasip1 GOARCH=wasm \
         go build`), which is run as it is"
    )]
    GoNeedsAdapter,
    /// A core module that cannot be started.
    #[error(
        "the file is a core module that does not say what it is: it exports {exports}; a plugin is \
         a component, or a core module with a `component-type` section, or a WASI preview 1 \
         command, which exports `_start`"
    )]
    NoStart {
        /// Names of what it exports.
        exports: String,
    },
    /// A contract of another version.
    #[error("the file exports {found}, and this host runs {host}: build it for that")]
    Version {
        /// The interface with its version.
        found: String,
        /// The version that the host runs.
        host: &'static str,
    },
    /// A component of another kind.
    #[error(
        "there is no handler: it exports {exports}; a plugin exports hookbox:plugin/handler@0.1.1, \
         or wasi:http/incoming-handler@0.2, or wasi:cli/run@0.2"
    )]
    NoHandler {
        /// Names of what it exports.
        exports: String,
    },
    /// It imports what the host does not offer.
    #[error("it imports {import}, which this host does not offer; {advice}")]
    Import {
        /// The name of the import.
        import: String,
        /// The advice.
        advice: String,
    },
    /// An interface has the right name and another shape.
    #[error("an interface does not fit this host: {0}")]
    Mismatch(String),
    /// An error above, as the process that compiled the file reported it.
    #[error("{0}")]
    Refused(String),
    /// The compiler failed: the rest of a sentence about it.
    #[error("the compiler {0}")]
    Compiler(String),
}

impl LoadError {
    /// The text form does not parse.
    pub(super) fn text(error: &wat::Error) -> Self {
        // The error shows the position over several lines.
        let lines = error.to_string();
        Self::Text(lines.lines().map(|line| text::plain(line, 200)).collect::<Vec<_>>().join("\n"))
    }

    /// The machine code cannot be made or loaded.
    pub(in crate::sandbox) fn invalid(error: wasmtime::Error) -> Self {
        Self::Invalid(chain(&error))
    }

    /// An interface cannot be linked.
    pub(super) fn mismatch(error: wasmtime::Error) -> Self {
        Self::Mismatch(chain(&error))
    }
}

/// An error and its causes on one line.
fn chain(error: &wasmtime::Error) -> String {
    let causes: Vec<String> =
        error.chain().map(|cause| cause.to_string().trim().to_owned()).collect();
    text::error(&causes.join(": "))
}
