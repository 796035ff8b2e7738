//! The laws of queries, schedules, groups of failures, and of what operators keep.

use std::time::Duration;

use super::{OnePostgres, one_postgres};
use crate::event::{DeliveryId, FailureId, OTHER, Outcome, failure_text};
use crate::store::Health;
use crate::store::conformance::{self, StoreHarness, properties};
use crate::store::postgres::recover::CRASH;
use crate::store::postgres::settle::small;
use crate::store::postgres::size::DatabaseSize;

postgres_laws! {
    queries {
        an_event_is_shown_whole
        a_delivery_is_shown_as_its_event_shows_it
        events_are_listed_newest_first
        an_event_is_found_by_what_its_text_holds
        events_are_found_by_the_state_of_their_deliveries
        events_are_found_by_who_emitted_them_and_by_whether_they_fail
        events_are_found_by_pattern_plugin_attempts_and_what_they_came_after
        times_bound_a_listing_from_both_sides
        a_page_has_at_least_one_row
        what_one_look_does_not_reach_is_on_a_later_page
        a_listing_shows_the_last_attempt
    }
    filters {
        a_list_shows_the_events_that_its_filter_takes
    }
    due {
        due_times_are_of_what_nobody_holds
    }
    seeing {
        every_open_delivery_names_what_it_waits_for
        the_attempt_that_ran_when_its_delivery_was_cancelled_is_known
        the_tree_of_an_event_is_the_same_from_each_of_its_members
        a_tree_is_read_in_pages_that_follow_one_another
        a_tree_shows_what_attempts_used_and_the_first_of_their_requests
    }
    changes {
        what_changed_is_told_once_it_is_durable
        hints_that_nobody_takes_become_one
        whoever_falls_behind_is_told_to_look_at_everything
    }
    schedules {
        of_many_hosts_that_make_one_tick_one_stores_its_event
        a_tick_its_event_and_the_next_tick_are_there_after_a_crash
        a_tick_is_skipped_while_a_delivery_of_the_last_one_is_open
        what_is_skipped_is_recorded_with_its_reason
        a_schedule_that_has_changed_makes_no_old_tick
    }
    approvals {
        an_approval_is_there_after_a_crash
        an_admitted_file_takes_the_place_of_everything_before
        another_approval_takes_the_place_of_one_that_was_not_used
        an_approval_that_is_over_leaves_what_ran_last
        what_ran_last_can_be_approved_like_any_other_file
        a_plugin_that_is_forgotten_leaves_the_others
    }
    pauses {
        a_pause_is_there_after_a_crash_and_goes_when_it_is_over
        a_pause_has_an_entry_and_the_end_of_none_has_not
        what_is_paused_is_known_before_the_change_is_answered
    }
    log_positions {
        a_position_is_there_after_a_crash_and_is_that_of_one_source
    }
    history {
        what_was_kept_of_an_owner_is_read_in_order_also_after_a_crash
        of_samples_the_last_fourteen_days_are_kept
    }
    failures {
        failures_that_are_alike_are_one_group
        a_group_is_left_by_success_by_another_failure_and_by_a_move
        what_becomes_of_a_dead_letter_is_counted_in_its_group
        beyond_the_most_groups_of_a_plugin_there_is_one_more
        groups_are_there_after_a_crash_and_a_crash_is_a_group
        a_group_goes_when_it_is_old_and_no_delivery_is_in_it
        deliveries_are_listed_by_their_last_outcome_and_attempts
    }
}

#[test]
fn pages_with_filters_return_every_row_exactly_once() {
    if one_postgres().is_some() {
        properties::pages_with_filters_return_every_row_exactly_once(present);
    }
}

fn present() -> OnePostgres {
    one_postgres().expect("asked for before")
}

#[tokio::test]
async fn the_database_makes_the_ids_of_groups_as_the_host_does() {
    let Some(harness) = one_postgres() else { return };
    let client = harness.database().await.admin().await;
    for (plugin, outcome, text) in
        [("audit", Outcome::Retry, "order ‹n› answered ‹n›"), ("ünï", Outcome::Crash, CRASH)]
    {
        let sql = "SELECT hookbox.group_id_v1($1, $2, $3)";
        let row = client.query_one(sql, &[&plugin, &outcome.name(), &text]).await.unwrap();
        assert_eq!(FailureId::from_row(row.get(0)), FailureId::of(&plugin.into(), outcome, text));
    }
    // As `recover.sql` has them.
    assert_eq!(failure_text(Outcome::Crash, Some(CRASH)), CRASH);
    assert_eq!(
        (Outcome::Crash.code(), Outcome::Crash.name(), OTHER),
        (7, "crash", "other failures")
    );
}

#[tokio::test]
async fn a_damaged_attempt_leaves_the_rest_of_its_page() {
    let Some(one) = one_postgres() else { return };
    let client = one.database().await.admin().await;
    let damages = [
        ("calls = 'x'", Some("requests")),
        ("calls = '{}'", Some("requests")),
        ("steps = '[', logs = 'x', calls = '7'", Some("logs, requests, steps")),
        ("logs = 'x'", Some("logs")),
        ("outcome = 99", None),
        ("duration_us = -1", None),
    ];
    let damage = async |id: DeliveryId, change: &str| {
        let sql = format!("UPDATE hookbox.settled SET {change} WHERE event = $1 AND ordinal = $2");
        let key = (id.event.row(), small(id.ordinal));
        assert_eq!(client.execute(&sql, &[&key.0, &key.1]).await.unwrap(), 1);
    };
    let law = conformance::seeing::a_damaged_attempt_leaves_the_rest_of_its_page;
    law(one.open().await, &damages, damage).await;
}

#[tokio::test]
async fn the_size_of_the_database_is_told_and_not_asked_for_each_time() {
    let Some(one) = one_postgres() else { return };
    let client = one.database().await.admin().await;
    let store = one.open_postgres().await;
    assert!(store.space().await.unwrap().expect("it is known").store_bytes > 1 << 20);
    let (seldom, always) = (DatabaseSize::new(Duration::MAX), DatabaseSize::new(Duration::ZERO));
    let before = seldom.ask(&store.listings).await.unwrap();
    let grown = "CREATE TABLE public.more AS
        SELECT repeat('x', 100) FROM generate_series(1, 20000)";
    client.batch_execute(grown).await.unwrap();
    let after = always.ask(&store.listings).await.unwrap();
    assert!(after.store_bytes > before.store_bytes + (1 << 20), "{before:?}, {after:?}");
    assert_eq!(seldom.ask(&store.listings).await.unwrap(), before, "it was asked before");
}
