//! `hookbox run`: one plugin, one event, no host; for a plugin's author.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Common;
use super::failure::Failure;
use super::output::{print_json, print_json_line};
use super::runner::{GivenSettings, PluginRunner, RunSettings, Task, answer, event, summary};
use crate::event::Event;
use crate::sandbox::{Plugin, Verdict};

mod watch;

#[derive(Debug, Args)]
#[command(after_help = "\
The plugin gets the limits a host would give it by default, or with --as those of [plugins.NAME] in config.toml, and may \
send the HTTP requests that are granted there. Writes to its key-value store are shown and \
forgotten; every key that it reads is absent. With --watch, ctrl-c ends it.

Examples:
  hookbox run plugins/video-orders.wasm --event event.json
  hookbox run plugins/video-orders.wasm --event event.json --watch
  hookbox run plugins/video-orders.wasm --event event.json --as video-orders
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
    /// Run again whenever the plugin or the event changes
    #[arg(long)]
    watch: bool,
    /// Report in JSON; with --watch one line a run
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

    fn once(
        &self,
        runner: &PluginRunner,
        plugin: &Plugin,
        event: Event,
        settings: &RunSettings,
    ) -> Result<ExitCode, Failure> {
        let config = self.config_value.iter().cloned().collect();
        let invocation =
            runner.run(plugin, Task { event, config, attempt: self.attempt, settings });
        match (self.json, self.watch) {
            (true, true) => print_json_line(&answer::to_json(&invocation))?,
            (true, false) => print_json(&answer::to_json(&invocation))?,
            (false, _) => summary::summary(plugin, &invocation).print()?,
        }
        Ok(if matches!(invocation.verdict, Verdict::Ok(_)) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
