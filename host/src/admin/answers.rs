//! Answers of the store that a page of the whole host waits for only a moment.
//!
//! A search may hold the connection for listings for seconds, and a store of several hosts may be
//! away. Such a page then shows what was known last, with its time, and not an error.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout_at};

use crate::event::{EventId, PluginName};
use crate::store::{
    AuditEntry, DueTimes, FailureView, Stats, StoreError, StoreSpace, StoredSchedule,
};
use crate::tasks;

/// The longest that a page waits for all that it asks.
pub(super) const PAGE_PATIENCE: Duration = Duration::from_millis(500);

/// The last answer to a question, and its time.
#[derive(Debug, Clone)]
pub(super) struct LastKnown<T> {
    /// The answer, if there was ever one.
    pub(super) value: Option<T>,
    /// When it was so, Unix ms, if that is not now.
    pub(super) as_of_ms: Option<i64>,
}

impl<T> LastKnown<T> {
    /// Known without a question.
    pub(super) fn now(value: T) -> Self {
        Self { value: Some(value), as_of_ms: None }
    }
}

/// The last answer to a question.
#[derive(Debug)]
pub(super) struct LastAnswer<T> {
    /// One question at a time, so that pages that are open do not queue up questions.
    turn: Arc<AsyncMutex<()>>,
    kept: Arc<Mutex<Option<(i64, T)>>>,
}

impl<T> Default for LastAnswer<T> {
    fn default() -> Self {
        Self { turn: Arc::default(), kept: Arc::default() }
    }
}

impl<T: Clone + Send + 'static> LastAnswer<T> {
    /// The last answer, without a question.
    pub(super) fn last(&self) -> LastKnown<T> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (as_of_ms, value) = kept.unzip();
        LastKnown { value, as_of_ms }
    }

    /// Asks at `now_ms`; after `until` what was known last is the answer. The question goes on, and
    /// its answer is known then.
    pub(super) async fn ask<F>(&self, until: Instant, now_ms: i64, question: F) -> LastKnown<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (turn, kept) = (Arc::clone(&self.turn), Arc::clone(&self.kept));
        let asked = async move {
            let turn = turn.lock_owned().await;
            let task = tasks::spawn(async move {
                let _turn = turn;
                let answer = question.await.ok()?;
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                *kept = Some((now_ms, answer.clone()));
                Some(answer)
            });
            task.await.ok().flatten()
        };
        match timeout_at(until, asked).await {
            Ok(Some(answer)) => LastKnown::now(answer),
            Ok(None) | Err(_) => self.last(),
        }
    }
}

/// A group of failures, with its error.
#[derive(Debug, Clone)]
pub(super) struct FailingGroup {
    pub(super) group: FailureView,
    /// The error.
    pub(super) error: String,
    /// Whether that was read from a delivery; otherwise it is what its members have in common.
    pub(super) is_read: bool,
}

/// The last answers of the store about the whole host.
#[derive(Debug, Default)]
pub struct StoreAnswers {
    pub(super) stats: LastAnswer<Stats>,
    pub(super) due: LastAnswer<BTreeMap<PluginName, DueTimes>>,
    pub(super) schedules: LastAnswer<Vec<StoredSchedule>>,
    pub(super) space: LastAnswer<Option<StoreSpace>>,
    pub(super) failing: LastAnswer<Vec<FailingGroup>>,
    /// Changes, and whether there were more.
    pub(super) changes: LastAnswer<(Vec<AuditEntry>, bool)>,
    pub(super) newest: LastAnswer<Option<EventId>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Until now.
    fn at_once() -> Instant {
        Instant::now()
    }

    #[tokio::test]
    async fn a_question_that_takes_long_is_answered_by_what_was_known_and_goes_on() {
        let answers = LastAnswer::default();
        let long = || Instant::now() + Duration::from_secs(60);
        let known = answers.ask(long(), 1, async { Ok(10) }).await;
        assert_eq!((known.value, known.as_of_ms), (Some(10), None));
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let slow = async move {
            gone.await.expect("the test says when");
            Ok(20)
        };
        let known = answers.ask(at_once(), 2, slow).await;
        assert_eq!((known.value, known.as_of_ms), (Some(10), Some(1)));
        go.send(()).expect("it goes on");
        let known = answers.ask(long(), 3, async { Err(StoreError::Stopped(String::new())) }).await;
        assert_eq!((known.value, known.as_of_ms), (Some(20), Some(2)), "a failure teaches nothing");
    }

    #[tokio::test]
    async fn what_was_never_answered_is_not_known() {
        let answers = LastAnswer::<u8>::default();
        let known = answers.ask(at_once(), 1, std::future::pending()).await;
        assert_eq!((known.value, known.as_of_ms), (None, None));
    }
}
