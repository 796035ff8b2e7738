//! From machine code to a plugin, and in this process also from a file's bytes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::component::Component;
use wasmtime::{Engine, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::error::{LoadError, MAX_FILE_BYTES};
use super::imports;
use super::kind::{self, Chosen};
use super::wrap::{self, Binary};
use crate::sandbox::bindings::PluginPre;
use crate::sandbox::kinds::EntryPoint;
use crate::sandbox::run::{Core, PluginFacts};
use crate::sandbox::{Contract, Plugin, Sandbox};

/// A file's machine code.
pub(in crate::sandbox) enum Code {
    /// Of a component.
    Component(Component),
    /// Of a core module.
    Module(Module),
}

impl Sandbox {
    /// Compiles a `.wasm` file or its `.wat` text, checks its exports and imports, and links it.
    ///
    /// Blocks for as long as the compiler takes: milliseconds for a Rust plugin, seconds for a
    /// large runtime. It compiles in this process; a host uses a
    /// [`Compiler`](crate::sandbox::Compiler).
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        link(self, compile(&self.core().engine, bytes)?)
    }
}

/// Compiles a file for `engine`. Time and memory depend on the file.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<Code, LoadError> {
    // A panic of the compiler on some input must not stop this process.
    let compiled = catch_unwind(AssertUnwindSafe(|| match binary(bytes)? {
        Binary::Component(binary) => {
            Component::from_binary(engine, &binary).map(Code::Component).map_err(LoadError::invalid)
        }
        Binary::Module(binary) => {
            Module::from_binary(engine, &binary).map(Code::Module).map_err(LoadError::invalid)
        }
    }));
    compiled.unwrap_or_else(|_| Err(LoadError::Compiler("failed on it".to_owned())))
}

/// The same, as the bytes of machine code that another process of this host can load. May panic.
pub(in crate::sandbox) fn precompile(engine: &Engine, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
    match binary(bytes)? {
        Binary::Component(binary) => {
            engine.precompile_component(&binary).map_err(LoadError::invalid)
        }
        Binary::Module(binary) => engine.precompile_module(&binary).map_err(LoadError::invalid),
    }
}

fn binary(bytes: &[u8]) -> Result<Binary<'_>, LoadError> {
    match bytes.len() {
        ..=MAX_FILE_BYTES => wrap::binary(bytes),
        bytes => Err(LoadError::TooLarge { bytes }),
    }
}

/// Chooses the contract, checks the imports, and prepares all that attempts have in common.
pub(in crate::sandbox) fn link(sandbox: &Sandbox, code: Code) -> Result<Plugin, LoadError> {
    let core = sandbox.core();
    let (chosen, mut imports, entry) = match code {
        Code::Component(component) => link_component(core, &component)?,
        Code::Module(module) => link_module(core, &module)?,
    };
    imports.sort_unstable();
    let Chosen { contract, version } = chosen;
    let capabilities = imports::capabilities(&imports);
    Ok(Plugin::new(core, entry, PluginFacts { contract, version, imports, capabilities }))
}

fn link_component(
    core: &Core,
    component: &Component,
) -> Result<(Chosen, Vec<String>, EntryPoint), LoadError> {
    let shape = component.component_type();
    let exports: Vec<&str> = shape.exports(&core.engine).map(|(name, _)| name).collect();
    let chosen = kind::choose(&exports)?;
    let imports: Vec<String> =
        shape.imports(&core.engine).map(|(name, _)| name.to_owned()).collect();
    imports::check(&imports)?;
    let linked = core.linker.instantiate_pre(component).map_err(LoadError::mismatch)?;
    let entry = match chosen.contract {
        Contract::Handler => PluginPre::new(linked).map(EntryPoint::Handler),
        Contract::Http => ProxyPre::new(linked).map(EntryPoint::Http),
        Contract::Command => CommandPre::new(linked).map(EntryPoint::Command),
    };
    Ok((chosen, imports, entry.map_err(LoadError::mismatch)?))
}

fn link_module(
    core: &Core,
    module: &Module,
) -> Result<(Chosen, Vec<String>, EntryPoint), LoadError> {
    let exports: Vec<&str> = module.exports().map(|export| export.name()).collect();
    let imports: Vec<(&str, &str)> =
        module.imports().map(|import| (import.module(), import.name())).collect();
    let chosen = kind::choose_for_module(&exports, &imports)?;
    let imports = imports.iter().map(|(module, name)| format!("{module}.{name}")).collect();
    let linked = core.module_linker.instantiate_pre(module).map_err(LoadError::mismatch)?;
    Ok((chosen, imports, EntryPoint::Module(linked)))
}
