//! Trials: an attempt that leaves nothing. Keys are read as they are stored and written nowhere,
//! requests are refused, and what it would emit is shown.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::bucket_reader::BucketReader;
use super::outcome::{self, AttemptFacts};
use super::shared::Shared;
use crate::config::{Grants, PluginSettings};
use crate::event::{AttemptRecord, Digest, Event, NewEvent, PluginName};
use crate::sandbox::{Call, StepAnswer, StepRecorded, StepStore, StepsAnswer};
use crate::store::{AgainSoFar, Next, Settlement};
use crate::tasks;

/// The longest time of a trial, in milliseconds: who asks for it waits.
pub const MAX_TRIAL_MS: u64 = 8_000;

/// The longest time that a trial waits for an instance: other trials wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Runs trials, one at a time. The default runs none.
#[derive(Debug, Clone, Default)]
pub struct Trials(Weak<Shared>);

/// The end of a trial.
#[derive(Debug)]
pub struct Trial {
    /// The record that would have been stored of the attempt.
    pub record: AttemptRecord,
    /// The events that it would have emitted, with their ways.
    pub emitted: Vec<NewEvent>,
    /// The keys that it would have written, with their values; `None` deletes.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
    /// The numbers that it would have added to values.
    pub adds: Vec<(String, i64)>,
    /// When it asks to be called again.
    pub again: Option<Duration>,
    /// The most linear memory that it held, in bytes.
    pub memory_peak_bytes: usize,
}

/// Why an event was not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTried {
    /// Another trial runs.
    Busy,
    /// Nothing of the plugin runs.
    NotLoaded,
    /// It is another file that runs.
    OtherFile(Digest),
    /// There is no instance.
    NoCapacity,
    /// The host stops.
    Stopping,
    /// The host has a fault, for people.
    Fault(String),
}

impl Trials {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }

    /// Tries an event on a plugin; on the file of this digest, if one is named.
    ///
    /// # Errors
    /// It was not tried.
    pub async fn run(
        &self,
        plugin: &PluginName,
        event: Arc<Event>,
        digest: Option<Digest>,
    ) -> Result<Trial, NotTried> {
        let shared = self.0.upgrade().ok_or(NotTried::Stopping)?;
        let turn = shared.trials.clone().try_acquire_owned().map_err(|_| NotTried::Busy)?;
        let (runtime, plugin) = (shared.deps.runtime.clone(), plugin.clone());
        // Where attempts run, apart from those who ask; the turn ends with it.
        let trial = async move {
            let _turn = turn;
            tasks::unwound(attempt(&shared, &plugin, event, digest)).await
        };
        match tasks::spawn_on(&runtime, trial).await {
            Ok(Ok(tried)) => tried,
            Ok(Err(panic)) => Err(NotTried::Fault(panic)),
            Err(_) => Err(NotTried::Stopping),
        }
    }
}

async fn attempt(
    shared: &Shared,
    plugin: &PluginName,
    event: Arc<Event>,
    digest: Option<Digest>,
) -> Result<Trial, NotTried> {
    let instance = shared.running.acquire(plugin, 1);
    let _instance = tokio::select! {
        instance = tokio::time::timeout(LONGEST_WAIT, instance) => {
            instance.map_err(|_| NotTried::NoCapacity)?
        }
        () = shared.stopping.cancelled() => return Err(NotTried::Stopping),
    };
    let loaded = shared.deps.registry.load().loaded(plugin).cloned().ok_or(NotTried::NotLoaded)?;
    if digest.is_some_and(|digest| digest != loaded.digest) {
        return Err(NotTried::OtherFile(loaded.digest));
    }
    let config = shared.deps.config.load_full();
    let settings = config.plugin(plugin);
    let call = call(shared, plugin, &event, &settings);
    let started_at_ms = shared.deps.clock.now_ms();
    let invocation = loaded.plugin.invoke(call).await;
    let memory_peak_bytes = invocation.memory_peak_bytes;
    let bucket = settings.kv.bucket_of(plugin);
    let facts = AttemptFacts {
        event: &event,
        plugin,
        attempt: 1,
        digest: loaded.digest,
        started_at_ms,
        now_ms: shared.deps.clock.now_ms(),
        kv_bytes: shared.deps.reads.kv_bytes(&bucket).await.unwrap_or(0),
        again: AgainSoFar::default(),
        // It only spreads retries, and there is none.
        random: || 0.0,
    };
    let Settlement { mut next, record } =
        outcome::settlement(&facts, invocation, &settings, &config.routes);
    let record = record.ok_or(NotTried::NoCapacity)?;
    let again = if let Next::Again { after, .. } = &next { Some(*after) } else { None };
    let (emitted, kv) = match &mut next {
        Next::Done { emitted, kv } | Next::Again { emitted, kv, .. } => {
            (std::mem::take(emitted), std::mem::take(kv))
        }
        _ => Default::default(),
    };
    let (writes, adds) = (kv.writes, kv.adds);
    Ok(Trial { record, emitted, writes, adds, again, memory_peak_bytes })
}

/// The call of an attempt that reaches nothing.
fn call(
    shared: &Shared,
    plugin: &PluginName,
    event: &Arc<Event>,
    settings: &PluginSettings,
) -> Call {
    let reads = shared.deps.reads.clone();
    let kv = BucketReader { reads, bucket: settings.kv.bucket_of(plugin) };
    let mut limits = settings.limits;
    limits.timeout_ms = limits.timeout_ms.min(MAX_TRIAL_MS);
    Call {
        plugin: plugin.clone(),
        event: event.clone(),
        attempt: 1,
        max_attempts: settings.retry.max_attempts,
        // No delivery has this key, so that nobody takes the trial for one.
        idempotency_key: format!("{}_try", event.id),
        limits,
        // Without a rule, every request is refused.
        grants: Arc::new(Grants::default()),
        config: settings.config.clone(),
        kv: Arc::new(kv),
        steps: Arc::new(NoSteps),
        path: settings.path.clone(),
        reuse: false,
        trace: None,
        is_apart: true,
    }
}

/// The steps of a trial, which begins anew and records nothing.
#[derive(Debug)]
struct NoSteps;

impl StepStore for NoSteps {
    fn all(&self) -> StepsAnswer<'_> {
        Box::pin(std::future::ready(Ok(BTreeMap::new())))
    }

    fn record<'a>(&'a self, _: &'a str, _: Vec<u8>) -> StepAnswer<'a> {
        Box::pin(std::future::ready(Ok(StepRecorded::Kept)))
    }
}
