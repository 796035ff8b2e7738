//! One plugin on its own, without a host: what `run` and `test` have in common.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Runtime;

use super::compile::users_compiler;
use super::failure::Failure;
use crate::config::{self, Limits, PluginSettings};
use crate::event::Event;
use crate::sandbox::{Call, Compiler, Invocation, KvRead, KvReader, Plugin, Sandbox, SandboxOptions};
use crate::tasks;

pub(super) mod answer;
pub(super) mod event;
pub(super) mod page;

/// The idempotency key a plugin sees: the same in every run, so that runs can be compared.
const IDEMPOTENCY_KEY: &str = "run";

/// Settings on the command line; without them a plugin gets those that a host would give it by default.
#[derive(Debug, Clone, Args)]
pub(super) struct GivenSettings {
    /// The time limit
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    timeout_ms: Option<u64>,
    /// The memory limit
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=4096))]
    memory_mib: Option<u16>,
    /// Where an HTTP handler's requests go
    #[arg(long, value_name = "PATH", value_parser = path)]
    path: Option<String>,
}

fn path(text: &str) -> Result<String, String> {
    config::is_path(text).then(|| text.to_owned()).ok_or_else(|| "write a path that begins with `/`".to_owned())
}

/// One event for the plugin, and what it finds around it.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) event: Event,
    /// What it reads through `hookbox:plugin/config`.
    pub(super) config: BTreeMap<String, String>,
    /// The number of the attempt, from 1.
    pub(super) attempt: u32,
    pub(super) settings: GivenSettings,
}

/// A sandbox and the thread that it runs on.
#[derive(Debug)]
pub(super) struct Workbench {
    sandbox: Sandbox,
    compiler: Compiler,
    runtime: Runtime,
}

impl Workbench {
    pub(super) fn new() -> Result<Self, Failure> {
        let sandbox = Sandbox::new(SandboxOptions::default()).map_err(|error| Failure::failed(error.to_string()))?;
        let runtime =
            tasks::runtime("run", 1).map_err(|error| Failure::failed(format!("failed to start a thread: {error}")))?;
        Ok(Self { sandbox, compiler: users_compiler()?, runtime })
    }

    /// Loads a plugin's file: a usage failure if it cannot be read, a plain one if it is not taken.
    pub(super) fn load(&self, file: &Path) -> Result<Plugin, Failure> {
        let shown = file.display();
        let bytes = fs::read(file).map_err(|error| Failure::usage(format!("failed to read {shown}: {error}")))?;
        let loaded = self.wait(self.compiler.load(&self.sandbox, bytes.into()));
        loaded.map(|(plugin, _)| plugin).map_err(|error| Failure::failed(format!("{shown} is not taken: {error}")))
    }

    /// Runs one attempt.
    pub(super) fn run(&self, plugin: &Plugin, task: Task) -> Invocation {
        self.wait(plugin.invoke(task.call()))
    }

    /// Waits for something on the workbench's thread.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

impl Task {
    fn call(self) -> Call {
        let defaults = PluginSettings::default();
        Call {
            plugin: "run".into(),
            event: Arc::new(self.event),
            attempt: self.attempt,
            max_attempts: defaults.retry.max_attempts.max(self.attempt),
            idempotency_key: IDEMPOTENCY_KEY.to_owned(),
            limits: Limits {
                timeout_ms: self.settings.timeout_ms.unwrap_or(defaults.limits.timeout_ms),
                memory_bytes: self
                    .settings
                    .memory_mib
                    .map_or(defaults.limits.memory_bytes, |mib| usize::from(mib) << 20),
                ..defaults.limits
            },
            grants: defaults.grants,
            config: Arc::new(self.config),
            kv: Arc::new(Nothing),
            path: self.settings.path.map_or(defaults.path, Into::into),
            reuse: false,
        }
    }
}

/// No key has a value.
#[derive(Debug)]
struct Nothing;

impl KvReader for Nothing {
    fn get<'a>(&'a self, _key: &'a str) -> KvRead<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
