//! Data that the store keeps for plugins: their keys, and the steps of their deliveries.

use super::data::{LastWrite, MemoryData};
use crate::clock::after_ms;
use crate::event::{DEAD, DeliveryId, EventId, NewEvent, PluginName, State};
use crate::store::model::{TreeSize, number};
use crate::store::{
    Appended, KeyChange, KvEntry, KvKey, KvRange, KvTransaction, KvValue, LeaseHolder, ListedKeys,
    NewStep, Recorded, StepView, StoreError,
};

impl MemoryData {
    /// Describes the bound that a tree would exceed with these events.
    pub(super) fn excess(&self, root: EventId, emitted: &[NewEvent]) -> Option<String> {
        let in_tree = self
            .events
            .values()
            .map(|stored| &stored.view.event)
            .filter(|event| event.root == Some(root) && event.attributes.kind != DEAD);
        let sizes: Vec<_> = in_tree.map(|event| event.attributes.body.len() as u64).collect();
        let size = TreeSize { events: sizes.len() as u64, bytes: sizes.iter().sum() };
        self.tree.excess(root, size, emitted)
    }

    pub(super) fn record_step(&mut self, holder: &LeaseHolder, step: NewStep) -> Recorded {
        let held = self.deliveries.get_mut(&holder.delivery).filter(|found| {
            (found.view.state, found.view.attempt) == (State::Leased, holder.attempt)
        });
        let Some(delivery) = held else { return Recorded::Lost };
        let view = StepView {
            name: step.name.clone(),
            bytes: step.value.len() as u64,
            attempt: holder.attempt,
            digest: step.digest,
            recorded_at_ms: self.wall_ms,
        };
        delivery.steps.entry(step.name).or_insert((view, step.value));
        self.hint.plugins.insert(holder.plugin.clone());
        Recorded::Kept
    }

    pub(super) fn kv_keys(&self, bucket: &PluginName, range: &KvRange) -> Vec<KvKey> {
        let of_bucket = self.kv.iter().filter(|((owner, _), _)| owner == bucket);
        let meant = of_bucket.filter(|((_, key), _)| {
            key.starts_with(&range.prefix) && range.after.as_ref().is_none_or(|after| key > after)
        });
        meant
            .take(range.limit)
            .map(|((_, key), found)| KvKey { key: key.clone(), bytes: found.value.len() as u64 })
            .collect()
    }

    pub(super) fn kv_entries(
        &self,
        bucket: &PluginName,
        range: &KvRange,
        ahead_ms: i64,
    ) -> Vec<KvEntry> {
        let entry = |found: KvKey| {
            let place = (bucket.clone(), found.key.clone());
            let write = self.kv_writes.get(&place).copied().unwrap_or_default();
            KvEntry {
                version: self.kv[&place].version,
                expires_ms: write.expires_ms.map(|ms| ms.saturating_sub(ahead_ms)),
                writer: write.writer,
                key: found.key,
                bytes: found.bytes,
            }
        };
        self.kv_keys(bucket, range).into_iter().map(entry).collect()
    }

    pub(super) fn kv_bytes(&self, plugin: &str) -> u64 {
        let own = self.kv.iter().filter(|((owner, _), _)| &**owner == plugin);
        own.map(|((_, key), found)| (key.len() + found.value.len()) as u64).sum()
    }

    pub(super) fn reads_hold(&self, plugin: &PluginName, kv: &KvTransaction) -> bool {
        let bucket = kv.bucket_of(plugin);
        let version =
            |key: &String| self.kv.get(&(bucket.clone(), key.clone())).map(|found| found.version);
        let is_same = |list: &ListedKeys| {
            self.kv_keys(bucket, &list.range)
                .into_iter()
                .map(|found| found.key)
                .eq(list.keys.clone())
        };
        kv.reads.iter().all(|(key, seen)| version(key) == *seen) && kv.lists.iter().all(is_same)
    }

    pub(super) fn fault_of_adds(&self, plugin: &PluginName, kv: &KvTransaction) -> Option<String> {
        let bucket = kv.bucket_of(plugin);
        kv.adds.iter().find_map(|(key, _)| {
            let stored = || self.kv.get(&(bucket.clone(), key.clone()));
            let value = kv.written(key).unwrap_or_else(|| stored().map(|it| it.value.as_slice()));
            let fault = number(value).err()?;
            Some(format!("it adds to the key `{key}` of bucket `{bucket}`: {fault}"))
        })
    }

    pub(super) fn write_kv(
        &mut self,
        plugin: &PluginName,
        writer: Option<(DeliveryId, u32)>,
        kv: KvTransaction,
    ) {
        let bucket = kv.bucket_of(plugin).clone();
        let sum = |(key, delta): &(String, i64)| {
            let stored = || self.kv.get(&(bucket.clone(), key.clone()));
            let value = kv.written(key).unwrap_or_else(|| stored().map(|it| it.value.as_slice()));
            let sum = number(value).expect("it was checked").saturating_add(*delta);
            (key.clone(), Some(sum.to_le_bytes().to_vec()))
        };
        let sums: Vec<_> = kv.adds.iter().map(sum).collect();
        for (key, value) in kv.writes.into_iter().chain(sums) {
            let key = (bucket.clone(), key);
            let Some(value) = value else {
                self.kv_writes.remove(&key);
                self.kv.remove(&key);
                continue;
            };
            let version = self.next_id().row();
            let expires_ms = kv.ttl.map(|ttl| after_ms(self.host_ms, ttl));
            self.kv_writes.insert(key.clone(), LastWrite { expires_ms, writer });
            self.kv.insert(key, KvValue { value, version });
        }
    }

    /// Stores an event that an operator makes.
    pub(super) fn make(&mut self, event: NewEvent) -> Result<Appended, StoreError> {
        match event.edited.as_ref().map(|edited| edited.event) {
            Some(from) if !self.events.contains_key(&from) => {
                Err(StoreError::NotFound(format!("event `{from}`")))
            }
            _ => Ok(self.append(event, None)),
        }
    }

    /// Sets or deletes a value for a client; returns its new version, or 1.
    pub(super) fn change_key(&mut self, change: KeyChange) -> Result<u64, StoreError> {
        let found = self.kv.get(&(change.bucket.clone(), change.key.clone()));
        if let Some(why) = change.refusal(found.map(|found| found.version)) {
            return Err(StoreError::Conflict(why));
        }
        let KeyChange { bucket, key, value, ttl, .. } = change;
        let writes = vec![(key.clone(), value)];
        let kv = KvTransaction { writes, ttl, ..KvTransaction::default() };
        self.hint.plugins.insert(bucket.clone());
        self.write_kv(&bucket, None, kv);
        let written = self.kv.get(&(bucket, key));
        Ok(written.map_or(1, |written| written.version.unsigned_abs()))
    }

    /// Deletes values whose time is over.
    pub(super) fn sweep_kv(&mut self, now_ms: i64) {
        let is_over = |write: &LastWrite| write.expires_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let over = self.kv_writes.iter().filter(|(_, write)| is_over(write));
        let over: Vec<_> = over.map(|(key, _)| key.clone()).collect();
        for key in over {
            self.kv.remove(&key);
            self.kv_writes.remove(&key);
        }
    }
}
