//! The compiler of a file, and the key under which its machine code is cached.

use std::hash::{Hash as _, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use super::cache::Cache;
use super::child::{self, CompileLimits};
use super::machine_code::MachineCode;
use super::temp_file::TempFile;
use crate::sandbox::load::{self, LoadError};
use crate::sandbox::{Plugin, Sandbox};
use crate::tasks;

/// A compiler: a child process, or this one.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// A child process for each file.
    Child(Arc<ChildCompiler>),
    /// This process, for tests that are not about compiling.
    #[cfg(test)]
    InProcess,
}

/// Compiles each file in a child process.
#[derive(Debug)]
pub struct ChildCompiler {
    /// A program whose command `compile` is [`compile_stdin`](super::compile_stdin): this one.
    pub program: PathBuf,
    /// Where machine code is cached; without it, every file is compiled anew.
    pub cache: Option<Cache>,
    /// The folder for machine code that is not cached. A file there has no name.
    pub temp_dir: PathBuf,
    /// Limits for one file.
    pub limits: CompileLimits,
}

/// Where a plugin's machine code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSource {
    /// It was cached.
    Cache,
    /// It was compiled just now.
    Compiled {
        /// How long that took, in milliseconds.
        ms: u64,
    },
}

impl Compiler {
    /// Makes a plugin of a file, as [`Sandbox::load`] does. Dropping the future ends the child.
    pub async fn load(
        &self,
        sandbox: &Sandbox,
        file: Bytes,
    ) -> Result<(Plugin, CodeSource), LoadError> {
        match self {
            Self::Child(child) => child.load(sandbox, file).await,
            #[cfg(test)]
            Self::InProcess => {
                let (started, sandbox) = (Instant::now(), sandbox.clone());
                let plugin = tasks::blocking(move || sandbox.load(&file)).await?;
                Ok((plugin, compiled_since(started)))
            }
        }
    }

    /// The same if its machine code is cached and can be loaded. Blocks while it reads the code.
    pub fn cached(&self, sandbox: &Sandbox, file: &[u8]) -> Option<Result<Plugin, LoadError>> {
        match self {
            Self::Child(child) => child.cached(sandbox, file),
            #[cfg(test)]
            Self::InProcess => None,
        }
    }
}

impl ChildCompiler {
    async fn load(
        self: &Arc<Self>,
        sandbox: &Sandbox,
        file: Bytes,
    ) -> Result<(Plugin, CodeSource), LoadError> {
        let (compiler, its_sandbox, its_file) = (Arc::clone(self), sandbox.clone(), file.clone());
        match tasks::blocking(move || compiler.cached(&its_sandbox, &its_file)).await {
            Some(plugin) => Ok((plugin?, CodeSource::Cache)),
            None => self.compile(sandbox, file).await,
        }
    }

    fn cached(&self, sandbox: &Sandbox, file: &[u8]) -> Option<Result<Plugin, LoadError>> {
        let engine = &sandbox.core().engine;
        let started = Instant::now();
        let code = self.cache.as_ref()?.find(&key(engine, file))?;
        // Code that cannot be loaded says nothing about the file: it is compiled again.
        let code = code.load(engine).ok()?;
        let plugin = load::link(sandbox, code);
        measure("before", started.elapsed());
        Some(plugin)
    }

    async fn compile(
        self: &Arc<Self>,
        sandbox: &Sandbox,
        file: Bytes,
    ) -> Result<(Plugin, CodeSource), LoadError> {
        let (started, compiler) = (Instant::now(), Arc::clone(self));
        let output = tasks::blocking(move || compiler.temp_file()).await?;
        let output = child::compile(&self.program, self.limits, &file, output).await?;
        let (compiler, sandbox) = (Arc::clone(self), sandbox.clone());
        let plugin = tasks::blocking(move || {
            let engine = &sandbox.core().engine;
            let key = key(engine, &file);
            // The file is large, and is not needed any more.
            drop(file);
            let TempFile { file: code, name } = output;
            if let (Some(name), Some(cache)) = (name, &compiler.cache) {
                cache.keep(name, &code, &key);
            }
            load::link(&sandbox, MachineCode(code).load(engine)?)
        });
        let plugin = plugin.await?;
        measure("now", started.elapsed());
        Ok((plugin, compiled_since(started)))
    }

    fn temp_file(&self) -> Result<TempFile, LoadError> {
        let named = self.cache.as_ref().and_then(Cache::temp_file);
        named.map_or_else(|| TempFile::unnamed(&self.temp_dir), Ok).map_err(|error| {
            let dir = self.temp_dir.display();
            LoadError::Compiler(format!("could not be given a temporary file in {dir}: {error}"))
        })
    }
}

/// Notes how long it took until a plugin could run.
fn measure(from: &'static str, took: Duration) {
    metrics::histogram!("hookbox_plugin_compile_duration_seconds", "from" => from).record(took);
}

fn compiled_since(started: Instant) -> CodeSource {
    CodeSource::Compiled { ms: started.elapsed().as_millis().try_into().unwrap_or(u64::MAX) }
}

/// The key of machine code: the file it was made of, and all that the result depends on beside it.
fn key(engine: &Engine, file: &[u8]) -> String {
    let mut hasher = IntoSha(Sha256::new());
    hasher.0.update(Sha256::digest(file));
    // Another release may bring a file into another form before it is compiled.
    hasher.0.update(env!("CARGO_PKG_VERSION"));
    // Covers the version of wasmtime, its settings and the kind of machine.
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
    use crate::sandbox::engine;

    #[test]
    fn what_compiles_and_what_runs_agree_on_the_code() {
        let (running, compiling) =
            (engine::running(4, 1 << 20).unwrap(), engine::compiling().unwrap());
        assert_eq!(key(&running, b"a"), key(&compiling, b"a"));
        assert_ne!(key(&compiling, b"a"), key(&compiling, b"b"));
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(false)).unwrap();
        assert_ne!(key(&compiling, b"a"), key(&other, b"a"));
    }
}
