//! The reason why a command failed, and its exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::remarks;
use crate::config::Problems;
use crate::telemetry;

/// The reason why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command could not do it: exit code 1.
    Failed(String),
    /// The arguments are wrong: exit code 2.
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

    /// Writes it to stderr as one JSON line, like a line of the log.
    pub(super) fn report_json(self, message: &str) -> ExitCode {
        let code = self.code();
        let mut fields = vec![("error", Value::from(self.to_string()))];
        match &self {
            Self::Config(problems) => {
                fields[0].1 = problems.summary().into();
                let list = problems.iter().map(|problem| {
                    json!({ "line": problem.line, "column": problem.column, "message": problem.message,
                            "help": problem.help })
                });
                fields.push(("problems", list.collect()));
            }
            Self::NobodyReads => return code,
            Self::Failed(_) | Self::Usage(_) => {}
        }
        telemetry::say_json_error(message, &fields);
        code
    }

    fn code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Usage(_) | Self::Config(_) => ExitCode::from(2),
            Self::NobodyReads => ExitCode::SUCCESS,
        }
    }

    /// Writes it to stderr.
    pub(super) fn report(self) -> ExitCode {
        match &self {
            Self::Failed(message) | Self::Usage(message) => remarks::error(message),
            Self::Config(problems) => remarks::write(&problems.render(remarks::has_colour())),
            Self::NobodyReads => {}
        }
        self.code()
    }
}

/// The text, where the command goes on.
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
