//! The memory that a settlement holds until it is durable.

use crate::event::{AttemptRecord, Counted, Key, NewDelivery, NewEvent, NewMember};
use crate::store::{KvTransaction, Lease, Next, Settlement};

/// Memory for the settlements of all plugins that are not durable yet, in KiB. With the default
/// limits, the events of 16 attempts fit.
pub(super) const MAX_PENDING_KIB: u32 = 64 * 1024;

/// The size of a settlement in KiB, at least 1. It counts everything that a guest can make larger,
/// and the host's own structures: 256 events without a body still take memory.
pub(super) fn kib(settlement: &Settlement) -> u32 {
    u32::try_from(bytes(settlement).div_ceil(1024)).unwrap_or(u32::MAX)
}

fn bytes(settlement: &Settlement) -> usize {
    let next = match &settlement.next {
        Next::Done { emitted, kv } | Next::Again { emitted, kv, .. } => {
            emitted.iter().map(event).sum::<usize>() + transaction(kv)
        }
        Next::Dead(Some(dead)) => event(dead),
        Next::RetryIn(_) | Next::Dead(None) | Next::GiveBack(_) => 0,
    };
    size_of::<Lease>()
        + size_of::<Settlement>()
        + next
        + settlement.record.as_ref().map_or(0, record)
}

fn event(event: &NewEvent) -> usize {
    let NewEvent {
        attributes,
        provider_id,
        dedupe,
        headers,
        note,
        deliveries,
        cancels,
        members,
        ..
    } = event;
    let headers = headers
        .iter()
        .map(|(name, value)| size_of::<(String, String)>() + name.len() + value.len());
    size_of::<NewEvent>()
        + attributes.source.len()
        + attributes.kind.len()
        + text(&attributes.subject)
        + text(&attributes.content_type)
        + attributes.body.len()
        + text(provider_id)
        + text(note)
        + size_of_val(dedupe.as_slice())
        + headers.sum::<usize>()
        + deliveries.iter().map(delivery).sum::<usize>()
        + size_of_val(cancels.as_slice())
        + members.iter().map(member).sum::<usize>()
}

fn delivery(delivery: &NewDelivery) -> usize {
    size_of_val(delivery) + delivery.key.as_ref().map_or(0, key)
}

fn member(member: &NewMember) -> usize {
    let counted = match &member.counted {
        Counted::Text(text) => text.len(),
        Counted::Event | Counted::Not => 0,
    };
    size_of_val(member) + key(&member.key) + counted
}

fn key(key: &Key) -> usize {
    match key {
        Key::Text(text) => text.len(),
        Key::Root => 0,
    }
}

fn transaction(kv: &KvTransaction) -> usize {
    let reads = kv.reads.iter().map(|(key, _)| size_of::<(String, Option<i64>)>() + key.len());
    let writes = kv.writes.iter().map(|(key, value)| {
        size_of::<(String, Option<Vec<u8>>)>() + key.len() + value.as_ref().map_or(0, Vec::len)
    });
    let adds = kv.adds.iter().map(|(key, _)| size_of::<(String, i64)>() + key.len());
    let lists = kv.lists.iter().map(|list| {
        let keys = list.keys.iter().map(|key| size_of::<String>() + key.len());
        size_of_val(list) + list.range.prefix.len() + text(&list.range.after) + keys.sum::<usize>()
    });
    reads.chain(writes).chain(adds).chain(lists).sum()
}

fn record(record: &AttemptRecord) -> usize {
    let logs =
        record.logs.iter().map(|line| size_of_val(line) + line.level.len() + line.message.len());
    let calls = record.calls.iter();
    let calls = calls
        .map(|call| size_of_val(call) + call.method.len() + call.url.len() + text(&call.error));
    let steps = record.steps.iter().map(|step| size_of_val(step) + step.name.len());
    logs.chain(calls).chain(steps).sum::<usize>() + text(&record.error)
}

fn text(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::event::{Attributes, HttpCall, LogLine, Outcome};

    fn emitted(body: usize) -> NewEvent {
        NewEvent {
            hops: 1,
            ..NewEvent::from(Attributes {
                source: "plugins/video-orders".into(),
                kind: "order.ready".to_owned(),
                subject: None,
                content_type: None,
                time_ms: 0,
                body: Bytes::from(vec![0; body]),
            })
        }
    }

    fn done(emitted: Vec<NewEvent>, kv: KvTransaction) -> Settlement {
        Settlement { next: Next::Done { emitted, kv }, record: None }
    }

    fn failed(error: Option<String>, logs: Vec<LogLine>, calls: Vec<HttpCall>) -> Settlement {
        let record =
            AttemptRecord { logs, calls, ..AttemptRecord::of_host(0, Outcome::Error, error) };
        Settlement { next: Next::Dead(None), record: Some(record) }
    }

    #[test]
    fn everything_that_a_guest_can_make_larger_is_counted() {
        const LARGE: usize = 1 << 20;
        let large = || "x".repeat(LARGE);
        let call = |url, error| HttpCall {
            method: "GET".to_owned(),
            url,
            status: None,
            error,
            refused: false,
            sent_bytes: 0,
            received_bytes: 0,
            duration_ms: 0,
            offset_ms: None,
        };
        let with = |change: &dyn Fn(&mut Attributes)| {
            let mut event = emitted(0);
            change(&mut event.attributes);
            done(vec![event], KvTransaction::default())
        };
        let written = |key, value| {
            done(
                Vec::new(),
                KvTransaction { writes: vec![(key, value)], ..KvTransaction::default() },
            )
        };
        let settlements = [
            done(vec![emitted(LARGE)], KvTransaction::default()),
            with(&|event| event.kind = large()),
            with(&|event| event.subject = Some(large())),
            with(&|event| event.content_type = Some(large())),
            done(
                Vec::new(),
                KvTransaction { reads: vec![(large(), None)], ..KvTransaction::default() },
            ),
            done(
                Vec::new(),
                KvTransaction { adds: vec![(large(), 1)], ..KvTransaction::default() },
            ),
            written(large(), None),
            written(String::new(), Some(vec![0; LARGE])),
            failed(Some(large()), Vec::new(), Vec::new()),
            failed(None, vec![LogLine { level: "info".to_owned(), message: large() }], Vec::new()),
            failed(None, Vec::new(), vec![call(large(), None)]),
            failed(None, Vec::new(), vec![call(String::new(), Some(large()))]),
        ];
        for settlement in settlements {
            let kib = kib(&settlement) as usize;
            assert!(
                (1_024..=1_026).contains(&kib),
                "{kib} KiB are counted of {:.80}",
                format!("{settlement:?}")
            );
        }
    }

    #[test]
    fn what_is_empty_is_counted_by_the_number_of_it() {
        const MANY: usize = 10_000;
        let line = LogLine { level: String::new(), message: String::new() };
        let reads = vec![(String::new(), None); MANY];
        let settlements = [
            done(vec![emitted(0); MANY], KvTransaction::default()),
            done(Vec::new(), KvTransaction { reads, ..KvTransaction::default() }),
            failed(None, vec![line; MANY], Vec::new()),
        ];
        for settlement in settlements {
            assert!(kib(&settlement) > 200, "{} KiB", kib(&settlement));
        }
        assert_eq!(kib(&Settlement { next: Next::GiveBack(Duration::ZERO), record: None }), 1);
    }
}
