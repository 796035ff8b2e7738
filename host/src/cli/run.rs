//! `hookbox run`: one plugin, one event, no host. What a plugin's author tries first, and what compares two builds.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use crate::config::PluginSettings;
use crate::event::Event;
use crate::sandbox::{Call, Invocation, KvRead, KvReader, Limits, Sandbox, SandboxOptions, Verdict};
use crate::tasks;

mod input;
mod report;

/// The idempotency key a plugin sees: the same in every run, so that runs can be compared.
const IDEMPOTENCY_KEY: &str = "run";

#[derive(Debug, Args)]
#[command(after_help = "\
The plugin gets the limits a host would give it by default. What it writes to its key-value store is shown and
forgotten; what it reads from it is absent.

Examples:
  hookbox run plugins/video-orders.wasm --event event.json
  hookbox run plugins/audit.wasm --event body.json --type avatar_video.success
  echo '{\"n\":1}' | hookbox run plugins/audit.wasm --event - --type test.event --json")]
pub(super) struct Run {
    /// The plugin's file, .wasm or .wat
    #[arg(value_name = "PLUGIN.wasm")]
    plugin: PathBuf,
    /// A CloudEvents JSON document, or a bare body with --type; `-` is stdin
    #[arg(long, value_name = "FILE")]
    event: String,
    #[command(flatten)]
    attributes: input::Given,
    /// A value of the plugin's configuration
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    config_value: Vec<(String, String)>,
    /// The number of the attempt that it sees
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    attempt: u32,
    /// The time limit
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    timeout_ms: Option<u64>,
    /// The memory limit
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=4096))]
    memory_mib: Option<u16>,
    /// Report in JSON
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// No key has a value.
#[derive(Debug)]
struct Nothing;

impl KvReader for Nothing {
    fn get<'a>(&'a self, _key: &'a str) -> KvRead<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl Run {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let event = input::read(&self.event, &self.attributes)?;
        let shown = self.plugin.display();
        let file =
            std::fs::read(&self.plugin).map_err(|error| Failure::usage(format!("failed to read {shown}: {error}")))?;
        let sandbox = Sandbox::new(SandboxOptions::default()).map_err(|error| Failure::failed(error.to_string()))?;
        let plugin = sandbox.load(&file).map_err(|error| Failure::failed(format!("{shown} is not taken: {error}")))?;
        let runtime =
            tasks::runtime("run", 1).map_err(|error| Failure::failed(format!("failed to start a thread: {error}")))?;
        let invocation = runtime.block_on(plugin.invoke(self.call(event)));
        report::print(&invocation, self.json)?;
        Ok(if succeeded(&invocation) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn call(&self, event: Event) -> Call {
        let defaults = PluginSettings::default();
        Call {
            event: Arc::new(event),
            attempt: self.attempt,
            max_attempts: defaults.retry.max_attempts.max(self.attempt),
            idempotency_key: IDEMPOTENCY_KEY.to_owned(),
            limits: Limits {
                timeout_ms: self.timeout_ms.unwrap_or(defaults.timeout_ms),
                memory_bytes: self.memory_mib.map_or(defaults.memory_bytes, |mib| usize::from(mib) << 20),
            },
            config: Arc::new(self.config_value.iter().cloned().collect()),
            kv: Arc::new(Nothing),
        }
    }
}

fn succeeded(invocation: &Invocation) -> bool {
    matches!(invocation.verdict, Verdict::Ok(_))
}
