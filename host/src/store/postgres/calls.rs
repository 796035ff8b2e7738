//! The statements of a batch, which are sent in one flush.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio_postgres::{Error, Row};

use super::client::SqlClient as Client;

/// The rows that answer a statement.
pub(super) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// A statement whose answer can be read from the tables once the batch was committed. Of the others
/// an answer without rows says the same.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    Settled,
    Recorded(usize),
    Ticked(usize),
    Appended,
    Leased,
}

/// The statements of a batch, in their order.
#[derive(Default)]
pub(super) struct BatchCalls<'a> {
    pub(super) list: Vec<Answer<'a>>,
    /// The places of those that can be told.
    pub(super) told: Vec<(usize, Told)>,
}

impl<'a> BatchCalls<'a> {
    pub(super) fn push(&mut self, call: Answer<'a>) {
        self.list.push(call);
    }

    pub(super) fn tell(&mut self, told: Told, call: Answer<'a>) {
        self.told.push((self.list.len(), told));
        self.list.push(call);
    }

    /// The number of statements.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}

/// A statement without parameters and rows.
pub(super) fn simple<'a>(client: &'a Client, sql: &'static str) -> Answer<'a> {
    Box::pin(async move { client.batch_execute(sql).await.map(|()| Vec::new()) })
}

/// Sends all calls in their order before it waits for the first answer, and returns the answers in
/// that order.
pub(super) async fn in_order(mut calls: Vec<Answer<'_>>) -> Vec<Result<Vec<Row>, Error>> {
    let mut answers: Vec<Option<_>> = calls.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut waits = false;
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match call.as_mut().poll(cx) {
                    Poll::Ready(rows) => *answer = Some(rows),
                    Poll::Pending => waits = true,
                }
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    answers.into_iter().flatten().collect()
}
