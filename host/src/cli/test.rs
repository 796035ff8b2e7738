//! `hookbox test`: a plugin against a folder of cases, each an event and the expected result. It
//! needs no host, so that a plugin's author can run it in CI.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Common;
use super::failure::Failure;
use super::runner::run_store::RunStore;
use super::runner::{GivenSettings, PluginRunner, Task, calls};

mod case;
mod expected;
mod folder;
mod report;

use case::{CaseResult, TestCase};
use folder::Project;
use report::TestReport;

#[derive(Debug, Args)]
#[command(after_help = "\
A case is a folder:
  DIR/cases/NAME/event.json      a CloudEvents document, as for `hookbox run`
  DIR/cases/NAME/expected.json   the expected result: {\"outcome\": \"ok\"}
  DIR/cases/NAME/config.json     optional, its settings: {\"currency\": \"EUR\"}
  DIR/cases/NAME/kv.json         optional, its values: {\"order_1\": \"open\"}

expected.json has to name `outcome`, and may name `reason`, `retry_after_ms`, `logs` (the texts) and `emitted`, whose \
events may name `type`, `subject`, `datacontenttype`, `data`, `data_base64` and `delay_ms`. Members that \
it does not name are not compared. `calls` says how often the handler is called, as long as it asks to be called again or \
for a retry; each call sees what those before have written and recorded. `steps` are the recorded results by name, and \
`kv` are values afterwards: a key with null is to be absent.

Examples:
  hookbox test plugins/video-orders    against plugins/video-orders.wasm
  hookbox test . --plugin target/my-handler.wasm --case ready
  hookbox test . --update              write what happens now into expected.json

Exit codes: 0 all passed; 1 a case failed, or the plugin does not load; 2 there is nothing to test, or a case is wrong.")]
pub(super) struct Test {
    /// The plugin's folder, which holds `cases/`
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The plugin's file, if it is not DIR/NAME.wasm, the only one in DIR, or DIR.wasm (.wat
    /// likewise)
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Run this case only; may be given several times
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Write expected.json of new cases, and of those that came out otherwise
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    settings: GivenSettings,
    /// Report in JSON
    #[arg(long)]
    json: bool,
}

impl Test {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let project = Project::find(&self.dir).map_err(Failure::usage)?;
        let folders = project.cases(&self.case).map_err(Failure::usage)?;
        let cases = TestCase::read_all(&folders, self.update).map_err(Failure::usage)?;
        let file = match &self.plugin {
            Some(file) => file.clone(),
            None => project.plugin().map_err(Failure::usage)?,
        };
        let settings = self.settings.settings(common)?;
        let runner = PluginRunner::new()?;
        let plugin = runner.load(&file)?;
        let mut report = TestReport::new(&file, self.json);
        for case in cases {
            let task = Task {
                event: case.event.clone(),
                config: case.config.clone(),
                attempt: 1,
                kept: RunStore::new(case.kv.clone()),
                settings: &settings,
            };
            let calls = calls::run(&runner, &plugin, task, case.bound(), |_| {});
            let (actual, mark) = case.judge(&calls, self.update);
            if matches!(mark, CaseResult::New | CaseResult::Updated) {
                case.write(&actual)?;
            }
            report.add(&case, &calls, &actual, mark)?;
        }
        report.end()
    }
}
