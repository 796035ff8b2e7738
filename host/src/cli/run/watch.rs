//! `run --watch`: a run, and another one whenever the plugin or the event is changed, until ctrl-c.

use std::path::Path;
use std::process::ExitCode;

use super::Run;
use crate::cli::Common;
use crate::cli::failure::Failure;
use crate::cli::remarks::remark;
use crate::cli::runner::PluginRunner;
use crate::reload::Follow;
use crate::sandbox::Plugin;

/// Runs until a signal ends the process, or nobody reads any more.
pub(super) fn watch(run: &Run, common: &Common) -> Result<ExitCode, Failure> {
    if run.event == "-" {
        return Err(Failure::usage(
            "--watch needs the event in a file, because stdin can be read only once",
        ));
    }
    let runner = PluginRunner::new()?;
    let files = [run.plugin.as_path(), Path::new(&run.event)];
    let mut follow = Follow::new(&files);
    // A large plugin takes seconds to load: it is kept while only the event changes.
    let mut plugin = None;
    loop {
        let names = files.map(|file| file.display().to_string()).join(" or ");
        match round(run, common, &runner, &mut plugin) {
            Ok(_) => remark(&format!("waiting for a change of {names}; ctrl-c ends")),
            Err(Failure::NobodyReads) => return Err(Failure::NobodyReads),
            Err(failure) => {
                failure.report();
                remark(&format!("nothing was run; waiting for a change of {names}; ctrl-c ends"));
            }
        }
        let changed = runner.wait(follow.changed());
        if changed.contains(&0) {
            plugin = None;
        }
        let names: Vec<String> =
            changed.iter().map(|index| files[*index].display().to_string()).collect();
        remark(&format!("\n{} changed", names.join(" and ")));
    }
}

fn round(
    run: &Run,
    common: &Common,
    runner: &PluginRunner,
    plugin: &mut Option<Plugin>,
) -> Result<ExitCode, Failure> {
    let (event, settings) = (run.event()?, run.settings.settings(common)?);
    let plugin = match plugin {
        Some(plugin) => plugin,
        None => plugin.insert(runner.load(&run.plugin)?),
    };
    run.once(runner, plugin, event, &settings)
}
