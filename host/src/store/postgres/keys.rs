//! The keys of a batch: what is known of plugins, the locks of stripes, and what settlements do to
//! the keys of their deliveries.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::created::CreatedDeliveries;
use super::lease::read_lease;
use super::settle::small;
use super::shared::PostgresShared;
use crate::event::{NewEvent, PluginName};
use crate::store::{DispatchHandle, Lease, LeasePermit, Next, PluginPolicies, Settlement};

/// Tells the functions of a transaction what is known of plugins.
pub(super) const POLICIES: &str = "SELECT set_config('hookbox.policies', $1, true)";

/// Calls `lock_keys_v1`.
pub(super) const LOCK_KEYS: &str = "SELECT hookbox.lock_keys_v1($1, $2, $3, $4)";

/// Calls `settled_keys_v1`. The columns are those of a lease, and two more.
pub(super) const SETTLED_KEYS: &str = "SELECT event AS id, source, type, subject, content_type, \
     time_ms, parent, root, hops, trace, body, ordinal, plugin, attempt, uncounted, deaths, due, \
     has_steps, again, 0::bigint AS again_for, key, cancel_tag, n, due_in \
     FROM hookbox.settled_keys_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// The plugins whose deliveries events of these subjects and tags cancel.
const CANCELLED_PLUGINS: &str = "SELECT DISTINCT o.plugin \
     FROM unnest($1::text[], $2::bigint[]) AS c (subject, tag) \
     JOIN hookbox.open o ON o.cancel_subject = c.subject AND o.cancel_tag = c.tag \
     WHERE o.entered IS NOT NULL";

/// The plugins whose deliveries a run holds.
const HELD_PLUGINS: &str = "SELECT DISTINCT plugin FROM hookbox.open WHERE holder = $1";

/// The plugins of a batch, of which the database is told what is known.
#[derive(Default)]
pub(super) struct NamedPlugins(BTreeSet<PluginName>);

impl NamedPlugins {
    pub(super) fn add(&mut self, plugin: &PluginName) {
        if !self.0.contains(plugin) {
            self.0.insert(plugin.clone());
        }
    }

    /// Their policies, as the setting `hookbox.policies` has them; nothing if none are known.
    pub(super) fn policies(&self, policies: &dyn PluginPolicies) -> Option<String> {
        let known: serde_json::Map<_, _> = self
            .0
            .iter()
            .filter_map(|plugin| Some((plugin.to_string(), policy(policies, plugin)?)))
            .collect();
        (!known.is_empty()).then(|| serde_json::Value::Object(known).to_string())
    }
}

/// The policy that is known of a plugin; nothing if it is what the database takes anyway.
fn policy(policies: &dyn PluginPolicies, plugin: &str) -> Option<serde_json::Value> {
    let tells = policies.tells_of_deaths(plugin);
    match policies.key(plugin) {
        Some(key) => Some(serde_json::json!({
            "per_key": i32::try_from(key.per_key.get()).unwrap_or(i32::MAX),
            "apart": milliseconds(key.interval),
            "holds": key.hold,
            "most_waiting": key.max_waiting,
            "tells": tells,
        })),
        None => tells.then(|| serde_json::json!({ "tells": true })),
    }
}

/// Tells a transaction what is known of the plugins whose deliveries a run holds.
pub(super) async fn know_plugins_of(
    transaction: &Client,
    run: i64,
    policies: &dyn PluginPolicies,
) -> Result<(), Error> {
    let mut plugins = NamedPlugins::default();
    for row in transaction.query(HELD_PLUGINS, &[&run]).await? {
        plugins.add(&row.get::<_, String>(0).into());
    }
    if let Some(known) = plugins.policies(policies) {
        transaction.query(POLICIES, &[&known]).await?;
    }
    Ok(())
}

/// The keys that a batch enters, leaves, or may leave by cancelling.
#[derive(Default)]
pub(super) struct LockedKeys {
    plugins: Vec<PluginName>,
    keys: Vec<Arc<str>>,
    subjects: Vec<String>,
    tags: Vec<i64>,
}

impl LockedKeys {
    pub(super) fn is_empty(&self) -> bool {
        self.plugins.is_empty() && self.subjects.is_empty()
    }

    pub(super) fn add(&mut self, plugin: &PluginName, key: &Arc<str>) {
        self.plugins.push(plugin.clone());
        self.keys.push(Arc::clone(key));
    }

    /// Adds what an event cancels.
    pub(super) fn add_cancels(&mut self, event: &NewEvent) {
        let Some(subject) = &event.attributes.subject else { return };
        for tag in &event.cancels {
            self.subjects.push(subject.clone());
            self.tags.push(*tag);
        }
    }

    /// Asks for the plugins that are cancelled in, of which the database has to be told. Batches
    /// that cancel nothing ask nothing.
    pub(super) async fn name_cancelled(
        &self,
        client: &Client,
        plugins: &mut NamedPlugins,
    ) -> Result<(), Error> {
        if !self.subjects.is_empty() {
            for row in client.query(CANCELLED_PLUGINS, &[&self.subjects, &self.tags]).await? {
                plugins.add(&row.get::<_, String>(0).into());
            }
        }
        Ok(())
    }

    /// Calls the function.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
    ) -> Result<Vec<Row>, Error> {
        let plugins: Vec<&str> = self.plugins.iter().map(|plugin| &**plugin).collect();
        let keys: Vec<&[u8]> = self.keys.iter().map(|key| key.as_bytes()).collect();
        client.query(statement, &[&plugins, &keys, &self.subjects, &self.tags]).await
    }
}

/// The settlements of deliveries with a key.
#[derive(Default)]
pub(super) struct SettledKeyRows<'c> {
    places: Vec<i32>,
    events: Vec<i64>,
    ordinals: Vec<i32>,
    plugins: Vec<&'c str>,
    keys: Vec<&'c [u8]>,
    aparts: Vec<i64>,
    takes: Vec<bool>,
    permits: Vec<Option<LeasePermit>>,
}

impl<'c> SettledKeyRows<'c> {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds the settlement at this place, if its delivery has a key. The next delivery of the key
    /// is leased if the dispatcher has a permit for it; its memory is asked for when its body is
    /// known.
    pub(super) fn add(
        &mut self,
        place: i32,
        lease: &'c Lease,
        apart: Duration,
        settlement: &Settlement,
        dispatch: Option<&Arc<dyn DispatchHandle>>,
    ) {
        let Some(key) = &lease.terms.key else { return };
        let ends = matches!(settlement.next, Next::Done { .. } | Next::Dead(_));
        let asked = if ends && apart.is_zero() { dispatch } else { None };
        let permit = asked.and_then(|it| it.permit(&lease.plugin, 0));
        self.places.push(place);
        self.events.push(lease.delivery.event.row());
        self.ordinals.push(small(lease.delivery.ordinal));
        self.plugins.push(&lease.plugin);
        self.keys.push(key.as_bytes());
        self.aparts.push(milliseconds(apart));
        self.takes.push(permit.is_some());
        self.permits.push(permit);
    }

    /// Calls the function, which opens what is next or only lets the keys wait as they have to.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
        opens: bool,
    ) -> Result<Vec<Row>, Error> {
        let (at, me) = (shared.at(), shared.run().incarnation);
        let parameters: [&(dyn ToSql + Sync); 10] = [
            &at,
            &me,
            &self.places,
            &self.events,
            &self.ordinals,
            &self.plugins,
            &self.keys,
            &self.aparts,
            &self.takes,
            &opens,
        ];
        client.query(statement, &parameters).await
    }

    /// Adds what was opened. Leases for whose bodies there is no memory are to be given back.
    pub(super) fn opened(
        mut self,
        rows: &[Row],
        dispatch: Option<&Arc<dyn DispatchHandle>>,
        created: &mut CreatedDeliveries,
    ) {
        for row in rows {
            let plugin: String = row.get("plugin");
            if row.get::<_, Option<i64>>(0).is_none() {
                let due_in: i64 = row.get("due_in");
                let due_in = Duration::from_millis(due_in.unsigned_abs());
                created.waiting.push((plugin.into(), due_in));
                continue;
            }
            let place = row.get::<_, i32>("n").unsigned_abs() as usize - 1;
            let permit = self.permits[place].take().expect("it was leased with a permit");
            let lease = read_lease(row, permit.budget);
            let memory =
                dispatch.and_then(|it| it.memory(&plugin, lease.event.attributes.body.len()));
            match memory {
                Some(memory) => {
                    let permit = LeasePermit { memory: Some(memory), ..lease.permit };
                    created.leases.push(Lease { permit, ..lease });
                }
                None => created.refused.push(lease),
            }
        }
    }
}

/// The time until another attempt of the key of a lease may begin.
pub(super) fn apart(
    policies: &dyn PluginPolicies,
    lease: &Lease,
    settlement: &Settlement,
) -> Duration {
    if lease.terms.key.is_none() {
        return Duration::ZERO;
    }
    let ran = settlement.record.as_ref().map_or(0, |record| record.duration_us);
    let interval = policies.key(&lease.plugin).map_or(Duration::ZERO, |policy| policy.interval);
    interval.saturating_sub(Duration::from_micros(ran))
}

/// A time as the database has it, so that sums of two do not overflow.
fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
