//! The answer to a lease call. Its leases are given back if the caller has gone.

use tokio::sync::oneshot;

use super::Sqlite;
use super::command::give_back;
use crate::store::{Leased, StoreError};

/// Leases that are asked for. If the caller goes away before the answer, they are given back.
pub(super) struct LeaseAnswer<'a> {
    pub(super) store: &'a Sqlite,
    pub(super) answer: oneshot::Receiver<Result<Leased, StoreError>>,
}

impl LeaseAnswer<'_> {
    pub(super) async fn leased(mut self) -> Result<Leased, StoreError> {
        (&mut self.answer).await.unwrap_or_else(|_| Err(self.store.gone()))
    }
}

impl Drop for LeaseAnswer<'_> {
    fn drop(&mut self) {
        // The writer gives back leases that were not sent by now.
        self.answer.close();
        if let Ok(Ok(stranded)) = self.answer.try_recv() {
            for lease in stranded.leases {
                self.store.send(give_back(lease));
            }
        }
    }
}
