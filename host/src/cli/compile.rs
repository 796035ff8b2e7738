//! `hookbox compile`: what the host starts to compile one file. It stands in no help: it is of use
//! to the host alone.
//!
//! Also the choice of how a command of this program compiles: always by starting that.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use crate::config::Config;
use crate::env;
use crate::sandbox::{Cache, ChildCompiler, CompileLimits, Compiler, Confinement, compile_stdin};

#[derive(Debug, Args)]
pub(super) struct Compile {
    cpu_s: u64,
    memory_bytes: u64,
    code_bytes: u64,
    #[arg(long)]
    background: bool,
}

impl Compile {
    pub(super) fn run(&self) -> ExitCode {
        let Self { cpu_s, memory_bytes, code_bytes, background: in_background } = *self;
        compile_stdin(Confinement { cpu_s, memory_bytes, code_bytes, in_background })
    }
}

/// The compiler of a host with this configuration.
pub(super) fn hosts_compiler(config: &Config) -> Result<Compiler, Failure> {
    compiler(Some(Cache::at(config.server.compiled_dir())), true)
}

/// The same for a command that changes nothing: it knows what the host keeps, if there is a
/// configuration, and what was kept for this user.
pub(super) fn readers_compiler(config: Option<&Config>) -> Result<Compiler, Failure> {
    let users = users_cache_dir().map(Cache::read_only);
    let hosts = config.map(|config| Cache::read_only(config.server.compiled_dir()));
    let cache = match (hosts, users) {
        (Some(hosts), Some(users)) => Some(hosts.or(users)),
        (hosts, users) => hosts.or(users),
    };
    compiler(cache, false)
}

/// The same for a command that has no host: what it makes is kept for this user.
pub(super) fn users_compiler() -> Result<Compiler, Failure> {
    compiler(users_cache_dir().map(Cache::at), false)
}

fn users_cache_dir() -> Option<PathBuf> {
    env::user_cache_dir().map(|dir| dir.join("hookbox"))
}

/// Somebody waits for a command, while a host serves meanwhile.
fn compiler(cache: Option<Cache>, in_background: bool) -> Result<Compiler, Failure> {
    let program = env::own_program()
        .map_err(|error| Failure::failed(format!("this program cannot find itself: {error}")))?;
    let (temp_dir, mut limits) = (env::temp_dir(), CompileLimits::default());
    limits.confinement.in_background = in_background;
    Ok(Compiler::Child(Arc::new(ChildCompiler { program, cache, temp_dir, limits })))
}
