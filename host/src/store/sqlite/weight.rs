//! About what it costs to write something, in rows.

use crate::event::NewEvent;
use crate::store::Settlement;

/// Bytes that cost about as much to write as a row.
const BYTES_OF_A_ROW: usize = 1_024;

/// So many rows with so many bytes in them.
pub(super) fn rows(count: usize, bytes: usize) -> u64 {
    (count + bytes / BYTES_OF_A_ROW) as u64
}

/// An event with its deliveries.
pub(super) fn of_event(event: &NewEvent) -> u64 {
    let attributes = &event.attributes;
    let headers: usize = event.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    rows(
        1 + event.deliveries.len() + 2 * event.members.len() + event.dedupe.len(),
        attributes.body.len() + headers,
    )
}

/// What an attempt leaves.
pub(super) fn of_settlement(settlement: &Settlement) -> u64 {
    // The delivery and its entry among those that are open.
    let mut weight = 2;
    if let Some(record) = &settlement.record {
        let logs: usize = record.logs.iter().map(|line| line.message.len()).sum();
        let calls: usize = record.calls.iter().map(|call| call.url.len()).sum();
        weight += rows(1, logs + calls + record.error.as_ref().map_or(0, String::len));
    }
    if let Some((emitted, kv)) = settlement.next.results() {
        weight += emitted.iter().map(of_event).sum::<u64>();
        let values: usize = kv
            .writes
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len))
            .sum();
        // A value takes the place of another one: a row goes and a row comes.
        let listed: usize = kv.lists.iter().map(|list| 1 + list.keys.len()).sum();
        let written = kv.writes.len() + kv.adds.len();
        weight += rows(kv.reads.len() + listed + 2 * written, values);
    }
    weight
}
