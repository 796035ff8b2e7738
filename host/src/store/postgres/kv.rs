//! The values that attempts read and write, on the way into the database, as arrays.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::rows::millis;
use super::settle::SettleRows;
use super::shared::PostgresShared;
use super::stripes::Stripes;
use crate::event::PluginName;
use crate::store::{KvRange, KvTransaction};
use crate::text::plain;

/// Calls `write_values_v1`.
pub(super) const WRITE_VALUES: &str = "SELECT hookbox.write_values_v1($1, $2, $3, $4, $5, $6, $7, \
     $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)";

/// The operations on values of a batch.
#[derive(Default)]
pub(super) struct KvRows<'c> {
    places: Vec<i32>,
    buckets: Vec<&'c str>,
    ttls: Vec<Option<i64>>,
    read_ends: Vec<i32>,
    read_keys: Vec<&'c [u8]>,
    read_versions: Vec<Option<i64>>,
    lists: ListRows<'c>,
    write_ends: Vec<i32>,
    write_keys: Vec<&'c [u8]>,
    write_values: Vec<Option<&'c [u8]>>,
    add_ends: Vec<i32>,
    add_keys: Vec<&'c [u8]>,
    add_deltas: Vec<i64>,
    add_faults: Vec<String>,
}

#[derive(Default)]
struct ListRows<'c> {
    ends: Vec<i32>,
    lows: Vec<&'c [u8]>,
    besides: Vec<Option<&'c [u8]>>,
    highs: Vec<Option<Vec<u8>>>,
    most: Vec<i64>,
    listed_ends: Vec<i32>,
    listed_keys: Vec<&'c [u8]>,
}

impl<'c> KvRows<'c> {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds the operations of the settlement at `place`, counted from 1, if it has any.
    pub(super) fn add(
        &mut self,
        place: i32,
        plugin: &'c PluginName,
        kv: &'c KvTransaction,
        stripes: &mut Stripes,
    ) {
        if !kv.writes_anything() && kv.reads.is_empty() && kv.lists.is_empty() {
            return;
        }
        let bucket: &'c str = kv.bucket_of(plugin);
        self.places.push(place);
        self.buckets.push(bucket);
        self.ttls.push(kv.ttl.map(millis));
        for (key, version) in &kv.reads {
            stripes.add_value(bucket, key);
            self.read_keys.push(key.as_bytes());
            self.read_versions.push(*version);
        }
        for list in &kv.lists {
            stripes.add_bucket(bucket);
            self.lists.add(&list.range, &list.keys);
        }
        for (key, value) in &kv.writes {
            stripes.add_value(bucket, key);
            self.write_keys.push(key.as_bytes());
            self.write_values.push(value.as_deref());
        }
        for (key, delta) in &kv.adds {
            stripes.add_value(bucket, key);
            self.add_keys.push(key.as_bytes());
            self.add_deltas.push(*delta);
            let key = plain(key, 80);
            self.add_faults.push(format!("it adds to the key `{key}` of bucket `{bucket}`"));
        }
        self.read_ends.push(end(&self.read_keys));
        self.lists.ends.push(end(&self.lists.lows));
        self.write_ends.push(end(&self.write_keys));
        self.add_ends.push(end(&self.add_keys));
    }

    /// Calls the function, before that of the settlements.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
        settlements: &SettleRows<'_>,
    ) -> Result<Vec<Row>, Error> {
        let (at, me) = (shared.at(), shared.run().incarnation);
        let (events, ordinals, attempts) = settlements.fences();
        let parameters: [&(dyn ToSql + Sync); 25] = [
            &at,
            &me,
            events,
            ordinals,
            attempts,
            &self.places,
            &self.buckets,
            &self.ttls,
            &self.read_ends,
            &self.read_keys,
            &self.read_versions,
            &self.lists.ends,
            &self.lists.lows,
            &self.lists.besides,
            &self.lists.highs,
            &self.lists.most,
            &self.lists.listed_ends,
            &self.lists.listed_keys,
            &self.write_ends,
            &self.write_keys,
            &self.write_values,
            &self.add_ends,
            &self.add_keys,
            &self.add_deltas,
            &self.add_faults,
        ];
        client.query(statement, &parameters).await
    }
}

impl<'c> ListRows<'c> {
    fn add(&mut self, range: &'c KvRange, keys: &'c [String]) {
        let bounds = KeyBounds::of(range);
        self.lows.push(bounds.low);
        self.besides.push(bounds.besides);
        self.highs.push(bounds.high);
        self.most.push(bounds.most);
        self.listed_keys.extend(keys.iter().map(String::as_bytes));
        self.listed_ends.push(end(&self.listed_keys));
    }
}

/// A range of keys as `list_keys_v1` takes it.
pub(super) struct KeyBounds<'r> {
    pub(super) low: &'r [u8],
    pub(super) besides: Option<&'r [u8]>,
    pub(super) high: Option<Vec<u8>>,
    pub(super) most: i64,
}

impl<'r> KeyBounds<'r> {
    pub(super) fn of(range: &'r KvRange) -> Self {
        let after = range.after.as_deref().filter(|after| *after >= range.prefix.as_str());
        Self {
            low: after.unwrap_or(&range.prefix).as_bytes(),
            besides: after.map(str::as_bytes),
            high: range.end().map(String::into_bytes),
            most: i64::try_from(range.limit).unwrap_or(i64::MAX),
        }
    }
}

/// The place of the last row so far, counted from 1.
fn end<T>(rows: &[T]) -> i32 {
    i32::try_from(rows.len()).expect("a batch is bounded")
}
