//! Locks that a transaction holds until its end: of values, and of the keys of gatherings.
//!
//! A key that is not there cannot be locked as a row, so keys are spread over stripes, which are
//! advisory locks. A batch takes all of them in one order before it looks at anything. No two hosts
//! wait for each other then.

use std::collections::BTreeSet;

use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};

/// Takes stripes in the order of the arrays.
pub(super) const LOCK: &str =
    "SELECT pg_advisory_xact_lock(s.class, s.stripe) FROM unnest($1::integer[], $2::integer[])
     AS s (class, stripe)";

/// The stripes of the values of a bucket.
const OF_BUCKET: u32 = 64;

/// The stripes of all keys that events are gathered by.
const OF_GATHERINGS: u32 = 256;

/// The class of the stripes of gatherings. Those of buckets are greater, and the other advisory
/// locks of the schema have lesser ones.
const GATHERINGS: i32 = 0x2000_0000;

/// The stripes that a transaction takes.
#[derive(Debug, Default)]
pub(super) struct Stripes(BTreeSet<(i32, i32)>);

impl Stripes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the stripe of a value.
    pub(super) fn add_value(&mut self, bucket: &str, key: &str) {
        self.0.insert((class_of(bucket), number(&[key], OF_BUCKET)));
    }

    /// Adds all stripes of a bucket, because keys that are not there matter as well.
    pub(super) fn add_bucket(&mut self, bucket: &str) {
        let class = class_of(bucket);
        self.0.extend((0..OF_BUCKET.cast_signed()).map(|stripe| (class, stripe)));
    }

    /// Adds the stripe of a key that events are gathered by.
    pub(super) fn add_gathering(&mut self, plugin: &str, key: &str) {
        self.0.insert((GATHERINGS, number(&[plugin, key], OF_GATHERINGS)));
    }

    /// Takes them.
    pub(super) async fn take(
        &self,
        client: &Client,
        statement: &Statement,
    ) -> Result<Vec<Row>, Error> {
        let (classes, stripes): (Vec<i32>, Vec<i32>) = self.0.iter().copied().unzip();
        client.query(statement, &[&classes, &stripes]).await
    }
}

/// The class of a bucket's stripes.
fn class_of(bucket: &str) -> i32 {
    (0x4000_0000 | hash(&[bucket]) >> 34).try_into().expect("it has 31 bits")
}

fn number(parts: &[&str], of: u32) -> i32 {
    (hash(parts) % u64::from(of)).try_into().expect("there are few stripes")
}

/// FNV-1a: the same for hosts of all versions.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_are_the_same_for_all_hosts_and_apart_for_buckets_and_gatherings() {
        // Hosts of several versions share a database: these numbers stay as they are.
        assert_eq!(hash(&[""]), 0xaf64_724c_8602_eb6e);
        let mut stripes = Stripes::default();
        stripes.add_value("orders", "n");
        stripes.add_value("orders", "n");
        stripes.add_gathering("joins/order", "n");
        assert_eq!(stripes.0.len(), 2);
        stripes.add_bucket("orders");
        assert_eq!(stripes.0.len(), 65, "a bucket has the stripes of its values");
        let classes: BTreeSet<i32> = stripes.0.iter().map(|(class, _)| *class).collect();
        assert!(classes.iter().all(|class| *class >= GATHERINGS), "{classes:?}");
        assert_eq!(classes.len(), 2);
    }
}
