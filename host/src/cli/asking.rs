//! Questions to whoever sits at a terminal, before a command changes much.

use std::io::{IsTerminal as _, Write as _, stderr, stdin};

use super::failure::Failure;

/// Whether somebody can be asked.
pub(super) fn somebody_is_there() -> bool {
    stdin().is_terminal()
}

/// Shows `text` and asks `question`; whether the answer is yes. The question is no part of the
/// answer of the command, so it goes to stderr.
pub(super) fn says_yes(text: &str, question: &str) -> Result<bool, Failure> {
    let mut answer = String::new();
    let asked = write!(stderr(), "{text}{question} [y/N] ");
    let read = asked.and_then(|()| stdin().read_line(&mut answer));
    read.map_err(|error| Failure::failed(format!("nobody can be asked: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
