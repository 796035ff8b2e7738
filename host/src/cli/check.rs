//! `hookbox check`: everything that is wrong with a configuration and its plugins, at once, without binding anything.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::Common;
use super::compile::readers_compiler;
use super::describe::describe;
use super::failure::{Failure, colour_on_stderr};
use super::output::{Page, printable};
use crate::clock::Clock;
use crate::config::{Config, MakeSecrets};
use crate::plugins::{Shelf, Stock};
use crate::sandbox::{Compiler, Sandbox, SandboxOptions};
use crate::tasks;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hookbox check
  hookbox check --config staging.toml && systemctl reload hookbox

Exit code 2 if there is any problem; nothing is bound, created or changed.")]
pub(super) struct Check {}

impl Check {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let loaded = Config::load(&common.config, MakeSecrets::No);
        let dir = match &loaded {
            Ok(config) => config.server.plugins_dir.clone(),
            // A file that cannot be taken does not say where its plugins are; most are here.
            Err(_) => usual_plugins_dir(&common.config),
        };
        let compiler = readers_compiler(loaded.as_ref().ok())?;
        let (shelf, unsettled) =
            if loaded.is_ok() || dir.is_dir() { shelf(&dir, compiler)? } else { (Shelf::default(), false) };
        let mut count = 0;
        if unsettled {
            eprintln!("files in {} change while they are read: check again when they are at rest", dir.display());
            count += 1;
        }
        if let Err(problems) = &loaded {
            eprint!("{}", problems.render(colour_on_stderr()));
            count += problems.len();
        }
        for problem in plugin_problems(&shelf) {
            eprintln!("{problem}");
            count += 1;
        }
        match loaded {
            Ok(config) if count == 0 => {
                let mut page = Page::new();
                describe(&mut page, &config, &shelf);
                page.line("no problem found");
                page.print()?;
                Ok(ExitCode::SUCCESS)
            }
            _ => Err(Failure::usage(if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") })),
        }
    }
}

fn usual_plugins_dir(config: &Path) -> PathBuf {
    let config = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    config.with_file_name("plugins")
}

/// What is in the folder, and whether some of it never came to rest.
fn shelf(dir: &Path, compiler: Compiler) -> Result<(Shelf, bool), Failure> {
    let sandbox = Sandbox::new(SandboxOptions::default()).map_err(|error| Failure::failed(error.to_string()))?;
    let runtime =
        tasks::runtime("check", 1).map_err(|error| Failure::failed(format!("failed to start a thread: {error}")))?;
    let (sandbox, dir, clock, approvals) = (Arc::new(sandbox), dir.to_owned(), Clock::system(), Arc::default());
    let loaded = runtime.block_on(Shelf::load_all(&Stock { sandbox, compiler, dir, clock, approvals }));
    Ok((loaded.shelf, loaded.unsettled))
}

fn plugin_problems(shelf: &Shelf) -> Vec<String> {
    let of_folder = shelf.problems().iter().map(|problem| printable(problem));
    let of_plugins = shelf
        .slots()
        .filter_map(|(name, slot)| slot.problem.as_ref().map(|problem| format!("plugin `{name}`: {}", lines(problem))));
    of_folder.chain(of_plugins).collect()
}

/// A text of several lines, each escaped.
fn lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n  ")
}
