//! Ticks of schedules: finds what is due by the wall clock (of a store that hosts share, by the
//! store's), and has the store make each step.
//!
//! Every host does this by itself. The store lets one of them make a step, and a host that was
//! slower reads the schedules again. A host that stops in the middle has left nothing half done:
//! the next turn of any host goes on from the row of the schedule.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, rfc3339};
use crate::config::schedules::{NO_TICK_MS, PlannedTick};
use crate::config::{Config, Schedule};
use crate::event::AppendSpan;
use crate::series::{PairKind, Series};
use crate::store::{
    Pausable, Pauses, ScheduleChange, ScheduleMark, Schedules, StoreError, StoredSchedule, Tick,
    TickStep, Ticked,
};
use crate::trace::Tracer;

/// The pause after a step that the store has refused.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the clock is looked at while no tick is due: it may have been set back.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often the schedules are read again if another host changes them at the same time.
const MAX_READS: usize = 8;

/// The state with which the next turn goes on.
#[derive(Debug)]
pub(super) struct Ticker {
    store: Arc<dyn Schedules>,
    clock: Clock,
    /// Where events are counted by schedule and type.
    series: Arc<Series>,
    /// Begins the spans that emit events.
    tracer: Tracer,
    /// The pauses of operators that are in force.
    pauses: watch::Receiver<Arc<Pauses>>,
    /// The configuration that `rows` was read for; `None` if it is to be read.
    read_for: Option<Arc<Config>>,
    /// The latest time of the wall clock since then.
    latest_ms: i64,
    /// The schedules that tick.
    rows: BTreeMap<Arc<str>, StoredSchedule>,
    /// Steps that are due.
    due: BTreeMap<Arc<str>, VecDeque<PlannedTick>>,
}

/// Ticks until `closing`; `reloaded` tells of another configuration.
pub(super) async fn run(
    mut ticker: Ticker,
    config: Arc<ArcSwap<Config>>,
    reloaded: Arc<Notify>,
    closing: CancellationToken,
) {
    let (clock, mut pauses) = (ticker.clock.clone(), ticker.pauses.clone());
    let store = Arc::clone(&ticker.store);
    loop {
        let next = ticker.turn(&config.load_full()).await;
        let next_ms = match &next {
            Ok(next_ms) => *next_ms,
            Err(error) => {
                tracing::warn!(error = %error, "a schedule cannot tick");
                NO_TICK_MS
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = reloaded.notified() => {}
            Ok(()) = pauses.changed() => {}
            () = clock.sleep_until_wall(next_ms.saturating_sub(store.ahead_of_wall_ms())) => {}
            () = tokio::time::sleep(RETRY_AFTER), if next.is_err() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

impl Ticker {
    pub(super) fn new(
        store: Arc<dyn Schedules>,
        clock: Clock,
        pauses: watch::Receiver<Arc<Pauses>>,
    ) -> Self {
        Self {
            store,
            clock,
            series: Arc::default(),
            tracer: Tracer::default(),
            pauses,
            read_for: None,
            latest_ms: i64::MIN,
            rows: BTreeMap::new(),
            due: BTreeMap::new(),
        }
    }

    /// The same, with its events traced.
    pub(super) fn traced_by(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// The same, with its events counted here.
    pub(super) fn counting_in(self, series: Arc<Series>) -> Self {
        Self { series, ..self }
    }

    /// Makes one step of each schedule that is due, all of them at once; returns the time of the
    /// wall clock at which there is more to do.
    pub(super) async fn turn(&mut self, config: &Arc<Config>) -> Result<i64, StoreError> {
        let now_ms = self.clock.now_ms().saturating_add(self.store.ahead_of_wall_ms());
        let is_same = self.read_for.as_ref().is_some_and(|read| Arc::ptr_eq(read, config));
        // Ticks that were found by a clock that has been set back since may be far too late.
        if !is_same || now_ms < self.latest_ms {
            self.read_for = None;
            self.read(config, now_ms).await?;
            self.read_for = Some(Arc::clone(config));
        }
        self.latest_ms = now_ms;
        let steps = self.next_steps(config, now_ms);
        let mut asked = Vec::with_capacity(steps.len());
        for (schedule, step) in steps {
            // Asked before any is waited for, so that they share a commit.
            let mut tick = tick(config, schedule, step);
            let span = self.span(&mut tick);
            asked.push((schedule, step, span, self.store.tick(tick)));
        }
        let mut failed = None;
        for (schedule, step, span, answer) in asked {
            match answer.await {
                // Another host was faster, so the rows here are old.
                Ok(Ticked::Lost) => self.read_for = None,
                Ok(ticked) => {
                    if let Some(span) = span {
                        span.end();
                    }
                    if matches!(ticked, Ticked::Emitted(_)) {
                        let (pairs, from) = (self.series.pairs(), schedule.source());
                        pairs.of(PairKind::Received, &from, &schedule.emit).count(false);
                    }
                    note(&mut self.rows, schedule, step, ticked);
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.read_for = None;
            return Err(error);
        }
        if self.read_for.is_none() || self.due.values().any(|due| !due.is_empty()) {
            return Ok(now_ms);
        }
        let pauses = self.pauses.borrow();
        let next = self
            .rows
            .values()
            .filter(|row| pauses.of(Pausable::Schedule, &row.name).is_none())
            .filter_map(|row| Some(config.schedules.get(&*row.name)?.due_ms(row.mark.next_ms)));
        Ok(next.min().unwrap_or(NO_TICK_MS))
    }

    /// The span that emits the tick, if there is one.
    fn span(&self, tick: &mut Tick) -> Option<AppendSpan> {
        let TickStep::Emit { event, .. } = &mut tick.step else { return None };
        Some(AppendSpan::begin(self.tracer.root(None)?, event, None))
    }

    /// The next step of each schedule that has one.
    fn next_steps<'c>(
        &mut self,
        config: &'c Config,
        now_ms: i64,
    ) -> Vec<(&'c Arc<Schedule>, PlannedTick)> {
        let mut steps = Vec::new();
        let pauses = Arc::clone(&self.pauses.borrow());
        for row in self.rows.values() {
            let Some(schedule) = config.schedules.get(&*row.name) else { continue };
            if pauses.of(Pausable::Schedule, &row.name).is_some() {
                // Ticks during the pause are missed.
                self.due.remove(&row.name);
                continue;
            }
            let due = self.due.entry(Arc::clone(&row.name)).or_default();
            if due.is_empty() {
                due.extend(schedule.plan(row.mark.next_ms, now_ms));
            }
            steps.extend(due.pop_front().map(|step| (schedule, step)));
        }
        steps
    }

    /// Reads the schedules, and begins, pauses and forgets them as the configuration says.
    async fn read(&mut self, config: &Config, now_ms: i64) -> Result<(), StoreError> {
        // They were found for another configuration, or by a clock that was set back since.
        self.due.clear();
        for _ in 0..MAX_READS {
            let stored = self.store.schedules().await?;
            let mut rows: BTreeMap<_, _> =
                stored.into_iter().map(|row| (Arc::clone(&row.name), row)).collect();
            let is_gone = |name: &&Arc<str>| !config.schedules.contains_key(&***name);
            let gone: Vec<_> = rows.keys().filter(is_gone).cloned().collect();
            for name in gone {
                rows.remove(&name);
                self.store.change_schedule(ScheduleChange::Forget(name)).await?;
            }
            let mut is_settled = true;
            for schedule in config.schedules.values() {
                is_settled &= self.settle(schedule, &mut rows, now_ms).await?;
            }
            if is_settled {
                rows.retain(|_, row| row.mark.active);
                self.rows = rows;
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("other hosts change the same schedules".to_owned()))
    }

    /// Brings the row of a schedule in line with the configuration; false if another host has
    /// changed it meanwhile.
    async fn settle(
        &self,
        schedule: &Schedule,
        rows: &mut BTreeMap<Arc<str>, StoredSchedule>,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let name = &schedule.name;
        let row = rows.get_mut(name);
        if !schedule.enabled {
            if let Some(row) = row.filter(|row| row.mark.active) {
                row.mark.active = false;
                self.store.change_schedule(ScheduleChange::Pause(Arc::clone(name))).await?;
            }
            return Ok(true);
        }
        let spec = schedule.spec_hash();
        let (from, last_ms) = row.map_or((None, None), |row| (Some(row.mark), row.last_ms));
        let goes_on = from.is_some_and(|mark| {
            let goes_on = || schedule.goes_on_with(mark.next_ms, now_ms, last_ms);
            mark.active && mark.spec == spec && goes_on()
        });
        if goes_on {
            return Ok(true);
        }
        let next_ms = schedule.first_tick(now_ms, last_ms);
        let to = ScheduleMark { spec, next_ms, active: true };
        let change = ScheduleChange::Begin { name: Arc::clone(name), from, to };
        let changed = self.store.change_schedule(change).await?;
        if changed {
            tracing::info!(schedule.name = %name, next = %rfc3339(next_ms), "a schedule begins");
        }
        let last_ms = last_ms.filter(|last_ms| *last_ms < next_ms);
        let fresh = StoredSchedule {
            name: Arc::clone(name),
            mark: to,
            last_ms,
            skipped: None,
            emitted: None,
        };
        rows.insert(Arc::clone(name), fresh);
        Ok(changed)
    }
}

/// A step as the store makes it.
fn tick(config: &Config, schedule: &Schedule, step: PlannedTick) -> Tick {
    let what = match step.missed {
        Some(missed) => TickStep::Missed { last_ms: missed.last_ms, ticks: missed.ticks },
        None => {
            let mut event = Box::new(schedule.event(step.from_ms));
            config.routes.route(&mut event);
            TickStep::Emit { event, skips_overlap: schedule.skips_overlap }
        }
    };
    Tick {
        name: Arc::clone(&schedule.name),
        spec: schedule.spec_hash(),
        from_ms: step.from_ms,
        next_ms: step.next_ms,
        step: what,
    }
}

/// Takes note of a step that was made.
fn note(
    rows: &mut BTreeMap<Arc<str>, StoredSchedule>,
    schedule: &Schedule,
    step: PlannedTick,
    ticked: Ticked,
) {
    let last_ms = step.missed.map_or(step.from_ms, |missed| missed.last_ms);
    let ticks = step.missed.map_or(1, |missed| missed.ticks);
    if let Some(row) = rows.get_mut(&schedule.name) {
        (row.mark.next_ms, row.last_ms) = (step.next_ms, Some(last_ms));
    }
    let (name, time) = (&*schedule.name, rfc3339(step.from_ms));
    let result = match ticked {
        Ticked::Skipped(reason) => {
            let reason = reason.name();
            tracing::info!(schedule.name = name, ticks, first = time, reason, "ticks were skipped");
            reason
        }
        Ticked::Emitted(id) => {
            tracing::debug!(schedule.name = name, event.id = %id, time, "a schedule ticks");
            "emitted"
        }
        Ticked::Lost => return,
    };
    let labels = [("schedule", name.to_owned()), ("result", result.to_owned())];
    metrics::counter!("hookbox_schedule_ticks_total", &labels).increment(ticks);
}

#[cfg(test)]
mod tests;
