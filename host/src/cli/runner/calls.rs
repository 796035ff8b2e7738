//! The calls of one run: as many as the handler asks for, up to a bound, without waiting.

use std::sync::Arc;

use super::run_store::{RunStore, Values};
use super::{PluginRunner, Task};
use crate::event::LogLine;
use crate::sandbox::{Emitted, Invocation, Plugin, Verdict};

/// The result of one run.
#[derive(Debug)]
pub(in crate::cli) struct Calls {
    /// The last call.
    pub(in crate::cli) last: Invocation,
    /// The number of calls.
    pub(in crate::cli) count: u32,
    /// The events of every call that succeeded.
    pub(in crate::cli) emitted: Vec<Emitted>,
    /// The log of every call.
    pub(in crate::cli) logs: Vec<LogLine>,
    /// The values that are stored afterwards.
    pub(in crate::cli) values: Values,
    /// The results that are recorded afterwards, by the names of their steps.
    pub(in crate::cli) steps: Values,
}

/// How often a handler is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Bound {
    /// At most so often.
    pub(in crate::cli) most: u32,
    /// Also as long as it asks for a retry.
    pub(in crate::cli) retries: bool,
}

/// Calls the handler as long as it asks to be called again, or for a retry, within a bound. Each
/// call sees what those before have stored and recorded; `see` is shown each.
pub(in crate::cli) fn run(
    runner: &PluginRunner,
    plugin: &Plugin,
    mut task: Task<'_>,
    bound: Bound,
    mut see: impl FnMut(&Invocation),
) -> Calls {
    let kept: Arc<RunStore> = Arc::clone(&task.kept);
    let (mut count, mut emitted, mut logs) = (0, Vec::new(), Vec::new());
    loop {
        let mut invocation = runner.run(plugin, task.clone());
        kept.settle(&mut invocation);
        count += 1;
        see(&invocation);
        logs.extend(invocation.logs.iter().cloned());
        if let Verdict::Ok(events) = &invocation.verdict {
            emitted.extend(events.iter().cloned());
        }
        let again = asks_again(&invocation);
        let retries = bound.retries && matches!(invocation.verdict, Verdict::Retry { .. });
        if count >= bound.most || !(again || retries) {
            let (values, steps) = (kept.values(), kept.steps());
            return Calls { last: invocation, count, emitted, logs, values, steps };
        }
        // As a host counts: what asks to be called again begins anew.
        task.attempt = if again { 1 } else { task.attempt.saturating_add(1) };
    }
}

/// Whether a handler that succeeded asks to be called again.
pub(in crate::cli) fn asks_again(invocation: &Invocation) -> bool {
    matches!(invocation.verdict, Verdict::Ok(_)) && invocation.again.is_some()
}
