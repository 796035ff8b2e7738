//! `hookbox run`: one plugin, one event, no host; for a plugin's author.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Common;
use super::failure::Failure;
use super::output::{print_json, print_json_line};
use super::runner::calls::Bound;
use super::runner::run_store::{RunStore, Values, read_values};
use super::runner::{
    GivenSettings, PluginRunner, RunSettings, Task, answer, calls, event, summary,
};
use crate::event::Event;
use crate::sandbox::{Plugin, Verdict};

mod watch;

#[derive(Debug, Args)]
#[command(after_help = "\
The plugin gets the limits a host would give it by default, or with --as those of [plugins.NAME] in config.toml, and may \
send the HTTP requests that are granted there. Its key-value store holds what --kv says, and nothing without it. With \
--calls the next call sees what those before have written and recorded, and nothing waits. Afterwards all of it is \
forgotten. With --watch, ctrl-c ends it.

Examples:
  hookbox run plugins/video-orders.wasm --event event.json
  hookbox run plugins/video-orders.wasm --event event.json --watch
  hookbox run plugins/video-orders.wasm --event event.json --as video-orders
  hookbox run poll.wasm --event event.json --calls 10 --kv state.json
  hookbox run plugins/audit.wasm --event body.json --type avatar_video.success
  echo '{}' | hookbox run plugins/audit.wasm --event - --type test.event --json")]
pub(super) struct Run {
    /// The plugin's file, .wasm or .wat
    #[arg(value_name = "PLUGIN.wasm")]
    plugin: PathBuf,
    /// A CloudEvents JSON document, or a bare body with --type; `-` is stdin
    #[arg(long, value_name = "FILE")]
    event: String,
    #[command(flatten)]
    attributes: event::GivenAttributes,
    /// A value of the plugin's configuration
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    config_value: Vec<(String, String)>,
    /// The number of the attempt that it sees
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    attempt: u32,
    #[command(flatten)]
    settings: GivenSettings,
    /// The values of its key-value store at first, a JSON object: {"order_1": "open"}
    #[arg(long, value_name = "FILE")]
    kv: Option<PathBuf>,
    /// Call it so often, as long as it asks to be called again or for a retry
    #[arg(
        long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    calls: u32,
    /// Run again whenever the plugin or the event changes
    #[arg(long)]
    watch: bool,
    /// Report in JSON; with --watch or --calls one line a call
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Run {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        if self.watch {
            return watch::watch(self, common);
        }
        let event = self.event()?;
        let settings = self.settings.settings(common)?;
        let runner = PluginRunner::new()?;
        let plugin = runner.load(&self.plugin)?;
        self.once(&runner, &plugin, event, &settings)
    }

    fn event(&self) -> Result<Event, Failure> {
        event::read(&self.event, &self.attributes)
    }

    /// The values of the key-value store at first.
    fn values(&self) -> Result<Values, Failure> {
        let Some(file) = &self.kv else { return Ok(Values::new()) };
        let shown = file.display();
        let text = std::fs::read(file)
            .map_err(|error| Failure::usage(format!("failed to read {shown}: {error}")))?;
        serde_json::from_slice(&text)
            .map_err(|error| format!("it is not JSON: {error}"))
            .and_then(read_values)
            .map_err(|why| Failure::usage(format!("{shown}: {why}")))
    }

    fn once(
        &self,
        runner: &PluginRunner,
        plugin: &Plugin,
        event: Event,
        settings: &RunSettings,
    ) -> Result<ExitCode, Failure> {
        let config = self.config_value.iter().cloned().collect();
        let kept = RunStore::new(self.values()?);
        let task = Task { event, config, attempt: self.attempt, kept, settings };
        let bound = Bound { most: self.calls, retries: true };
        let mut shown = Ok(());
        let done = calls::run(runner, plugin, task, bound, |invocation| {
            let show = || match (self.json, self.watch || self.calls > 1) {
                (true, true) => print_json_line(&answer::to_json(invocation)),
                (true, false) => print_json(&answer::to_json(invocation)),
                (false, _) => summary::summary(plugin, invocation).print(),
            };
            if shown.is_ok() {
                shown = show();
            }
        });
        shown?;
        Ok(if matches!(done.last.verdict, Verdict::Ok(_)) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
