//! Operations that run: finds their deliveries or events, acts on them at their pace, and looks for
//! what came of it. All that is needed to go on is in the store, so a start goes on where the last
//! host was. An operation that cannot go on hinders no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::routes::Facts;
use crate::event::{EventId, Target};
use crate::names::PluginName;
use crate::store::{
    FoundFacts, ItemResult, Operation, OperationDeed, OperationId, OperationSignal, Operations,
    ReadOne, StoreError,
};

/// The most deliveries that one step acts on.
const MAX_STEP: u64 = 250;

/// The most events that one step replays: each is read for its routes.
const MAX_REPLAYED: u64 = 50;

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
struct OperationPace {
    pause: Duration,
    done: u64,
    /// Deliveries that its pace allows.
    allowed: f64,
    at: Instant,
}

/// The parts of the host that operations use.
pub(super) struct OperationParts {
    pub(super) store: Arc<dyn Operations>,
    pub(super) reads: Arc<dyn ReadOne>,
    /// The routes by which events are replayed.
    pub(super) config: Arc<ArcSwap<Config>>,
    /// Tells of another operation.
    pub(super) signal: Arc<OperationSignal>,
}

/// Goes on with what runs, until `closing`.
pub(super) async fn run(parts: OperationParts, closing: CancellationToken) {
    let mut steered = parts.signal.listen();
    let mut runner = Runner { parts, known: HashMap::new(), hindered: HashMap::new() };
    loop {
        let wait = runner.turn().await.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "operations cannot go on, and are tried again");
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
    parts: OperationParts,
    known: HashMap<OperationId, OperationPace>,
    /// When an operation is tried again whose step was refused.
    hindered: HashMap<OperationId, Instant>,
}

impl Runner {
    /// A step of each operation that runs; the time until there is more to do, if any runs.
    async fn turn(&mut self) -> Result<Option<Duration>, StoreError> {
        let running = self.parts.store.running_operations().await?;
        let runs = |id: OperationId| running.iter().any(|operation| operation.id == id);
        self.known.retain(|id, _| runs(*id));
        self.hindered.retain(|id, _| runs(*id));
        self.parts.signal.keep(runs);
        let mut wait = None;
        for operation in running {
            let after = match self.step_alone(operation).await {
                Wait::Nothing => Duration::ZERO,
                Wait::Pause(pause) => pause,
            };
            wait = Some(wait.map_or(after, |wait: Duration| wait.min(after)));
        }
        Ok(wait)
    }

    /// A step that hinders no other operation, whatever comes of it.
    async fn step_alone(&mut self, operation: Operation) -> Wait {
        let (id, now) = (operation.id, Instant::now());
        if let Some(again) = self.hindered.get(&id).filter(|again| **again > now) {
            return Wait::Pause(*again - now);
        }
        let signal = self.parts.signal.clone();
        let (wait, trouble) = match self.step(operation).await {
            Ok(wait) => (wait, None),
            Err(error) => (Wait::Pause(RETRY_AFTER), Some(error.to_string())),
        };
        match &trouble {
            Some(_) => drop(self.hindered.insert(id, Instant::now() + RETRY_AFTER)),
            None => drop(self.hindered.remove(&id)),
        }
        if signal.hinder(id, trouble.clone()) {
            if let Some(error) = trouble {
                tracing::warn!(operation = %id, error, "an operation cannot go on, and is tried again");
            }
            signal.tell(id);
        }
        wait
    }

    async fn step(&mut self, operation: Operation) -> Result<Wait, StoreError> {
        let (id, store) = (operation.id, self.parts.store.clone());
        if operation.open > 0 {
            store.collect(id).await?;
        }
        // Read again: results may have been counted, and an operator may have stopped it.
        let Some(operation) = store.operation(id).await? else { return Ok(Wait::Nothing) };
        if let Some(reason) = heeds(&operation) {
            self.finish(id, Some(reason)).await?;
            return Ok(Wait::Nothing);
        }
        if operation.is_through() {
            self.finish(id, None).await?;
            return Ok(Wait::Nothing);
        }
        if operation.searches() {
            store.find_more(id).await?;
            self.parts.signal.tell(id);
            return Ok(Wait::Nothing);
        }
        let (most, pause) = self.may_act(&operation);
        if most == 0 {
            return Ok(Wait::Pause(pause));
        }
        match &operation.action {
            OperationDeed::Change(_) => store.act(id, most as usize).await?,
            OperationDeed::Replay(to) => self.replay(id, to, most as usize).await?,
        }
        self.parts.signal.tell(id);
        Ok(Wait::Nothing)
    }

    /// Replays the next events of an operation, to these plugins or to what is routed now.
    async fn replay(
        &self,
        id: OperationId,
        to: &[PluginName],
        most: usize,
    ) -> Result<(), StoreError> {
        let next = self.parts.store.item_ids(id, ItemResult::Found, None, most).await?;
        let mut events = Vec::with_capacity(next.len());
        for item in next {
            events.push((item.event, self.targets(item.event, to).await?));
        }
        self.parts.store.replay_items(id, events).await
    }

    /// The plugins that get an event; none if it is gone or damaged. A read that fails is an error,
    /// so that the step is tried again.
    async fn targets(
        &self,
        event: EventId,
        to: &[PluginName],
    ) -> Result<Vec<Arc<Target>>, StoreError> {
        let config = self.parts.config.load_full();
        if !to.is_empty() {
            return Ok(to.iter().map(|plugin| config.target(plugin.clone())).collect());
        }
        let found = match self.parts.reads.facts(event).await? {
            Some(FoundFacts::Whole(found)) => found,
            None => return Ok(Vec::new()),
            Some(FoundFacts::Unreadable { column }) => {
                tracing::warn!(event.id = %event, column, "a damaged event is not replayed");
                return Ok(Vec::new());
            }
        };
        let facts = Facts::new(&found.attributes, &found.headers, found.hops);
        let deliveries = config.routes.routing(&facts).deliveries;
        Ok(deliveries.into_iter().map(|delivery| delivery.target).collect())
    }

    async fn finish(&self, id: OperationId, reason: Option<String>) -> Result<(), StoreError> {
        self.parts.store.finish(id, reason).await?;
        self.parts.signal.tell(id);
        Ok(())
    }

    /// How many deliveries may be acted on now; for none, how long to wait.
    fn may_act(&mut self, operation: &Operation) -> (u64, Duration) {
        let now = Instant::now();
        let known = self.known.entry(operation.id).or_insert_with(|| OperationPace {
            pause: FIRST_PAUSE,
            done: operation.done(),
            allowed: 1.0,
            at: now,
        });
        if known.done == operation.done() {
            known.pause = (known.pause * 2).min(LONGEST_PAUSE);
        } else {
            (known.pause, known.done) = (FIRST_PAUSE, operation.done());
            self.parts.signal.tell(operation.id);
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
    // An event that is replayed may not have failed before.
    let again = if operation.action.is_replay() { "" } else { " again" };
    if operation.tries_first() && failed > 0 {
        return Some(format!("the first one failed{again}: nothing else was touched"));
    }
    let most = operation.options.stop_after.map(u64::from)?;
    (failed >= most).then(|| format!("{failed} failed{again}, and it was to stop after {most}"))
}

/// The most deliveries that an operation may act on at once: one while the first one is tried, and
/// no more at a time than failures after which it stops.
fn at_once(operation: &Operation) -> u64 {
    let open = match (operation.tries_first(), operation.options.stop_after) {
        (true, _) => 1,
        (false, Some(most)) => u64::from(most).clamp(1, MAX_OPEN),
        (false, None) => MAX_OPEN,
    };
    let step = if operation.action.is_replay() { MAX_REPLAYED } else { MAX_STEP };
    open.saturating_sub(operation.open).min(step).min(operation.left())
}

#[cfg(test)]
mod tests;
