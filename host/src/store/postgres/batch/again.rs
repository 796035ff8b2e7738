//! A batch of commands that were acknowledged before, for a server that does not have them.

use tokio_postgres::{Error, Row};

use super::super::calls::in_order;
use super::super::client::SqlClient as Client;
use super::super::ids::HostIds;
use super::super::shared::PostgresShared;
use super::super::statements::BatchStatements;
use super::super::tail::{TailCommand, TailLeases};
use super::{BatchMarker, BatchRows};

impl<'c> BatchRows<'c> {
    /// The rows of commands that were acknowledged before, under the same ids. Nothing is leased,
    /// but what was.
    pub(in crate::store::postgres) fn again(
        commands: &[(&'c TailCommand, &[i64])],
        leases: Option<&'c TailLeases>,
        shared: &PostgresShared,
    ) -> Self {
        let mut rows = Self { leased_again: leases, ..Self::default() };
        for (command, ids) in commands {
            rows.add((*command).into(), &mut HostIds::given(ids), shared);
        }
        rows
    }

    /// Runs all as one transaction without a marker, or nothing of it.
    pub(in crate::store::postgres) async fn run_unmarked(
        &self,
        client: &Client,
        statements: &BatchStatements,
        shared: &PostgresShared,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let marker = BatchMarker { incarnation: 0, writer: 0, seq: 0, after: 0 };
        let mut calls = self.calls(client, statements, shared, marker).list;
        drop(calls.remove(1));
        let answers = in_order(calls).await.into_iter().collect::<Result<Vec<_>, _>>();
        answers.map(|mut answers| {
            answers.insert(1, Vec::new());
            answers
        })
    }
}
