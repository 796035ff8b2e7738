//! The road of a request that is a list of events: all of them are stored in one commit, or none.

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;

use super::body::Reservation;
use super::callback;
use super::identify::BatchFault;
use super::post::{Posting, untyped};
use super::refused::RefusedRequest;
use super::reply::{IngestReply, Rejection};
use super::source::Verified;
use crate::event::{AppendSpan, Attributes, NewEvent};
use crate::series::PairKind;
use crate::store::{Appended, StoreError};
use crate::{fail, tasks};

impl Posting<'_> {
    /// Stores the events of a request that is authentic since `start`, at `now_ms`.
    pub(super) async fn receive_all(
        self,
        verified: &Verified<'_>,
        (start, now_ms): (Instant, i64),
        memory: Reservation,
    ) -> Result<IngestReply, Box<RefusedRequest>> {
        let Self { intake, sources, source, is_callback, .. } = self;
        let found = verified.events(&sources.config().routes, now_ms);
        let mut events = found.map_err(|fault| self.no_batch(fault, verified))?;
        if events.is_empty() {
            return Ok(IngestReply::StoredAll(Vec::new()));
        }
        if is_callback {
            for event in &events {
                callback::check(source, event, &*intake.reads).await?;
            }
        }
        let told: Vec<_> = events
            .iter()
            .map(|event| {
                let Attributes { source, kind, .. } = &event.attributes;
                (intake.series.pairs().of(PairKind::Received, source, kind), untyped(event))
            })
            .collect();
        let spans = events.iter_mut().map(|event| {
            let span = self.trace.and_then(|parent| intake.tracer.child_of(parent));
            span.map(|span| AppendSpan::begin(span, event, None))
        });
        let spans = spans.collect();
        let _ = fail::point("ingest.verified");
        let appending = self.append_all(events, memory, spans);
        let appended = timeout(intake.timeouts.reply, appending).await;
        let _ = fail::point("ingest.before_reply");
        let appended = appended.map_err(|_| Rejection::Unanswered)??;
        source.metrics.acknowledged(start.elapsed());
        for (event, (pair, untyped)) in appended.iter().zip(told) {
            source.counts().stored(event.duplicate, now_ms);
            if event.duplicate {
                continue;
            }
            pair.count(false);
            if let Some(reason) = untyped {
                self.tell_untyped(event, &reason, now_ms);
            }
        }
        Ok(IngestReply::StoredAll(appended))
    }

    #[cold]
    fn no_batch(self, fault: BatchFault, verified: &Verified<'_>) -> Box<RefusedRequest> {
        let hint = fault.to_string();
        let mut refused = self.refused(fault.into(), verified.head());
        refused.seen.hint = Some(hint);
        refused
    }

    /// Appends to the end, as a single event is: neither a client that hangs up nor an overdue
    /// reply cancels it.
    async fn append_all(
        self,
        events: Vec<NewEvent>,
        memory: Reservation,
        spans: Vec<Option<AppendSpan>>,
    ) -> Result<Vec<Appended>, Rejection> {
        let store = Arc::clone(&self.intake.store);
        let appending = tasks::detach_on_drop(tasks::unwound(async move {
            let appended = store.append_all(events).await;
            drop(memory);
            for (span, event) in spans.into_iter().zip(appended.iter().flatten()) {
                if let Some(span) = span {
                    span.end_as(event.id, event.duplicate);
                }
            }
            appended
        }));
        appending.await.map_err(Rejection::Broken)?.map_err(|error: StoreError| error.into())
    }
}
