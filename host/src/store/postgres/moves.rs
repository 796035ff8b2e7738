//! The moves of deliveries in a transaction of an operator: counted with it, and told after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::created::{CreatedDeliveries, tell};
use super::shared::PostgresShared;
use super::work::{Work, WorkError};
use crate::event::{PluginName, State};
use crate::store::changes::Hint;

/// The code of the number of events in the counts, whose plugin is the empty text.
const EVENTS: i16 = -1;

/// The moves of deliveries in a transaction.
#[derive(Default)]
pub(super) struct WorkMoves {
    counts: BTreeMap<(String, i16), i64>,
    plugins: BTreeSet<PluginName>,
    /// Whether events were made, emptied or deleted.
    pub(super) events: bool,
    /// Deliveries that the dispatcher is told of once the transaction is durable.
    pub(super) created: CreatedDeliveries,
}

impl WorkMoves {
    /// Of a transaction that made or emptied events, and counts nothing.
    pub(super) fn of_events(created: CreatedDeliveries) -> Self {
        Self { events: true, created, ..Self::default() }
    }

    /// Counts a delivery that goes from one state to another.
    pub(super) fn moved(&mut self, plugin: &PluginName, from: Option<State>, to: Option<State>) {
        self.touch(plugin);
        for (state, by) in [(from, -1), (to, 1)] {
            if let Some(state) = state {
                let key = (plugin.to_string(), i16::from(state.code()));
                *self.counts.entry(key).or_default() += by;
            }
        }
    }

    /// Counts events that are deleted.
    pub(super) fn deleted(&mut self, events: i64) {
        self.events |= events > 0;
        *self.counts.entry((String::new(), EVENTS)).or_default() -= events;
    }

    /// Notes that something of a plugin has changed.
    pub(super) fn touch(&mut self, plugin: &PluginName) {
        self.plugins.insert(plugin.clone());
    }

    /// Notes a delivery that is due after this time.
    pub(super) fn due(&mut self, plugin: &PluginName, due_in: Duration) {
        self.created.waiting.push((plugin.clone(), due_in));
    }

    /// Adds the counts to those of the database.
    pub(super) async fn count(&self, work: &Work<'_>) -> Result<(), WorkError> {
        let counts = self.counts.iter().filter(|(_, by)| **by != 0);
        let (mut plugins, mut states, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for ((plugin, state), by) in counts {
            plugins.push(plugin.as_str());
            states.push(*state);
            numbers.push(*by);
        }
        if plugins.is_empty() {
            return Ok(());
        }
        work.execute(
            "INSERT INTO hookbox.count_deltas (plugin, state, n)
             SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[])",
            &[&plugins, &states, &numbers],
        )
        .await?;
        Ok(())
    }

    /// Tells the dispatcher and the listeners, once the transaction is durable.
    pub(super) fn tell(self, shared: &PostgresShared) {
        let Self { plugins, events, created, .. } = self;
        created.waiting.iter().for_each(|(plugin, _)| shared.floors.forget_of(plugin));
        tell(shared, shared.run().incarnation, created);
        shared.changes.committed(|| Hint { events, plugins, ..Hint::default() });
    }
}
