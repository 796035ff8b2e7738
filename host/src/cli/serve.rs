//! `hookbox serve`: the host itself, from its first line on stdout to its exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::compile::hosts_compiler;
use super::describe::describe;
use super::failure::Failure;
use super::output::{Ink, Printout};
use super::{Common, Format};
use crate::app::{self, App, Observed};
use crate::config::{Config, MakeSecrets, MissingPlugins};
use crate::series::Series;
use crate::store::OnLoss;
use crate::telemetry::otlp::Exporter;
use crate::{tasks, telemetry};

/// The exit code of a process that a signal ended is 128 and the signal's number, as shells count.
const SIGNALLED: i32 = 128;

#[derive(Debug, Args)]
#[command(after_help = "\
The first ctrl-c or SIGTERM drains: no new requests, running attempts may finish, the rest is kept for the next start. \
The second one leaves at once; nothing acknowledged is lost by that. SIGHUP reads the configuration again.

Examples:
  hookbox serve
  hookbox serve --config /etc/hookbox/config.toml --log-format json
  hookbox serve --accept-loss   after a start that said what the store has lost")]
pub(super) struct Serve {
    /// Go on once although the store has lost something since it was open last; the log says what
    #[arg(long)]
    accept_loss: bool,
    /// How log lines are written to stderr, and all that this command writes (what is logged:
    /// HOOKBOX_LOG, such as `debug`) [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(super) log_format: Option<Format>,
}

impl Serve {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        if common.logs_json {
            telemetry::panics_as_json();
        }
        // A host without one of its plugins takes webhooks all the same.
        let config = Config::load_with(&common.config, MakeSecrets::Yes, MissingPlugins::Wait)?;
        let series = Arc::new(Series::default());
        let render_metrics = telemetry::metrics(series.clone())
            .map_err(|error| Failure::failed(error.to_string()))?;
        let runtime = tasks::runtime("hookbox", tasks::cores())
            .map_err(|error| Failure::failed(format!("failed to start threads: {error}")))?;
        runtime.block_on(async {
            let shutdown = CancellationToken::new();
            let exporter = telemetry::otlp::start(&config.telemetry);
            // Before anything is printed: whoever reads that the host runs may stop it.
            tasks::spawn(stop_on_signals(Signals::new()?, shutdown.clone()));
            let compiler = hosts_compiler(&config)?;
            let on_loss = if self.accept_loss { OnLoss::Accept } else { OnLoss::Refuse };
            let built = app::build(config.clone(), compiler, on_loss).await;
            let app = built.map_err(|error| Failure::failed(error.to_string()))?;
            // Secrets of other hosts may have come.
            let config = app.config();
            if !common.logs_json {
                announce(&config, &app)?;
            }
            started(&config, &app);
            let tracer = exporter.as_ref().map(Exporter::tracer).unwrap_or_default();
            let ran = app.run(shutdown, Observed { render_metrics, series, tracer }).await;
            if ran.is_ok() {
                tracing::info!("stopped");
            }
            if let Some(exporter) = exporter {
                exporter.flush().await;
            }
            ran.map_err(|error| Failure::failed(error.to_string()))
        })?;
        // Work that cannot be cancelled (a file being read) is no reason to stay.
        runtime.shutdown_background();
        Ok(ExitCode::SUCCESS)
    }
}

/// The first line of the log that a host writes once it is bound; `stopped` is the last.
fn started(config: &Config, app: &App) {
    let (addresses, registry) = (app.addresses(), app.registry());
    let plugins: Vec<&str> = registry.entries().map(|(name, _)| name.as_ref()).collect();
    let sources: Vec<&str> = config.sources.keys().map(String::as_str).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), server.listen = %addresses.public, server.admin = %addresses.admin,
        config.path = %config.path.display(), sources = ?sources, plugins = ?plugins, "started"
    );
}

fn announce(config: &Config, app: &App) -> Result<(), Failure> {
    let addresses = app.addresses();
    let mut out = Printout::new();
    let name = out.ink(Ink::Bold, "hookbox");
    out.line(format!("{name} {} with {}", env!("CARGO_PKG_VERSION"), config.path.display()));
    out.line(format!("  webhooks  http://{}/webhook/SOURCE", addresses.public));
    out.line(format!("  admin     http://{}/api/v1/openapi.json", addresses.admin));
    describe(&mut out, config, &app.registry());
    out.line(out.ink(Ink::Dim, "ctrl-c stops"));
    match out.print() {
        // A host whose first lines nobody reads is a host all the same.
        Err(Failure::NobodyReads) => Ok(()),
        printed => printed,
    }
}

#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Failure::failed(format!("failed to listen for signals: {error}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}

/// The first signal drains, the second leaves.
async fn stop_on_signals(mut signals: Signals, shutdown: CancellationToken) {
    signals.next().await;
    shutdown.cancel();
    let number = signals.next().await;
    tracing::warn!("leaving at once");
    std::process::exit(SIGNALLED + number);
}
