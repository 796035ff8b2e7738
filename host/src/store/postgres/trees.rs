//! The sizes of trees, as a batch has them checked.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::client::{SqlClient as Client, SqlStatement as Statement};
use super::settle::small;
use super::shared::PostgresShared;
use crate::store::model::TreeSize;
use crate::store::{Lease, Settlement};

/// Calls `check_trees_v1`.
pub(super) const CHECK_TREES: &str =
    "SELECT hookbox.check_trees_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// The settlements of a batch that emit events.
#[derive(Default)]
pub(super) struct TreeRows {
    places: Vec<i32>,
    events: Vec<i64>,
    ordinals: Vec<i32>,
    attempts: Vec<i32>,
    roots: Vec<i64>,
    names: Vec<String>,
    adds: Vec<i64>,
    bytes: Vec<i64>,
}

impl TreeRows {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds the settlement at this place, if it emits events.
    pub(super) fn add(&mut self, place: i32, lease: &Lease, settlement: &Settlement) {
        let Some((emitted, _)) = settlement.next.results().filter(|it| !it.0.is_empty()) else {
            return;
        };
        let (root, size) = (lease.event.tree(), TreeSize::of(emitted));
        self.places.push(place);
        self.events.push(lease.delivery.event.row());
        self.ordinals.push(small(lease.delivery.ordinal));
        self.attempts.push(small(lease.attempt));
        self.roots.push(root.row());
        self.names.push(root.to_string());
        self.adds.push(large(size.events));
        self.bytes.push(large(size.bytes));
    }

    /// Calls the function.
    pub(super) async fn call(
        &self,
        client: &Client,
        statement: &Statement,
        shared: &PostgresShared,
    ) -> Result<Vec<Row>, Error> {
        let (budget, me) = (&shared.tree, shared.run().incarnation);
        // The places of the function `format`: of the size, the root and what is added.
        let too_many = budget.too_many(&"%2$s", &"%1$s", &"%3$s");
        let too_large = budget.too_large(&"%2$s", &"%1$s", &"%3$s");
        let parameters: [&(dyn ToSql + Sync); 13] = [
            &me,
            &self.places,
            &self.events,
            &self.ordinals,
            &self.attempts,
            &self.roots,
            &self.names,
            &self.adds,
            &self.bytes,
            &large(budget.events),
            &large(budget.bytes),
            &too_many,
            &too_large,
        ];
        client.query(statement, &parameters).await
    }
}

fn large(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
