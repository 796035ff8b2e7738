//! Runs one handler on one event, contained: nothing that a guest does reaches the host, another
//! plugin or the disk.
//!
//! A file becomes a [`Plugin`] once, at load: its contract is chosen from its exports, its imports
//! are checked against what the host offers, and everything that can be prepared is. An attempt
//! then gets an instance and limits, and ends as an [`Invocation`] whatever the guest did.
//!
//! Each wing imports only from those below it:
//!
//! - `compile`: a file becomes machine code in a child process, which is cached
//! - `load`: machine code becomes a plugin
//! - `run`: one attempt, from its instance to its verdict
//! - `kinds`: how a handler, an HTTP handler and a command are called
//! - `host`: what guests may import, one file each
//! - `cpu`: where guests compute
//!
//! Invariant: `invoke` always returns, at the latest shortly after the deadline, and never panics
//! because of a guest. Decisions: `docs/design/sandbox.md`.

/// The engine that runs plugins, and its version.
pub const ENGINE: &str = "wasmtime 48.0.8";

mod attempt;
mod bindings;
mod compile;
mod cpu;
mod engine;
mod host;
mod kinds;
mod limits;
mod load;
mod run;

pub use attempt::{
    Call, Emitted, Invocation, KvKeys, KvList, KvRead, KvReader, StepAnswer, StepRecorded,
    StepStore, StepsAnswer, Verdict,
};
pub use compile::{
    Cache, ChildCompiler, CodeSource, CompileLimits, Compiler, Confinement, compile_stdin,
};
pub use host::{Capability, MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use kinds::Contract;
pub use load::{LoadError, MAX_FILE_BYTES};
pub use run::{Plugin, Sandbox, SandboxError, SandboxOptions};

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_is_that_of_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        let (_, after) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
        let version = after.split('"').next().unwrap();
        assert_eq!(super::ENGINE, format!("wasmtime {version}"));
    }
}
