//! Runs one plugin without a host, for `run` and `test`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio::runtime::Runtime;

use self::run_store::RunStore;
use super::Common;
use super::compile::users_compiler;
use super::failure::Failure;
use super::known;
use super::remarks::patiently;
use crate::config::{self, PluginSettings};
use crate::event::{Event, PluginName};
use crate::sandbox::{Call, Compiler, Invocation, Plugin, Sandbox, SandboxOptions};
use crate::tasks;

pub(super) mod answer;
pub(super) mod calls;
pub(super) mod event;
pub(super) mod run_store;
pub(super) mod summary;

/// The idempotency key a plugin sees: the same in every run, so that runs can be compared.
const IDEMPOTENCY_KEY: &str = "run";

/// The name of a plugin that no configuration knows.
const UNNAMED: &str = "NAME";

/// Settings on the command line; without them a plugin gets those that a host would give it by
/// default.
#[derive(Debug, Args)]
pub(super) struct GivenSettings {
    /// With the settings, limits and grants of [plugins.NAME] in the configuration file
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// The time limit
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    timeout_ms: Option<u64>,
    /// The memory limit
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=4096))]
    memory_mib: Option<u16>,
    /// The path that an HTTP handler's requests go to
    #[arg(long, value_name = "PATH", value_parser = path)]
    path: Option<String>,
}

fn path(text: &str) -> Result<String, String> {
    config::is_path(text)
        .then(|| text.to_owned())
        .ok_or_else(|| "write a path that begins with `/`".to_owned())
}

/// The plugin's name and settings.
#[derive(Debug)]
pub(super) struct RunSettings {
    plugin: PluginName,
    settings: PluginSettings,
}

impl GivenSettings {
    /// The settings of the configuration, if asked for, with those of the command line above them.
    pub(super) fn settings(&self, common: &Common) -> Result<RunSettings, Failure> {
        let (name, mut settings) = match &self.name {
            Some(name) => (name.as_str(), configured(name, common)?),
            None => (UNNAMED, PluginSettings::default()),
        };
        let limits = &mut settings.limits;
        if let Some(timeout_ms) = self.timeout_ms {
            (limits.timeout_ms, limits.cpu_ms) = (timeout_ms, timeout_ms);
        }
        if let Some(mib) = self.memory_mib {
            limits.memory_bytes = usize::from(mib) << 20;
        }
        if let Some(path) = &self.path {
            settings.path = path.as_str().into();
        }
        Ok(RunSettings { plugin: name.into(), settings })
    }
}

/// The settings of a plugin that the configuration has a section for; a mistake elsewhere in the
/// file is only counted.
fn configured(name: &str, common: &Common) -> Result<PluginSettings, Failure> {
    match known::partial(common)?.take_plugin(name) {
        Some(settings) => Ok((*settings?).clone()),
        None => {
            let shown = common.config.display();
            Err(Failure::usage(format!(
                "{shown} has no section [plugins.{name}]: write one, or leave `--as` out"
            )))
        }
    }
}

/// One event for the plugin.
#[derive(Debug, Clone)]
pub(super) struct Task<'a> {
    pub(super) event: Event,
    /// Settings that the plugin reads through `hookbox:plugin/config`, above the configured ones.
    pub(super) config: BTreeMap<String, String>,
    /// The number of the attempt, from 1.
    pub(super) attempt: u32,
    /// Its keys and recorded steps.
    pub(super) kept: Arc<RunStore>,
    pub(super) settings: &'a RunSettings,
}

/// A sandbox and the thread that it runs on.
#[derive(Debug)]
pub(super) struct PluginRunner {
    sandbox: Sandbox,
    compiler: Compiler,
    runtime: Runtime,
}

impl PluginRunner {
    pub(super) fn new() -> Result<Self, Failure> {
        let sandbox = Sandbox::new(SandboxOptions::default())
            .map_err(|error| Failure::failed(error.to_string()))?;
        let runtime = tasks::runtime("run", 1)
            .map_err(|error| Failure::failed(format!("failed to start a thread: {error}")))?;
        Ok(Self { sandbox, compiler: users_compiler()?, runtime })
    }

    /// Loads a plugin's file: a usage failure if it cannot be read, a plain one if it is not taken.
    pub(super) fn load(&self, file: &Path) -> Result<Plugin, Failure> {
        let shown = file.display();
        let bytes = fs::read(file)
            .map_err(|error| Failure::usage(format!("failed to read {shown}: {error}")))?;
        let say = std::future::ready(format!("compiling {shown}…"));
        let loaded = self.wait(patiently(self.compiler.load(&self.sandbox, bytes.into()), say));
        loaded
            .map(|(plugin, _)| plugin)
            .map_err(|error| Failure::failed(format!("{shown} is not taken: {error}")))
    }

    /// Runs one attempt.
    pub(super) fn run(&self, plugin: &Plugin, task: Task<'_>) -> Invocation {
        self.wait(plugin.invoke(task.call()))
    }

    /// Waits for something on the runner's thread.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

impl Task<'_> {
    fn call(self) -> Call {
        let RunSettings { plugin, settings } = self.settings;
        let mut config = (*settings.config).clone();
        config.extend(self.config);
        Call {
            plugin: plugin.clone(),
            event: Arc::new(self.event),
            attempt: self.attempt,
            max_attempts: settings.retry.max_attempts.max(self.attempt),
            idempotency_key: IDEMPOTENCY_KEY.to_owned(),
            limits: settings.limits,
            grants: settings.grants.clone(),
            config: Arc::new(config),
            kv: self.kept.clone(),
            steps: self.kept,
            path: settings.path.clone(),
            reuse: false,
            trace: None,
            is_apart: false,
        }
    }
}
