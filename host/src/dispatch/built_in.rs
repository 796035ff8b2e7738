//! The host's own plugins: handlers that are not WebAssembly, with queues, leases, settlements and
//! retries like any other.

use std::time::{Duration, Instant};

use super::dead_letter::DeadLetter;
use super::gathered;
use super::outcome::MAX_HOPS;
use super::shared::Shared;
use crate::config::Config;
use crate::event::{AttemptRecord, DEAD, DEAD_LETTERS, NewEvent, Outcome, PluginName};
use crate::names::is_built_in;
use crate::store::{KvTransaction, Lease, Next, Settlement, StoreError};

/// How long an attempt that the store did not answer waits for the next one.
const PAUSE: Duration = Duration::from_secs(1);

/// Attempts of one of them that run at once.
pub(super) const CONCURRENCY: usize = 4;

/// A plugin of the host itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BuiltIn {
    /// Emits the events that tell of dead letters which the store has made.
    DeadLetters,
    /// Ends a gathering: a join or a batch.
    Gathering,
}

impl BuiltIn {
    /// The names of all of them in a configuration.
    pub(super) fn all(config: &Config) -> impl Iterator<Item = PluginName> {
        let gatherings = config.routes.gatherings.iter();
        let gatherings = gatherings.map(|gathering| gathering.terms.plugin.clone());
        [PluginName::from(DEAD_LETTERS)].into_iter().chain(gatherings)
    }

    /// The plugin of a name.
    pub(super) fn of(plugin: &str) -> Option<Self> {
        match plugin {
            DEAD_LETTERS => Some(Self::DeadLetters),
            _ if is_built_in(plugin) => Some(Self::Gathering),
            _ => None,
        }
    }

    /// The memory that an attempt takes at most, in KiB: what it reads, and what it makes of it.
    pub(super) fn memory_kib(self) -> u32 {
        match self {
            Self::DeadLetters => 256,
            Self::Gathering => 16 * 1024,
        }
    }

    /// Runs an attempt.
    pub(super) async fn run(self, shared: &Shared, lease: &Lease) -> Settlement {
        let (started_at_ms, started) = (shared.deps.clock.now_ms(), Instant::now());
        let ended = match self {
            Self::DeadLetters => dead_letter(shared, lease).await,
            Self::Gathering => gathering(shared, lease).await,
        };
        let emitted = match ended {
            Ok(emitted) => emitted,
            Err(error) => {
                tracing::debug!(delivery.id = %lease.delivery, error = %error, "not ended yet");
                return Settlement { next: Next::GiveBack(PAUSE), record: None };
            }
        };
        let error =
            emitted.iter().any(|event| event.hops > MAX_HOPS && event.attributes.kind != DEAD);
        let error = error.then(|| {
            format!("it is to emit an event after {MAX_HOPS} hops: do the routes lead back to where they started?")
        });
        let outcome = if error.is_some() { Outcome::Error } else { Outcome::Ok };
        let record = AttemptRecord {
            duration_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..AttemptRecord::of_host(started_at_ms, outcome, error)
        };
        let next = match record.outcome {
            Outcome::Ok => Next::Done { emitted, kv: KvTransaction::default() },
            _ => Next::Dead(None),
        };
        Settlement { next, record: Some(record) }
    }
}

/// The event that tells of the dead letter which `lease` is about.
async fn dead_letter(shared: &Shared, lease: &Lease) -> Result<Vec<NewEvent>, StoreError> {
    let reads = &shared.deps.reads;
    let Some((id, death)) = reads.dead_notice(lease.delivery).await? else { return Ok(Vec::new()) };
    let dead = reads.delivery(id).await?;
    let last = dead.attempts.last().map(|attempt| &attempt.record);
    let letter = DeadLetter {
        id,
        plugin: &dead.plugin,
        death,
        outcome: last.map_or(Outcome::Error, |record| record.outcome),
        error: last.and_then(|record| record.error.as_deref()),
        attempts: dead.attempt,
        event: &lease.event,
    };
    let config = shared.deps.config.load();
    Ok(letter.event(&config.routes, shared.deps.clock.now_ms()).into_iter().collect())
}

/// The event of a gathering that has ended.
async fn gathering(shared: &Shared, lease: &Lease) -> Result<Vec<NewEvent>, StoreError> {
    let Some(gathered) = shared.deps.reads.gathering(lease.delivery).await? else {
        return Ok(Vec::new());
    };
    let config = shared.deps.config.load();
    let Some(section) = config.routes.gatherings.get(&lease.plugin) else {
        // The delivery waits until the section is there again.
        let missing = format!("the section of `{}` is gone", lease.plugin);
        return Err(StoreError::Unavailable(missing));
    };
    let now_ms = shared.deps.clock.now_ms();
    let event = gathered::event(section, &gathered, &lease.event, &config.routes, now_ms);
    Ok(vec![event])
}
