//! Requests that are refused: what is noted of them, and the hint that is looked for afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::activity::{self, RefusalNote, SourceCounts};
use super::head::Head;
use super::reasons::RefusalReason;
use super::reply::Rejection;
use super::source::{SourceRuntime, Unproved};
use super::sources::Sources;
use super::verify::{MAX_HINT_BYTES, Refusal};
use crate::server::{Client, LineLimit};
use crate::tasks;

/// Refusals a second for which a hint is looked for, of all sources together.
const HINTS_PER_SECOND: u32 = 5;

/// A request that is not answered with success, and what was seen of it.
#[derive(Debug)]
pub(super) struct RefusedRequest {
    pub(super) rejection: Rejection,
    pub(super) seen: NotedParts,
}

/// The parts of a refused request that are noted.
#[derive(Debug, Default)]
pub(super) struct NotedParts {
    headers: Vec<String>,
    body_bytes: Option<u64>,
    offset_s: Option<i64>,
    pub(super) hint: Option<String>,
    /// The request itself, if a hint may be looked for.
    evidence: Option<Evidence>,
}

/// A request whose signature no key makes.
#[derive(Debug)]
struct Evidence {
    head: Head,
    body: Bytes,
}

impl From<Rejection> for Box<RefusedRequest> {
    fn from(rejection: Rejection) -> Self {
        Self::new(RefusedRequest { rejection, seen: NotedParts::default() })
    }
}

impl NotedParts {
    /// Adds a hint.
    pub(super) fn say(&mut self, hint: String) {
        self.hint = Some(hint);
    }

    /// The parts that the headers show.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let names = headers.keys().map(|name| name.as_str());
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        Self {
            headers: activity::header_names(names),
            body_bytes: length.and_then(|length| length.parse().ok()),
            ..Self::default()
        }
    }

    /// The same of a request whose head a source has looked at.
    pub(super) fn of_head(source: &SourceRuntime, head: &Head, now_ms: i64) -> Self {
        Self { offset_s: source.offset_s(head, now_ms), ..Self::of(&head.headers) }
    }

    /// The same of a request that failed its check.
    pub(super) fn of_unproved(source: &SourceRuntime, unproved: Unproved, now_ms: i64) -> Self {
        let Unproved { refusal, head, body } = unproved;
        let mut seen = Self::of_head(source, &head, now_ms);
        seen.hint = match refusal {
            Refusal::Stale => seen.offset_s.map(stale),
            _ => source.shape_hint(&head, refusal),
        };
        if let Some(body) = body {
            seen.body_bytes = Some(body.len() as u64);
            if refusal == Refusal::Mismatch {
                seen.evidence = Some(Evidence { head, body });
            }
        }
        seen
    }
}

/// The hint for a timestamp that is out of tolerance.
fn stale(offset_s: i64) -> String {
    let distance = offset_s.unsigned_abs();
    let (minutes, seconds) = (distance / 60, distance % 60);
    let direction = if offset_s >= 0 { "before" } else { "after" };
    format!(
        "signed {minutes} min {seconds:02} s {direction} it came: do the clocks differ, or was it sent again as it was?"
    )
}

/// Notes refusals, and looks for hints at a bounded rate.
#[derive(Debug)]
pub(super) struct RefusalHandler {
    /// One hint is looked for at a time.
    permits: Arc<Semaphore>,
    rate: LineLimit,
}

impl RefusalHandler {
    pub(super) fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(1)),
            rate: LineLimit::new(HINTS_PER_SECOND, Duration::from_secs(1)),
        }
    }

    /// Notes a refusal of a source. The reply does not wait for the hint, and does not depend on
    /// it.
    pub(super) fn note(
        &self,
        sources: &Arc<Sources>,
        source: &SourceRuntime,
        client: &Client,
        (reason, seen): (RefusalReason, NotedParts),
        at_ms: i64,
    ) {
        let NotedParts { headers, body_bytes, offset_s, hint, evidence } = seen;
        let client = client.to_string();
        let note = RefusalNote { at_ms, reason, client, body_bytes, headers, offset_s, hint };
        let number = source.counts().refused(note);
        let Some(evidence) = evidence else { return };
        if evidence.body.len() > MAX_HINT_BYTES {
            let kib = MAX_HINT_BYTES >> 10;
            let hint = format!("no variation was tried: the body is longer than {kib} KiB");
            source.counts().hint(number, reason, hint);
            return;
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return };
        if self.rate.admit(Instant::now()).is_none() {
            return;
        }
        let (sources, counts) = (Arc::clone(sources), Arc::clone(source.counts()));
        let name = Arc::clone(&source.source().name);
        tasks::spawn(async move {
            let found =
                tasks::blocking(move || sources.hint(&name, &evidence.head, &evidence.body));
            let found = found.await;
            // First, so that the next refusal after the hint is seen has a permit.
            drop(permit);
            tell(&counts, number, reason, found);
        });
    }
}

fn tell(counts: &SourceCounts, number: u64, reason: RefusalReason, found: Option<String>) {
    let none =
        "no variation that is tried matches: the secret or the body is not the one that was signed";
    counts.hint(number, reason, found.unwrap_or_else(|| none.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_timestamp_is_said_in_minutes() {
        assert!(stale(542).starts_with("signed 9 min 02 s before it came"));
        assert!(stale(-61).starts_with("signed 1 min 01 s after it came"));
    }
}
