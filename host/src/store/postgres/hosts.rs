//! The hosts that share the store.

use std::collections::BTreeMap;

use tokio_postgres::Row;

use super::Postgres;
use super::error::failed_query;
use super::secrets;
use super::work::{WorkError, tried};
use crate::event::{Digest, PluginName};
use crate::store::{HostView, Hosts, Pending, SealedSecret, SecretMark, StoreError};

/// The hosts, and what each holds.
const HOSTS: &str = "SELECT slot, name, version, since, seen, plugins, incarnation,
         (SELECT count(*) FROM hookbox.open o WHERE o.holder = h.incarnation)
     FROM hookbox.hosts h ORDER BY slot";

impl Hosts for Postgres {
    fn hosts(&self) -> Pending<'_, Vec<HostView>> {
        Box::pin(async move {
            self.shared.answers()?;
            let rows = self.reads.client().await?.query(HOSTS, &[]).await;
            let rows = rows.map_err(|error| failed_query(&error))?;
            rows.iter().map(|row| host(row, self.shared.run().incarnation)).collect()
        })
    }

    fn promise(&self) -> Option<String> {
        self.shared.known.promise().map(|promise| promise.to_string())
    }

    fn note_plugins(&self, plugins: BTreeMap<PluginName, Digest>) -> Pending<'_, ()> {
        let texts: BTreeMap<&str, String> =
            plugins.iter().map(|(name, digest)| (&**name, digest.to_string())).collect();
        let text = serde_json::to_string(&texts).expect("texts are always JSON");
        Box::pin(async move {
            self.shared.answers()?;
            self.shared.noted_plugins().clone_from(&text);
            let once = async || {
                let work = self.work.begin().await?;
                let me = self.shared.run().incarnation;
                let sql = "UPDATE hookbox.hosts SET plugins = $2 WHERE incarnation = $1";
                work.execute(sql, &[&me, &text]).await?;
                work.commit().await?;
                Ok::<_, WorkError>(())
            };
            tried!(once())
        })
    }

    fn sealed_secrets(&self, seen: Vec<SecretMark>) -> Pending<'_, Vec<SealedSecret>> {
        Box::pin(async move {
            self.shared.answers()?;
            let client = self.reads.client().await?;
            let listed = secrets::list(&client, &seen).await;
            listed.map_err(|error| failed_query(&error))
        })
    }

    fn keep_secret(&self, secret: SealedSecret, before: i64) -> Pending<'_, bool> {
        Box::pin(async move {
            self.shared.answers()?;
            let once = async || {
                let work = self.work.begin().await?;
                let kept = secrets::keep(&work, &secret, before).await?;
                work.commit().await?;
                Ok::<_, WorkError>(kept)
            };
            tried!(once())
        })
    }
}

fn host(row: &Row, me: i64) -> Result<HostView, StoreError> {
    let slot: i16 = row.get(0);
    let texts: BTreeMap<String, String> = serde_json::from_str(row.get(5))
        .map_err(|error| StoreError::Query(format!("the plugins of host {slot}: {error}")))?;
    let parsed = texts.into_iter().map(|(name, digest)| Some((name.into(), digest.parse().ok()?)));
    Ok(HostView {
        slot: u8::try_from(slot).unwrap_or(u8::MAX),
        name: row.get(1),
        version: row.get(2),
        since_ms: row.get(3),
        seen_ms: row.get(4),
        leases: row.get::<_, i64>(7).unsigned_abs(),
        plugins: parsed.flatten().collect(),
        is_this: row.get::<_, i64>(6) == me,
    })
}
