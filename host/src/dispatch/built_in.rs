//! The host's own plugins: handlers that are not WebAssembly, with queues, leases, settlements and
//! retries like any other.

use std::time::{Duration, Instant};

use super::dead_letter::DeadLetter;
use super::shared::Shared;
use crate::event::{AttemptRecord, DEAD_LETTERS, NewEvent, Outcome, PluginName};
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
}

impl BuiltIn {
    /// All of them, by name.
    pub(super) fn all() -> impl Iterator<Item = PluginName> {
        [DEAD_LETTERS].into_iter().map(PluginName::from)
    }

    /// That of a name.
    pub(super) fn of(plugin: &str) -> Option<Self> {
        (plugin == DEAD_LETTERS).then_some(Self::DeadLetters)
    }

    /// Runs an attempt.
    pub(super) async fn run(self, shared: &Shared, lease: &Lease) -> Settlement {
        let (started_at_ms, started) = (shared.deps.clock.now_ms(), Instant::now());
        let emitted = match self {
            Self::DeadLetters => dead_letter(shared, lease).await,
        };
        match emitted {
            Ok(emitted) => Settlement {
                next: Next::Done { emitted, kv: KvTransaction::default() },
                record: Some(AttemptRecord {
                    started_at_ms,
                    duration_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
                    outcome: Outcome::Ok,
                    error: None,
                    logs: Vec::new(),
                    calls: Vec::new(),
                    steps: Vec::new(),
                    plugin_digest: None,
                }),
            },
            Err(error) => {
                tracing::debug!(delivery.id = %lease.delivery, error = %error, "not told yet");
                Settlement { next: Next::GiveBack(PAUSE), record: None }
            }
        }
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
