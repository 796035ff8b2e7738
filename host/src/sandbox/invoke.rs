//! One attempt: an instance of its own, its limits around it, and a verdict whatever happens.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::{Duration, Instant};

use wasmtime::{Store, UpdateDeadline};

use super::attempt::Attempt;
use super::bindings::exports::hookbox::plugin::handler::{Context, Event};
use super::limits::{MAX_CALL_BYTES, MAX_HANDLES, MAX_TIMEOUT_MS, SLACK_MS};
use super::verdict::{self, Ended};
use super::{Call, Invocation, Plugin};

/// Runs one attempt.
pub(super) async fn invoke(plugin: &Plugin, call: Call) -> Invocation {
    let started = Instant::now();
    let timeout = Duration::from_millis(call.limits.timeout_ms.min(MAX_TIMEOUT_MS));
    let ticking = plugin.core.ticker.hold();
    let mut store = store(plugin, &call, started + timeout);
    let guarded = unwound(handle(plugin, &mut store, &call));
    // Epochs interrupt a guest that computes; this interrupts one that waits in the host.
    let ended = match tokio::time::timeout(timeout + Duration::from_millis(SLACK_MS), guarded).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(panic)) => Ended::Panicked(panic),
        Err(_) => Ended::TimedOut,
    };
    drop(ticking);
    let attempt = store.into_data();
    let verdict = verdict::of(ended, &attempt, &call);
    let logs = attempt.logs.take();
    let memory_peak_bytes = attempt.memory.peak_bytes();
    let (kv_reads, kv_writes) = attempt.kv.finish();
    let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    Invocation { verdict, logs, kv_reads, kv_writes, memory_peak_bytes, duration_us }
}

fn store(plugin: &Plugin, call: &Call, deadline: Instant) -> Store<Attempt> {
    let mut store = Store::new(&plugin.core.engine, Attempt::new(call));
    store.limiter(|attempt| &mut attempt.memory);
    store.set_hostcall_fuel(MAX_CALL_BYTES);
    store.set_max_component_handles(MAX_HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut store| {
        if Instant::now() < deadline {
            return Ok(UpdateDeadline::Yield(1));
        }
        store.data_mut().timed_out = true;
        Ok(UpdateDeadline::Interrupt)
    });
    store
}

async fn handle(plugin: &Plugin, store: &mut Store<Attempt>, call: &Call) -> Ended {
    let instance = match plugin.handler.instantiate_async(&mut *store).await {
        Ok(instance) => instance,
        Err(error) => return Ended::NotStarted(error),
    };
    let attributes = &call.event.attributes;
    let id = call.event.id.to_string();
    let parent = call.event.parent.map(|parent| parent.to_string());
    let time = rfc3339(attributes.time_ms);
    let event = Event {
        id: &id,
        source: &attributes.source,
        type_: &attributes.kind,
        subject: attributes.subject.as_deref(),
        time: &time,
        data_content_type: attributes.content_type.as_deref(),
        data: &attributes.body,
    };
    let context = Context {
        attempt: call.attempt,
        max_attempts: call.max_attempts,
        idempotency_key: &call.idempotency_key,
        parent: parent.as_deref(),
    };
    match instance.hookbox_plugin_handler().call_handle(store, event, context).await {
        Ok(returned) => Ended::Returned(returned),
        Err(error) => Ended::Failed(error),
    }
}

/// A time of the road as RFC 3339, with milliseconds. A time out of range, which no clock gives, is the epoch.
fn rfc3339(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// A future whose panic is a value: its text.
async fn unwound<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)))
            .map_or_else(|panic| std::task::Poll::Ready(Err(message(&*panic))), |poll| poll.map(Ok))
    })
    .await
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(1_770_000_000_120), "2026-02-02T02:40:00.120Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00.000Z");
    }

    #[tokio::test]
    async fn a_panic_becomes_a_value() {
        let panicking = async { panic!("what {}", "happened") };
        assert_eq!(unwound(async { 1 }).await, Ok(1));
        assert_eq!(
            unwound::<_>(async {
                panicking.await;
            })
            .await,
            Err("what happened".to_owned())
        );
    }
}
