//! A question whose answer must not be lost.

use tokio::sync::oneshot;

use super::Sqlite;
use super::command::give_back;
use crate::store::{Leased, StoreError};

/// A question for leases whose caller may go away before the answer: then what was leased is given back.
pub(super) struct Asked<'a> {
    pub(super) store: &'a Sqlite,
    pub(super) answer: oneshot::Receiver<Result<Leased, StoreError>>,
}

impl Asked<'_> {
    pub(super) async fn leased(mut self) -> Result<Leased, StoreError> {
        (&mut self.answer).await.unwrap_or_else(|_| Err(self.store.gone()))
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        // Whatever was not sent by now is given back by the writer.
        self.answer.close();
        if let Ok(Ok(stranded)) = self.answer.try_recv() {
            for lease in stranded.leases {
                self.store.send(give_back(lease, self.store.clock.host_ms()));
            }
        }
    }
}
