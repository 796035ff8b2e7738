//! `hookbox open`: the address of a page.

use std::process::{Command, ExitCode, Stdio};

use clap::Args;

use super::Common;
use super::client::{HostArg, encoded};
use super::failure::Failure;
use super::output::Printout;

#[derive(Debug, Args)]
#[command(after_help = "\
The host leads from there to what the id or the name means, else to a search of events. It is not asked by this command.

Examples:
  hookbox open                          the overview
  hookbox open evt_1a2093497a300000     an event
  hookbox open video-orders --browser   a plugin, in the browser of this machine")]
pub(super) struct Open {
    /// An id or a name: an event, a delivery, a failure group, an operation, a plugin, a source, a
    /// schedule, a join or batch, a bucket of keys
    #[arg(value_name = "THING")]
    thing: Option<String>,
    /// Also open it in the browser of this machine
    #[arg(long)]
    browser: bool,
    #[command(flatten)]
    host: HostArg,
}

impl Open {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let path = match &self.thing {
            Some(thing) => format!("/find?q={}", encoded(thing)),
            None => "/".to_owned(),
        };
        let url = self.host.client(common)?.url(&path);
        let mut out = Printout::new();
        out.line(&url);
        out.print()?;
        if self.browser {
            let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
            let mut command = Command::new(opener);
            command.arg(&url).stdin(Stdio::null()).stdout(Stdio::null());
            let opened = command.status().map_err(|error| {
                Failure::failed(format!("no browser was opened: `{opener}`: {error}"))
            })?;
            if !opened.success() {
                return Err(Failure::failed(format!("no browser was opened: `{opener}` {opened}")));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
