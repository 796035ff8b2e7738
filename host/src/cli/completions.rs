//! `hookbox completions`: what a shell completes.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::failure::Failure;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(hookbox completions bash)
  hookbox completions zsh > ~/.zfunc/_hookbox
  hookbox completions fish > ~/.config/fish/completions/hookbox.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, mut command: clap::Command) -> Result<ExitCode, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "hookbox", &mut script);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&script)?;
        stdout.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
