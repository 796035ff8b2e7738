//! `hookbox check`: everything that is wrong with a configuration and its plugins, at once, without
//! binding anything.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use arc_swap::ArcSwap;
use clap::Args;

use super::Common;
use super::compile::readers_compiler;
use super::describe::{describe, warn};
use super::failure::Failure;
use super::output::{Printout, printable};
use super::remarks::{self, patiently, remark, warning};
use crate::app;
use crate::clock::Clock;
use crate::config::{Config, MakeSecrets};
use crate::plugins::{Approvals, LoadContext, Registry};
use crate::sandbox::{Cache, Compiler, Sandbox, SandboxOptions};
use crate::tasks;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hookbox check
  hookbox check --strict
  hookbox check --config staging.toml && systemctl reload hookbox

Exit code 2 if there is any problem, and with --strict if there is any warning. Nothing is bound, created or changed.")]
pub(super) struct Check {
    /// Take warnings for problems, such as a source without a secret
    #[arg(long)]
    strict: bool,
}

impl Check {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let loaded = Config::load(&common.config, MakeSecrets::No);
        let dir = match &loaded {
            Ok(config) => config.server.plugins_dir.clone(),
            // A file that cannot be taken does not say where its plugins are; most are here.
            Err(_) => usual_plugins_dir(&common.config),
        };
        let compiler = readers_compiler(loaded.as_ref().ok())?;
        let runtime = tasks::runtime("check", 1)
            .map_err(|error| Failure::failed(format!("failed to start a thread: {error}")))?;
        let (approvals, untold) = runtime.block_on(approvals(loaded.as_ref().ok()));
        let files =
            loaded.as_ref().ok().map(|config| Cache::read_only(config.server.compiled_dir()));
        let (registry, unsettled) = if loaded.is_ok() || dir.is_dir() {
            runtime.block_on(load(&dir, compiler, (approvals, files)))?
        } else {
            (Registry::default(), false)
        };
        let mut count = usize::from(unsettled);
        if unsettled {
            let dir = dir.display();
            remark(&format!(
                "files in {dir} change while they are read: check again when they are at rest"
            ));
        }
        if let Err(problems) = &loaded {
            remarks::write(&problems.render(remarks::has_colour()));
            count += problems.len();
        }
        for problem in plugin_problems(&registry) {
            remark(&problem);
            count += 1;
        }
        match loaded {
            Ok(config) if count == 0 => self.show(&config, &registry, untold),
            _ => Err(Failure::usage(if count == 1 {
                "1 problem".to_owned()
            } else {
                format!("{count} problems")
            })),
        }
    }

    /// Shows a configuration without a problem and counts its warnings, with one more if the
    /// approvals are `untold`.
    fn show(
        &self,
        config: &Config,
        registry: &Registry,
        untold: bool,
    ) -> Result<ExitCode, Failure> {
        let mut out = Printout::new();
        describe(&mut out, config, registry);
        let warnings = warn(&mut out, config, registry) + usize::from(untold);
        let found =
            if warnings == 1 { "1 warning".to_owned() } else { format!("{warnings} warnings") };
        let fails = self.strict && warnings > 0;
        if warnings == 0 {
            out.line("no problem found");
        } else if !fails {
            out.line(format!("no problem found, but {found} (`--strict` makes that exit code 2)"));
        }
        out.print()?;
        if fails { Err(Failure::usage(found)) } else { Ok(ExitCode::SUCCESS) }
    }
}

fn usual_plugins_dir(config: &Path) -> PathBuf {
    let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    config.with_file_name("plugins")
}

/// The approvals of this configuration's host, and whether there is a warning instead: another user
/// may own them and not share them, or their server is not reachable.
async fn approvals(config: Option<&Config>) -> (Arc<Approvals>, bool) {
    let Some(config) = config else { return (Arc::default(), false) };
    let config = Arc::new(ArcSwap::from_pointee(config.clone()));
    let asking = async { "asking the store what is approved…".to_owned() };
    match patiently(app::peek_approvals(config), asking).await {
        Ok(approvals) => (Arc::new(approvals), false),
        Err(why) => {
            warning(&format!(
                "which plugin files would be held cannot be told: {}",
                printable(&why)
            ));
            (Arc::default(), true)
        }
    }
}

/// The plugins in the folder, and whether some of their files never came to rest.
async fn load(
    dir: &Path,
    compiler: Compiler,
    (approvals, files): (Arc<Approvals>, Option<Cache>),
) -> Result<(Registry, bool), Failure> {
    let sandbox = Sandbox::new(SandboxOptions::default())
        .map_err(|error| Failure::failed(error.to_string()))?;
    let (sandbox, dir, clock) = (Arc::new(sandbox), dir.to_owned(), Clock::system());
    let context = LoadContext { sandbox, compiler, dir, clock, approvals, files };
    let loaded = patiently(Registry::load_all(&context), compiling(&context)).await;
    Ok((loaded.registry, loaded.unsettled))
}

/// The plugins that take long: their machine code is not cached anywhere.
async fn compiling(context: &LoadContext) -> String {
    let begun = Registry::begin(context).await;
    let entries = begun.registry.entries().filter(|(_, entry)| entry.state() == "compiling");
    let names: Vec<&str> = entries.map(|(name, _)| name.as_ref()).collect();
    format!("compiling {}…", if names.is_empty() { "plugins".to_owned() } else { names.join(", ") })
}

fn plugin_problems(registry: &Registry) -> Vec<String> {
    let of_folder = registry.problems().iter().map(|problem| printable(problem));
    let of_plugins = registry.entries().filter_map(|(name, entry)| {
        entry.problem().map(|problem| format!("plugin `{name}`: {}", lines(problem)))
    });
    of_folder.chain(of_plugins).collect()
}

/// A text of several lines, each escaped.
fn lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n  ")
}
