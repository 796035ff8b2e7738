//! About what a command costs to write, in rows, and who is charged for it.

use super::{Owner, WriteCommand};
use crate::event::NewEvent;
use crate::store::{LeaseQueue, Settlement, TickStep};

/// Bytes that cost about as much to write as a row.
const BYTES_OF_A_ROW: usize = 1_024;

impl WriteCommand {
    /// About what it costs to write it, in rows. A lease is charged for what it finds by the batch,
    /// not by its plugin's queue.
    pub(in crate::store::sqlite) fn weight(&self) -> u64 {
        match self {
            Self::Append { event, .. } => of_event(event),
            Self::AppendAll { events, .. } => events.iter().map(of_event).sum(),
            Self::Record { work, .. } => rows(2, work.1.name.len() + work.1.value.len()),
            Self::Settle { settlement, .. } => of_settlement(settlement),
            Self::Replay { targets, .. } => 1 + targets.len() as u64,
            Self::Make { event, .. } => 1 + of_event(event),
            Self::ChangeKey { change, .. } => rows(2, change.value.as_ref().map_or(0, Vec::len)),
            Self::Tick { tick, .. } => match &tick.step {
                TickStep::Emit { event, .. } => 1 + of_event(event),
                TickStep::Missed { .. } => 2,
            },
            Self::KeepSamples { samples, .. } => rows(2 * samples.len(), 0),
            Self::Noted { command, .. } => 2 + command.weight(),
            Self::Operate { work, .. } => work.weight(),
            Self::Limit { work, .. } => work.weight(),
            // Each event with its deliveries and their attempts.
            Self::Erase { events, keys, .. } => rows(8 * events.len() + keys.len(), 0),
            // Each delivery and its entry in an index.
            Self::ChangeAll { found, .. } => 2 * found.len() as u64,
            _ => 1,
        }
    }

    /// The owner that is charged for it.
    pub(in crate::store::sqlite) fn owner(&self) -> Owner {
        match self {
            Self::Append { event, .. } => event.attributes.source.clone(),
            Self::AppendAll { events, .. } => {
                events.first().map_or_else(|| "".into(), |event| event.attributes.source.clone())
            }
            Self::Lease { queue: LeaseQueue::Plugin(plugin), .. } => plugin.clone(),
            Self::Lease { queue: LeaseQueue::Quarantine(plugins), .. } => {
                plugins.first().cloned().unwrap_or_else(|| Owner::from(""))
            }
            Self::Record { work, .. } => work.0.plugin.clone(),
            Self::Settle { lease, .. } => lease.plugin.clone(),
            Self::Tick { tick, .. } => tick.name.clone(),
            // Those of operators and of the host itself.
            _ => Owner::from(""),
        }
    }
}

fn rows(count: usize, bytes: usize) -> u64 {
    (count + bytes / BYTES_OF_A_ROW) as u64
}

fn of_event(event: &NewEvent) -> u64 {
    let attributes = &event.attributes;
    let headers: usize = event.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    rows(
        1 + event.deliveries.len()
            + 2 * event.members.len()
            + event.dedupe.len()
            + usize::from(event.spends.is_some()),
        attributes.body.len() + headers,
    )
}

fn of_settlement(settlement: &Settlement) -> u64 {
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
