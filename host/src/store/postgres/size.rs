//! The size of the database, which is not asked for each time that somebody wants to know it.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::error::failed_query;
use super::work::WorkConnection;
use crate::store::{StoreError, StoreSpace};

/// How long an answer counts: the server looks at each file of the database for it.
const COUNTS_FOR: Duration = Duration::from_secs(10);

/// The size of the database, as it was known last.
#[derive(Debug)]
pub(super) struct DatabaseSize {
    counts_for: Duration,
    known: Mutex<Option<(Instant, u64)>>,
}

impl Default for DatabaseSize {
    fn default() -> Self {
        Self::new(COUNTS_FOR)
    }
}

impl DatabaseSize {
    /// Nothing is known yet. An answer counts for so long.
    pub(super) fn new(counts_for: Duration) -> Self {
        Self { counts_for, known: Mutex::new(None) }
    }

    /// Asks the server, unless it has answered lately.
    pub(super) async fn ask(&self, client: &WorkConnection) -> Result<StoreSpace, StoreError> {
        let mut known = self.known.lock().await;
        let lately = known.filter(|(at, _)| at.elapsed() < self.counts_for);
        let store_bytes = match lately {
            Some((_, bytes)) => bytes,
            None => {
                let work = client.read().await?;
                let sql = "SELECT pg_database_size(current_database())";
                let row = work.query_one(sql, &[]).await.map_err(|error| failed_query(&error))?;
                work.commit().await?;
                let bytes = row.get::<_, i64>(0).unsigned_abs();
                *known = Some((Instant::now(), bytes));
                metrics::gauge!("hookbox_store_size_bytes", "file" => "db").set(bytes as f64);
                bytes
            }
        };
        Ok(StoreSpace { store_bytes, disk: None })
    }
}
