//! Why a command did not succeed, and the exit code that says so.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use crate::config::{self, Problems};

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not be done: exit code 1.
    Failed(String),
    /// It was asked for wrongly: exit code 2.
    Usage(String),
    /// The configuration has problems: exit code 2.
    Config(Box<Problems>),
    /// Nobody reads the answer any more (`hookbox events | head`): exit code 0.
    NobodyReads,
}

impl Failure {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Says it on stderr.
    pub(super) fn report(self) -> ExitCode {
        let colour = colour_on_stderr();
        let label = if colour { "\u{1b}[31merror:\u{1b}[0m" } else { "error:" };
        match self {
            Self::Failed(message) => {
                eprintln!("{label} {message}");
                ExitCode::from(1)
            }
            Self::Usage(message) => {
                eprintln!("{label} {message}");
                ExitCode::from(2)
            }
            Self::Config(problems) => {
                eprint!("{}", problems.render(colour));
                ExitCode::from(2)
            }
            Self::NobodyReads => ExitCode::SUCCESS,
        }
    }
}

/// What is said of it where the command goes on.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) | Self::Usage(message) => f.write_str(message),
            Self::Config(problems) => f.write_str(&problems.render(false)),
            Self::NobodyReads => f.write_str("nobody reads the answer"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::failed(format!("failed to write the answer: {error}")),
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Config(Box::new(problems))
    }
}

/// Whether stderr is a terminal that may be coloured.
pub(super) fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && !config::no_color()
}
