//! From the bytes of a file to a [`Plugin`]: everything that can be refused is refused here, with words.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Engine, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::imports;
use super::kind::{self, Chosen, Contract};
use super::wrap::{self, Binary};
use crate::sandbox::bindings::PluginPre;
use crate::sandbox::engine::Core;
use crate::sandbox::run::invoke::Entry;
use crate::sandbox::{Linked, Plugin};
use crate::text;

/// The largest plugin file, in bytes: 64 MiB. An interpreter compiled to WebAssembly has some 10 to 30.
pub const MAX_FILE_BYTES: usize = 64 << 20;

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
    /// A core module that names its world and cannot be made a component.
    #[error("the core module cannot be made a component for the world it names: {0}")]
    Wrap(String),
    /// Go's allocator and the adapter that such a component needs corrupt each other's memory.
    #[error(
        "it is a core module by Go's compiler that names a world and uses WASI preview 1 as well, which would corrupt its \
         memory: build a plain command instead (`GOOS=wasip1 GOARCH=wasm go build`), which is run as it is"
    )]
    GoNeedsAdapter,
    /// A core module that cannot be started.
    #[error(
        "the file is a core module that does not say what it is: it exports {exports}; a plugin is a component, or a core \
         module with a `component-type` section, or a WASI preview 1 command, which exports `_start`"
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
        "there is no handler: it exports {exports}; a plugin exports hookbox:plugin/handler@0.1.0, or \
         wasi:http/incoming-handler@0.2, or wasi:cli/run@0.2"
    )]
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
    /// One of the above, in the words of the process that compiled the file.
    #[error("{0}")]
    Refused(String),
    /// The compiler did not come to an end, or could not begin: the rest of a sentence about it.
    #[error("the compiler {0}")]
    Compiler(String),
}

impl LoadError {
    /// The text form does not parse.
    pub(in crate::sandbox) fn text(error: &wat::Error) -> Self {
        // It draws the spot over several lines.
        Self::Text(error.to_string().lines().map(|line| text::plain(line, 200)).collect::<Vec<_>>().join("\n"))
    }
}

/// A file's machine code.
pub(in crate::sandbox) enum Code {
    /// Of a component.
    Component(Component),
    /// Of a core module.
    Module(Module),
}

/// Compiles and links a file.
pub(in crate::sandbox) fn load(core: &Arc<Core>, bytes: &[u8]) -> Result<Plugin, LoadError> {
    link(core, compile(&core.engine, bytes)?)
}

/// Compiles a file for `engine`. Takes as long, and as much memory, as the file makes it.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<Code, LoadError> {
    // A compiler is large: should it panic on some input, that is no reason for this process to stop.
    let compiled = catch_unwind(AssertUnwindSafe(|| match binary(bytes)? {
        Binary::Component(binary) => Component::from_binary(engine, &binary).map(Code::Component).map_err(invalid),
        Binary::Module(binary) => Module::from_binary(engine, &binary).map(Code::Module).map_err(invalid),
    }));
    compiled.unwrap_or_else(|_| Err(LoadError::Compiler("failed on it".to_owned())))
}

/// The same, as the bytes of machine code that another process of this host can load. May panic.
pub(in crate::sandbox) fn precompile(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    match binary(bytes)? {
        Binary::Component(binary) => engine.precompile_component(&binary).map_err(invalid),
        Binary::Module(binary) => engine.precompile_module(&binary).map_err(invalid),
    }
}

fn binary(bytes: &[u8]) -> Result<Binary<'_>, LoadError> {
    match bytes.len() {
        ..=MAX_FILE_BYTES => wrap::binary(bytes),
        bytes => Err(LoadError::TooLarge { bytes }),
    }
}

/// Chooses the contract, checks the imports, and prepares everything that an attempt does not need to do itself.
pub(in crate::sandbox) fn link(core: &Arc<Core>, code: Code) -> Result<Plugin, LoadError> {
    let (chosen, mut imports, entry) = match code {
        Code::Component(component) => link_component(core, &component)?,
        Code::Module(module) => link_module(core, &module)?,
    };
    imports.sort_unstable();
    let Chosen { contract, version } = chosen;
    let (core, slots, warm) = (Arc::clone(core), core.cpu.slots(), core.warm.plugin());
    Ok(Plugin(Arc::new(Linked { core, slots, entry, contract, version, imports, warm })))
}

fn link_component(core: &Core, component: &Component) -> Result<(Chosen, Vec<String>, Entry), LoadError> {
    let shape = component.component_type();
    let exports: Vec<&str> = shape.exports(&core.engine).map(|(name, _)| name).collect();
    let chosen = kind::choose(&exports)?;
    let imports: Vec<String> = shape.imports(&core.engine).map(|(name, _)| name.to_owned()).collect();
    imports::check(&imports)?;
    let linked = core.linker.instantiate_pre(component).map_err(mismatch)?;
    let entry = match chosen.contract {
        Contract::Handler => PluginPre::new(linked).map(Entry::Handler),
        Contract::Http => ProxyPre::new(linked).map(Entry::Http),
        Contract::Command => CommandPre::new(linked).map(Entry::Command),
    };
    Ok((chosen, imports, entry.map_err(mismatch)?))
}

fn link_module(core: &Core, module: &Module) -> Result<(Chosen, Vec<String>, Entry), LoadError> {
    let exports: Vec<&str> = module.exports().map(|export| export.name()).collect();
    let imports: Vec<(&str, &str)> = module.imports().map(|import| (import.module(), import.name())).collect();
    let chosen = kind::choose_for_module(&exports, &imports)?;
    let imports = imports.iter().map(|(module, name)| format!("{module}.{name}")).collect();
    let linked = core.module_linker.instantiate_pre(module).map_err(mismatch)?;
    Ok((chosen, imports, Entry::Module(linked)))
}

pub(in crate::sandbox) fn invalid(error: wasmtime::Error) -> LoadError {
    LoadError::Invalid(chain(&error))
}

fn mismatch(error: wasmtime::Error) -> LoadError {
    LoadError::Mismatch(chain(&error))
}

/// An error and its causes on one line.
fn chain(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error.chain().map(|cause| cause.to_string().trim().to_owned()).collect();
    text::error(&causes.join(": "))
}
