//! The steps of a running attempt's delivery, as the store has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Digest;
use crate::fail;
use crate::sandbox::{StepAnswer, StepRecorded, StepStore, StepsAnswer};
use crate::store::{LeaseHolder, NewStep, Queue, Read, Recorded};

/// Reads and records the steps of one attempt.
#[derive(Debug)]
pub(super) struct LeasedSteps {
    pub(super) reads: Arc<dyn Read>,
    pub(super) queue: Arc<dyn Queue>,
    /// Its lease.
    pub(super) holder: LeaseHolder,
    /// Whether earlier attempts may have recorded steps.
    pub(super) has_steps: bool,
    /// The plugin file that runs.
    pub(super) digest: Digest,
}

impl StepStore for LeasedSteps {
    fn all(&self) -> StepsAnswer<'_> {
        Box::pin(async move {
            if !self.has_steps {
                return Ok(BTreeMap::new());
            }
            self.reads.steps(self.holder.delivery()).await.map_err(|error| error.to_string())
        })
    }

    fn record<'a>(&'a self, name: &'a str, value: Vec<u8>) -> StepAnswer<'a> {
        Box::pin(async move {
            let step = NewStep { name: name.to_owned(), value, digest: Some(self.digest) };
            let recorded = self.queue.record(&self.holder, step).await;
            let _ = fail::point("dispatch.recorded");
            match recorded {
                Ok(Recorded::Kept) => Ok(StepRecorded::Kept),
                Ok(Recorded::Lost) => Ok(StepRecorded::Lost),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}
