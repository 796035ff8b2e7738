//! When the deliveries of plugins are due: two steps in an index for each queue.

use std::collections::BTreeMap;

use tokio_postgres::Error;

use super::client::SqlClient as Client;
use crate::event::PluginName;
use crate::store::DueTimes;

/// The first times of each plugin: of what is due, and of what will be. A time beyond all others
/// means that it never is.
const DUE: &str = "SELECT p.name,
    least(
        (SELECT o.due FROM hookbox.open o WHERE o.plugin = p.name AND o.holder IS NULL
            AND o.crashes = 0 AND o.due <= t.now ORDER BY o.due LIMIT 1),
        (SELECT o.due FROM hookbox.open o WHERE o.plugin = p.name AND o.holder IS NULL
            AND o.crashes > 0 AND o.due <= t.now ORDER BY o.due LIMIT 1)),
    least(
        (SELECT o.due FROM hookbox.open o WHERE o.plugin = p.name AND o.holder IS NULL
            AND o.crashes = 0 AND o.due > t.now AND o.due < 9223372036854775805
            ORDER BY o.due LIMIT 1),
        (SELECT o.due FROM hookbox.open o WHERE o.plugin = p.name AND o.holder IS NULL
            AND o.crashes > 0 AND o.due > t.now AND o.due < 9223372036854775805
            ORDER BY o.due LIMIT 1))
    FROM unnest($1::text[]) AS p (name),
        (SELECT hookbox.now_ms_v1($2) AS now OFFSET 0) t";

/// When the deliveries of these plugins that nobody holds are due.
pub(super) async fn times(
    client: &Client,
    plugins: &[PluginName],
    at: Option<i64>,
) -> Result<BTreeMap<PluginName, DueTimes>, Error> {
    let names: Vec<&str> = plugins.iter().map(|name| &**name).collect();
    let mut found = BTreeMap::new();
    for row in client.query(DUE, &[&names, &at]).await? {
        let times = DueTimes { oldest_ready_ms: row.get(1), next_due_ms: row.get(2) };
        if times != DueTimes::default() {
            found.insert(PluginName::from(row.get::<_, String>(0)), times);
        }
    }
    Ok(found)
}
