//! The delivery audit: the outcome of every event that was acknowledged, asked by its id. Other
//! events of the host do not count.
//!
//! Ids are ordered by time, and so are the pages of the admin API: those between the first and the
//! last id are read once, newest first, and the ids ticked off. A page with a delivery that is
//! still open is asked for again until it is settled or the patience has ended; what is older is
//! settled by then, or waited for in its turn. A page that is not answered is asked for again as
//! long; then what is left is unknown, and what was found out is kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use self::page::{DONE, EventStates, FAILED, Stage, StatesPage, pause, times_of};
use crate::cli::client::AdminClient;
use crate::cli::failure::Failure;
use crate::cli::output::text;
use crate::cli::progress::ProgressLine;
use crate::event::EventId;

mod page;

/// The most events that are named, of those that are lost and of those that failed.
const MAX_NAMED: usize = 5;

/// Counts of the events that were acknowledged: each is exactly one of `stored`, `lost`, `same_id`
/// and `unknown`.
#[derive(Debug, Default)]
pub(super) struct DeliveryAudit {
    /// Found in the store; each is exactly one of `settled`, `waiting` and `open`.
    pub(super) stored: u64,
    /// Every delivery has ended, if there are any.
    pub(super) settled: u64,
    /// A delivery waits for another attempt.
    pub(super) waiting: u64,
    /// A delivery was still ready or running when the patience ended.
    pub(super) open: u64,
    /// Stored events with a delivery that failed for good.
    pub(super) dead: u64,
    /// Stored events without deliveries.
    pub(super) unrouted: u64,
    /// Not found.
    pub(super) lost: u64,
    /// Acknowledged with the id of another event: that one is what is stored, if any.
    pub(super) same_id: u64,
    /// Could not be looked up.
    pub(super) unknown: u64,
    /// The reason.
    pub(super) unknown_reason: Option<String>,
    /// Some of the ids that several were given.
    pub(super) shared: Vec<EventId>,
    /// Some of the lost ones.
    pub(super) missing: Vec<EventId>,
    /// Some of the dead ones.
    pub(super) failed: Vec<EventId>,
    /// Deliveries that have ended.
    pub(super) deliveries: u64,
    /// The time from the first event that was sent until none was open.
    pub(super) took: Duration,
}

/// The beginning of the load, and the time for which open deliveries are waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) start: Instant,
    pub(super) patience: Duration,
}

/// Deliveries that are ready or running, of the whole host.
pub(super) fn backlog(client: &AdminClient) -> Result<u64, Failure> {
    let answer = client.get("/api/v1/stats", &[])?;
    let count = |state: &str| {
        let count = answer["deliveries"][state].as_u64();
        count.ok_or_else(|| {
            Failure::failed(format!("the admin API's answer to /api/v1/stats has no `{state}`"))
        })
    };
    Ok(count("ready")? + count("leased")?)
}

/// Finds out what became of `ids`, which are sorted, as far as the host answers.
pub(super) fn trace(client: &AdminClient, mut ids: Vec<EventId>, times: Times) -> DeliveryAudit {
    let mut audit = DeliveryAudit { took: times.start.elapsed(), ..DeliveryAudit::default() };
    audit.take_repeated(&mut ids);
    let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return audit };
    let range = times_of(client, first, last);
    let began = Instant::now();
    // Deliveries of the whole host, only to show that they become fewer.
    let progress = backlog(client).ok().map(|all| (all, ProgressLine::new("settling", all)));
    let (mut cursor, mut seen_open, mut is_first) = (None, false, true);
    let mut patience = times.patience;
    loop {
        let events =
            match StatesPage::ask_patiently(client, &range, cursor.as_deref(), &mut patience) {
                Ok(events) => events,
                Err(failure) => {
                    (audit.unknown, audit.unknown_reason) =
                        (ids.len() as u64, Some(failure.to_string()));
                    return audit;
                }
            };
        let waited = began.elapsed();
        if waited < times.patience && events.has_open(&ids) {
            if let (Some((all, progress)), Ok(left)) = (&progress, backlog(client)) {
                let settled = all.saturating_sub(left);
                progress.show(settled, format!("{settled} of {all} deliveries"));
            }
            pause(waited);
            seen_open = true;
            continue;
        }
        if seen_open || is_first {
            audit.took = times.start.elapsed();
        }
        (seen_open, is_first) = (false, false);
        audit.take(&events, &mut ids);
        match events.next {
            Some(next) if !ids.is_empty() => cursor = Some(next),
            _ => return audit,
        }
    }
}

impl DeliveryAudit {
    /// An id stands for one event, whatever else was acknowledged with it.
    fn take_repeated(&mut self, ids: &mut Vec<EventId>) {
        for pair in ids.windows(2).filter(|pair| pair[0] == pair[1]) {
            self.same_id += 1;
            if self.shared.last() != Some(&pair[0]) {
                name(&mut self.shared, pair[0]);
            }
        }
        ids.dedup();
    }

    /// Ticks off the ids that the page speaks of, which are the newest: those down to its last row,
    /// and all of them if no page comes after it.
    fn take(&mut self, events: &StatesPage, ids: &mut Vec<EventId>) {
        let oldest = match (&events.next, events.rows.last()) {
            (None, _) => 0,
            (Some(_), Some(row)) => ids.partition_point(|id| *id < row.id),
            (Some(_), None) => ids.len(),
        };
        let rows: HashMap<EventId, &EventStates> =
            events.rows.iter().map(|row| (row.id, row)).collect();
        for id in ids.drain(oldest..).rev() {
            match rows.get(&id) {
                Some(row) => self.count(row),
                None => {
                    self.lost += 1;
                    name(&mut self.missing, id);
                }
            }
        }
    }

    fn count(&mut self, row: &EventStates) {
        let ended = row
            .states
            .iter()
            .filter(|state| *state == DONE || FAILED.contains(&state.as_str()))
            .count();
        self.stored += 1;
        self.deliveries += ended as u64;
        self.unrouted += u64::from(row.states.is_empty());
        match row.stage() {
            Stage::Settled => self.settled += 1,
            Stage::Waiting => self.waiting += 1,
            Stage::Open => self.open += 1,
        }
        if row.states.iter().any(|state| FAILED.contains(&state.as_str())) {
            self.dead += 1;
            name(&mut self.failed, row.id);
        }
    }

    /// Deliveries settled a second.
    pub(super) fn rate(&self) -> f64 {
        self.deliveries as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// Ids of deliveries that failed for good, and why: those of [`Self::failed`]; the event's own
    /// id if it does not tell.
    pub(super) fn failures(&self, client: &AdminClient) -> Vec<(String, String)> {
        let mut failures = Vec::new();
        for id in &self.failed {
            let event = match client.get(&format!("/api/v1/events/{id}"), &[]) {
                Ok(event) => event,
                Err(failure) => {
                    failures.push((
                        id.to_string(),
                        format!("its deliveries could not be looked up: {failure}"),
                    ));
                    continue;
                }
            };
            let deliveries = event["deliveries"].as_array().into_iter().flatten();
            failures.extend(
                deliveries
                    .filter(|delivery| FAILED.iter().any(|failed| delivery["state"] == *failed))
                    .map(|delivery| {
                        let last =
                            delivery["attempts"].as_array().and_then(|attempts| attempts.last());
                        (
                            text(&delivery["id"]),
                            last.map(|last| text(&last["error"])).unwrap_or_default(),
                        )
                    }),
            );
        }
        failures
    }
}

fn name(named: &mut Vec<EventId>, id: EventId) {
    if named.len() < MAX_NAMED {
        named.push(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: i64) -> EventId {
        EventId::from_row(number)
    }

    fn events(rows: &[(i64, &[&str])], next: Option<&str>) -> StatesPage {
        let rows = rows.iter().map(|(number, states)| EventStates {
            id: id(*number),
            states: states.iter().map(|state| (*state).to_owned()).collect(),
        });
        StatesPage { rows: rows.collect(), next: next.map(str::to_owned) }
    }

    #[test]
    fn a_page_ticks_off_what_is_not_older_than_its_last_row() {
        let (mut audit, mut ids) = (DeliveryAudit::default(), [2, 4, 6, 8].map(id).to_vec());
        // 7 and 5 are of others, 6 is missing; 4 and 2 may be on the next page.
        audit.take(
            &events(&[(8, &["done", "dead"]), (7, &["done"]), (5, &[])], Some("next")),
            &mut ids,
        );
        assert_eq!(
            (audit.stored, audit.settled, audit.dead, audit.lost, audit.deliveries),
            (1, 1, 1, 1, 2)
        );
        assert_eq!(
            (audit.missing.as_slice(), audit.failed.as_slice()),
            (&[id(6)][..], &[id(8)][..])
        );
        assert_eq!(ids, [id(2), id(4)]);
        audit.take(&events(&[], Some("next")), &mut ids);
        assert_eq!(ids.len(), 2, "a page that looked in vain says nothing");
        audit.take(&events(&[(4, &[])], None), &mut ids);
        assert_eq!((audit.stored, audit.unrouted, audit.lost, ids.len()), (2, 1, 2, 0));
    }

    #[test]
    fn what_an_operator_has_ended_is_settled_and_has_failed() {
        let (mut audit, mut ids) = (DeliveryAudit::default(), [1, 2].map(id).to_vec());
        audit.take(&events(&[(2, &["done", "cancelled"]), (1, &["discarded"])], None), &mut ids);
        assert_eq!((audit.settled, audit.open, audit.dead, audit.deliveries), (2, 0, 2, 3));
    }

    #[test]
    fn an_id_that_several_events_were_given_is_looked_up_once() {
        let (mut audit, mut ids) = (DeliveryAudit::default(), [1, 2, 2, 2, 3, 3].map(id).to_vec());
        audit.take_repeated(&mut ids);
        assert_eq!((audit.same_id, audit.shared.as_slice()), (3, &[id(2), id(3)][..]));
        assert_eq!(ids, [1, 2, 3].map(id));
    }

    #[test]
    fn an_event_is_as_far_as_the_last_of_its_deliveries() {
        let (mut audit, mut ids) = (DeliveryAudit::default(), [1, 2, 3].map(id).to_vec());
        let page = events(
            &[
                (3, &["done", "leased", "waiting"]),
                (2, &["dead", "waiting"]),
                (1, &["done", "done"]),
            ],
            None,
        );
        assert!(page.has_open(&ids) && !page.has_open(&ids[..2]));
        audit.take(&page, &mut ids);
        assert_eq!((audit.open, audit.waiting, audit.settled, audit.stored), (1, 1, 1, 3));
        assert_eq!((audit.dead, audit.deliveries), (1, 4));
    }
}
