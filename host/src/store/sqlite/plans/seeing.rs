//! The plans of trees and of open gatherings.

use rusqlite::Connection;

use super::{Plans, plans_of, span_of};
use crate::event::{DeliveryId, EventId, State};
use crate::store::sqlite::{due, gathered, kv, pages, tree_view};
use crate::store::{EventFilter, EventState, GatheringCursor, GatheringFilter, Page};

/// Events that fail and that plugins emitted, beside other filters; and a value.
pub(super) fn what_fails(connection: &Connection) {
    let page = Page { limit: 50, after: None };
    for emitted in [None, Some(true), Some(false)] {
        for state in [EventState::Failing, EventState::Unrouted, EventState::Has(State::Dead)] {
            for name in [None, Some("a".to_owned())] {
                let (state, plugin) = (Some(state), name.clone());
                let filter =
                    EventFilter { emitted, state, plugin, subject: name, ..EventFilter::default() };
                pages::events(connection, &filter, &span_of(None, None), page).unwrap();
            }
        }
    }
    kv::kv_get(connection, "audit", "n").unwrap();
}

#[test]
fn the_times_when_deliveries_are_due_are_ends_of_ranges() {
    let plans = plans_of(|connection| {
        due::times(connection, &["audit".into()], 5).unwrap();
    });
    assert_eq!(plans.len(), 1, "{plans:#?}");
    for (sql, plan) in &plans {
        let range = "USING COVERING INDEX deliveries_open (crashes=? AND plugin=? AND due_ms>? AND due_ms<?)";
        assert!(plan.len() == 1 && plan[0].contains(range), "{sql}\n{plan:#?}");
    }
}

#[test]
fn a_tree_and_a_page_of_open_gatherings_are_ranges_of_an_index() {
    let plans = plans_of(|connection| {
        let row = "INSERT INTO deliveries (event, ordinal, plugin, state, attempt, pardoned, crashes, replay, due_ms)
                   VALUES (1, 0, 'joins/order', 2, 0, 0, 0, 0, 1)";
        connection.execute_batch(row).unwrap();
        let id = EventId::from_row(1);
        for (after, key) in [(false, false), (true, false), (false, true), (true, true)] {
            let filter = GatheringFilter { plugin: None, key: key.then(|| "k".to_owned()) };
            let after = after.then(|| GatheringCursor {
                crashes: 0,
                plugin: "joins/order".to_owned(),
                due_ms: 0,
                id: DeliveryId { event: id, ordinal: 0 },
            });
            gathered::open(connection, &filter, 50, after).unwrap();
        }
        gathered::state(connection, DeliveryId { event: id, ordinal: 0 }).unwrap();
        let event = "INSERT INTO events (id, source, type, time_ms, hops, body) VALUES (1, 'a', 'b', 1, 0, x'')";
        connection.execute_batch(event).unwrap();
        let gathering = "INSERT INTO gatherings VALUES (1, 0, 'joins/order', 'k', 1, 2, 0, 0, NULL, 0, 0, NULL, NULL)";
        connection.execute_batch(gathering).unwrap();
        assert!(tree_view::tree(connection, id, 10, None).unwrap().is_some());
    });
    let plans: Plans = plans.into_iter().filter(|(sql, _)| !sql.starts_with("INSERT")).collect();
    assert!(plans.len() >= 10, "{plans:#?}");
    for (sql, plan) in &plans {
        let steps: Vec<_> = plan.iter().filter(|step| !step.starts_with("SCAN g")).collect();
        let slow = steps.iter().find(|step| step.contains("SCAN") || step.contains("TEMP B-TREE"));
        assert!(slow.is_none(), "{sql}\n{plan:#?}");
    }
    let walks = plans.iter().filter(|(sql, _)| sql.contains("d.crashes = ?1"));
    for (sql, plan) in walks {
        assert!(plan[0].contains("deliveries_open (crashes=? AND plugin=?"), "{sql}\n{plan:#?}");
    }
}
