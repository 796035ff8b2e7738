//! When the deliveries of plugins are due: two steps in an index for each.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::batch::BEHIND_MS;
use crate::event::PluginName;
use crate::store::DueTimes;

/// When the deliveries of these plugins that nobody holds are due, in host time, as of `now_ms`.
pub(super) fn times(
    connection: &Connection,
    plugins: &[PluginName],
    now_ms: i64,
) -> Result<BTreeMap<PluginName, DueTimes>, rusqlite::Error> {
    let mut first = connection.prepare_cached(
        "SELECT min(due_ms) FROM deliveries WHERE crashes = ?1 AND plugin = ?2 AND due_ms > ?3 AND due_ms <= ?4",
    )?;
    let mut found = BTreeMap::new();
    for plugin in plugins {
        let mut of_plugin = DueTimes::default();
        // In the order of the queues: regular, and quarantine.
        for crashes in [0, 1] {
            let mut between = |after_ms: i64, up_to_ms: i64| {
                first.query_row(params![crashes, plugin, after_ms, up_to_ms], |row| {
                    row.get::<_, Option<i64>>(0)
                })
            };
            let (ready, next) = (between(i64::MIN, now_ms)?, between(now_ms, BEHIND_MS - 1)?);
            let DueTimes { oldest_ready_ms, next_due_ms } = &mut of_plugin;
            *oldest_ready_ms = oldest_ready_ms.iter().copied().chain(ready).min();
            *next_due_ms = next_due_ms.iter().copied().chain(next).min();
        }
        if of_plugin != DueTimes::default() {
            found.insert(plugin.clone(), of_plugin);
        }
    }
    Ok(found)
}
