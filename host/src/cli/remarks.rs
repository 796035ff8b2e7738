//! Remarks of a command on stderr, beside its answer. A closed stderr changes nothing.

use std::io::{self, IsTerminal, Write as _};
use std::pin::pin;
use std::time::Duration;

use crate::env;

/// The time after which a wait is mentioned.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes a line.
pub(super) fn remark(line: &str) {
    write(&format!("{line}\n"));
}

/// Writes a warning.
pub(super) fn warning(line: &str) {
    write(&format!("{} {line}\n", labelled("warning:", "33")));
}

/// Writes an error.
pub(super) fn error(line: &str) {
    write(&format!("{} {line}\n", labelled("error:", "31")));
}

/// Writes a text as it is.
pub(super) fn write(text: &str) {
    // Nothing can be done about a closed stderr.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether stderr is to be coloured.
pub(super) fn has_colour() -> bool {
    env::colour(io::stderr().is_terminal())
}

fn labelled(label: &str, colour: &str) -> String {
    if has_colour() { format!("\u{1b}[{colour}m{label}\u{1b}[0m") } else { label.to_owned() }
}

/// Waits for `work`; if it takes long and somebody watches, says what `say` comes to.
pub(super) async fn patiently<T>(
    work: impl Future<Output = T>,
    say: impl Future<Output = String>,
) -> T {
    let say = async {
        if io::stderr().is_terminal() {
            remark(&say.await);
        }
    };
    unless_quick(work, PATIENCE, say).await
}

async fn unless_quick<T>(
    work: impl Future<Output = T>,
    patience: Duration,
    say: impl Future<Output = ()>,
) -> T {
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(patience, &mut work).await {
        return done;
    }
    say.await;
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks;

    #[test]
    fn a_word_is_said_of_what_takes_long_and_none_of_what_does_not() {
        let runtime = tasks::runtime("test", 1).unwrap();
        runtime.block_on(async {
            let said = tokio::sync::Notify::new();
            // It ends only once the word was said.
            let long = async {
                said.notified().await;
                "done"
            };
            assert_eq!(
                unless_quick(long, Duration::ZERO, async { said.notify_one() }).await,
                "done"
            );
            let quick = std::future::ready("done");
            assert_eq!(
                unless_quick(quick, PATIENCE, async { panic!("it was quick") }).await,
                "done"
            );
        });
    }
}
