//! Samples of sources and plugins over time, and how far the logs of providers have been read.

use std::sync::Arc;

use super::error::failed_query;
use super::{Postgres, samples};
use crate::series::{Increment, SeriesOwner};
use crate::store::{History, LogPositions, Pending, StoredSample};

impl History for Postgres {
    fn keep_samples(&self, at_ms: i64, samples: Vec<Increment>) -> Pending<'_, ()> {
        Box::pin(async move {
            self.shared.answers()?;
            let work = self.work.begin().await?;
            let kept = samples::keep(&work, &self.shared, at_ms, &samples).await;
            kept.map_err(|error| failed_query(&error))?;
            work.commit().await
        })
    }

    fn samples(&self, owner: SeriesOwner, limit: u32) -> Pending<'_, Vec<StoredSample>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            Ok(samples::read(&client, &owner, limit).await?)
        })
    }
}

impl LogPositions for Postgres {
    fn log_position(&self, source: Arc<str>) -> Pending<'_, Option<String>> {
        Box::pin(async move {
            self.shared.answers()?;
            let sql = "SELECT position FROM hookbox.log_positions WHERE source = $1";
            let found = self.reads.client().await?.query_opt(sql, &[&&*source]).await;
            Ok(found.map_err(|error| failed_query(&error))?.map(|row| row.get(0)))
        })
    }

    fn keep_log_position(&self, source: Arc<str>, position: String) -> Pending<'_, ()> {
        Box::pin(async move {
            self.shared.answers()?;
            let work = self.work.begin().await?;
            let sql = "INSERT INTO hookbox.log_positions VALUES ($1, $2)
                ON CONFLICT (source) DO UPDATE SET position = excluded.position";
            let kept = work.execute(sql, &[&&*source, &position]).await;
            kept.map_err(|error| failed_query(&error))?;
            work.commit().await
        })
    }
}
