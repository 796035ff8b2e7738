//! Who compiles a file, and how its machine code comes into this process.
//!
//! Compiling takes seconds and hundreds of MiB for a large runtime, and as much as it likes for a file that was made
//! to. So a host never does it itself: a short-lived child process with limits of its own does (`child` starts it,
//! `confined` is what runs in it), and everything that parses a file's bytes happens there. What it made is kept in a
//! folder of the host's own (`cache`), by what the file holds and by what the code was made for; the next start maps it
//! into memory (`code`).
//!
//! Invariant: machine code is run only if a process of this host made it and nobody else could have changed it since.

use std::hash::{Hash as _, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use super::cache::Cache;
use super::child::{self, CompileLimits};
use super::code::Draft;
use crate::sandbox::load::link::{self, LoadError};
use crate::sandbox::{Plugin, Sandbox};
use crate::tasks;

/// Who compiles.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// This process, with what it has of time and memory: for tests of what is loaded, not of how.
    InProcess,
    /// A child process for each file.
    Child(Arc<Workshop>),
}

/// What it takes to compile in a child process.
#[derive(Debug)]
pub struct Workshop {
    /// A program whose command `compile` is [`compile_stdin`]: this one.
    pub program: PathBuf,
    /// Where machine code is kept; nowhere, and every file is compiled anew.
    pub cache: Option<Cache>,
    /// Where machine code is put that is not kept; what is put there has no name.
    pub temp_dir: PathBuf,
    /// What one file may take.
    pub limits: CompileLimits,
}

/// Where a plugin's machine code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was kept from an earlier time.
    Cache,
    /// It was made just now.
    Compiled {
        /// How long that took, in milliseconds.
        ms: u64,
    },
}

impl Compiler {
    /// Makes a plugin out of a file; what [`Sandbox::load`] says of it holds here. Dropping the future ends the child.
    pub async fn load(&self, sandbox: &Sandbox, file: Bytes) -> Result<(Plugin, Origin), LoadError> {
        let Self::Child(workshop) = self else {
            let (started, sandbox) = (Instant::now(), sandbox.clone());
            let plugin = tasks::blocking(move || sandbox.load(&file)).await?;
            return Ok((plugin, since(started)));
        };
        let (compiler, its_sandbox, its_file) = (self.clone(), sandbox.clone(), file.clone());
        match tasks::blocking(move || compiler.kept(&its_sandbox, &its_file)).await {
            Some(plugin) => Ok((plugin?, Origin::Cache)),
            None => workshop.compile(sandbox, file).await,
        }
    }

    /// The same if its machine code was kept and can be loaded. Blocks for as long as it takes to read both.
    pub fn kept(&self, sandbox: &Sandbox, file: &[u8]) -> Option<Result<Plugin, LoadError>> {
        let Self::Child(workshop) = self else { return None };
        let code = workshop.cache.as_ref()?.find(&key(&sandbox.0.engine, file))?;
        // What cannot be loaded is no verdict on the file: it is compiled anew.
        let code = code.load(&sandbox.0.engine).ok()?;
        Some(link::link(&sandbox.0, code))
    }
}

impl Workshop {
    async fn compile(self: &Arc<Self>, sandbox: &Sandbox, file: Bytes) -> Result<(Plugin, Origin), LoadError> {
        let (started, workshop) = (Instant::now(), Arc::clone(self));
        let draft = tasks::blocking(move || workshop.draft()).await?;
        let draft = child::compile(&self.program, self.limits, &file, draft).await?;
        let (workshop, sandbox) = (Arc::clone(self), sandbox.clone());
        let plugin = tasks::blocking(move || {
            let key = key(&sandbox.0.engine, &file);
            // Not needed any more, while the machine code is read.
            drop(file);
            let code = draft.finish(&key, workshop.cache.as_ref());
            link::link(&sandbox.0, code.load(&sandbox.0.engine)?)
        });
        Ok((plugin.await?, since(started)))
    }

    fn draft(&self) -> Result<Draft, LoadError> {
        let kept = self.cache.as_ref().and_then(Cache::draft);
        kept.map_or_else(|| Draft::without_name(&self.temp_dir), Ok).map_err(|error| {
            LoadError::Compiler(format!("could not be given a file in {}: {error}", self.temp_dir.display()))
        })
    }
}

fn since(started: Instant) -> Origin {
    Origin::Compiled { ms: started.elapsed().as_millis().try_into().unwrap_or(u64::MAX) }
}

/// What machine code is kept under: the file it was made of, and everything that the result depends on beside it.
fn key(engine: &Engine, file: &[u8]) -> String {
    let mut hasher = IntoSha(Sha256::new());
    hasher.0.update(Sha256::digest(file));
    hasher.0.update(env!("CARGO_PKG_VERSION"));
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex::encode(hasher.0.finalize())
}

/// A [`Hasher`] whose 64 bits nobody asks for.
struct IntoSha(Sha256);

impl Hasher for IntoSha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{SandboxOptions, engine};

    #[test]
    fn what_compiles_and_what_runs_agree_on_the_code() {
        let running = Sandbox::new(SandboxOptions {
            max_instances: 3,
            max_warm: 1,
            stack_bytes: 1 << 20,
            ..SandboxOptions::default()
        })
        .unwrap();
        let compiling = engine::compiling().unwrap();
        assert_eq!(key(&running.0.engine, b"a"), key(&compiling, b"a"));
        assert_ne!(key(&compiling, b"a"), key(&compiling, b"b"));
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(false)).unwrap();
        assert_ne!(key(&compiling, b"a"), key(&other, b"a"));
    }
}
