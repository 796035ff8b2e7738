//! The statements of a batch that come first: they lock what is changed, and check it.

use super::super::calls::BatchCalls;
use super::super::client::SqlClient as Client;
use super::super::shared::PostgresShared;
use super::super::statements::BatchStatements;
use super::BatchRows;

impl BatchRows<'_> {
    /// Those that lock what settlements and events touch, and check it.
    pub(super) fn locking_calls<'a>(
        &'a self,
        calls: &mut BatchCalls<'a>,
        client: &'a Client,
        statements: &'a BatchStatements,
        shared: &'a PostgresShared,
    ) {
        if let Some(policies) = &self.policies {
            calls.push(Box::pin(
                async move { client.query(&statements.policies, &[policies]).await },
            ));
        }
        if !self.keyed.locked.is_empty() {
            calls.push(Box::pin(self.keyed.locked.call(client, &statements.lock_keys)));
        }
        if !self.trees.is_empty() {
            calls.push(Box::pin(self.trees.call(client, &statements.check_trees, shared)));
        }
        if !self.stripes.is_empty() {
            calls.push(Box::pin(self.stripes.take(client, &statements.lock)));
        }
        if !self.kv.is_empty() {
            let (statement, settlements) = (&statements.write_values, &self.settlements);
            calls.push(Box::pin(self.kv.call(client, statement, shared, settlements)));
        }
    }
}
