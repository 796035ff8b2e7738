//! Operations that run: finds their deliveries, acts on them at their pace, and looks for what came
//! of it. All that is needed to go on is in the store, so a start goes on where the last host was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::store::{Operation, OperationId, OperationSignal, Operations, StoreError};

/// The most deliveries that one step acts on.
const MAX_STEP: u64 = 250;

/// The most deliveries of one operation whose results are waited for.
const MAX_OPEN: u64 = 1_000;

/// The first pause of an operation that waits for results; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two looks at an operation.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pause after a step that the store has refused.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The time that an operation has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// It has more to do at once.
    Nothing,
    /// For so long.
    Pause(Duration),
}

/// The state of an operation between two steps.
#[derive(Debug)]
struct Progress {
    pause: Duration,
    done: u64,
    /// Deliveries that its pace allows.
    allowed: f64,
    at: Instant,
}

/// Goes on with what runs, until `closing`; `signal` tells of another operation.
pub(super) async fn run(
    store: Arc<dyn Operations>,
    signal: Arc<OperationSignal>,
    closing: CancellationToken,
) {
    let mut steered = signal.listen();
    let mut runner = Runner { store, signal, known: HashMap::new() };
    loop {
        let wait = runner.turn().await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "an operation cannot go on, and is tried again");
            Some(RETRY_AFTER)
        });
        tokio::select! {
            () = closing.cancelled() => return,
            changed = steered.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
        steered.mark_unchanged();
    }
}

struct Runner {
    store: Arc<dyn Operations>,
    signal: Arc<OperationSignal>,
    known: HashMap<OperationId, Progress>,
}

impl Runner {
    /// A step of each operation that runs; the time until there is more to do, if any runs.
    async fn turn(&mut self) -> Result<Option<Duration>, StoreError> {
        let running = self.store.running_operations().await?;
        self.known.retain(|id, _| running.iter().any(|operation| operation.id == *id));
        let mut wait = None;
        for operation in running {
            let after = match self.step(operation).await? {
                Wait::Nothing => Duration::ZERO,
                Wait::Pause(pause) => pause,
            };
            wait = Some(wait.map_or(after, |wait: Duration| wait.min(after)));
        }
        Ok(wait)
    }

    async fn step(&mut self, operation: Operation) -> Result<Wait, StoreError> {
        let id = operation.id;
        if operation.open > 0 {
            self.store.collect(id).await?;
        }
        // Read again: results may have been counted, and an operator may have stopped it.
        let Some(operation) = self.store.operation(id).await? else { return Ok(Wait::Nothing) };
        if let Some(reason) = heeds(&operation) {
            self.rest(id, Some(reason)).await?;
            return Ok(Wait::Nothing);
        }
        if operation.is_through() {
            self.rest(id, None).await?;
            return Ok(Wait::Nothing);
        }
        if operation.left() == 0 && !operation.is_found {
            self.store.find_more(id).await?;
            return Ok(Wait::Nothing);
        }
        let (most, pause) = self.may_act(&operation);
        if most == 0 {
            return Ok(Wait::Pause(pause));
        }
        self.store.act(id, most as usize).await?;
        self.signal.tell();
        Ok(Wait::Nothing)
    }

    async fn rest(&self, id: OperationId, reason: Option<String>) -> Result<(), StoreError> {
        self.store.rest(id, reason).await?;
        self.signal.tell();
        Ok(())
    }

    /// How many deliveries may be acted on now; for none, how long to wait.
    fn may_act(&mut self, operation: &Operation) -> (u64, Duration) {
        let now = Instant::now();
        let known = self.known.entry(operation.id).or_insert_with(|| Progress {
            pause: FIRST_PAUSE,
            done: operation.done(),
            allowed: 1.0,
            at: now,
        });
        if known.done == operation.done() {
            known.pause = (known.pause * 2).min(LONGEST_PAUSE);
        } else {
            (known.pause, known.done) = (FIRST_PAUSE, operation.done());
            self.signal.tell();
        }
        let most = at_once(operation);
        let Some(pace) = operation.options.pace.map(f64::from) else {
            return (most, known.pause);
        };
        let passed = now.saturating_duration_since(known.at).as_secs_f64();
        // At most one second's worth, so that a wait is not made up for at once.
        known.allowed = (known.allowed + passed * pace).min(pace.max(1.0));
        known.at = now;
        let most = most.min(known.allowed as u64);
        known.allowed -= most as f64;
        if most == 0 && known.allowed < 1.0 {
            return (0, Duration::from_secs_f64((1.0 - known.allowed) / pace));
        }
        (most, known.pause)
    }
}

/// Why an operation stops by itself; for people.
fn heeds(operation: &Operation) -> Option<String> {
    let failed = operation.failed;
    if operation.options.first && operation.ok == 0 && failed > 0 {
        return Some("the first one failed again: nothing else was touched".to_owned());
    }
    let most = operation.options.stop_after.map(u64::from)?;
    (failed >= most).then(|| format!("{failed} failed again, and it was to stop after {most}"))
}

/// The most deliveries that an operation may act on at once: one while the first one is tried, and
/// no more at a time than failures after which it stops.
fn at_once(operation: &Operation) -> u64 {
    let open = match (operation.options.first && operation.ok == 0, operation.options.stop_after) {
        (true, _) => 1,
        (false, Some(most)) => u64::from(most).clamp(1, MAX_OPEN),
        (false, None) => MAX_OPEN,
    };
    open.saturating_sub(operation.open).min(MAX_STEP).min(operation.left())
}
