//! The laws of what operators change, of the audit log, of retention, and of operations.

use std::time::Duration;

use super::{OnePostgres, one_postgres};
use crate::event::EventId;
use crate::store::conformance::{self, START_MS, StoreHarness, clock, event};
use crate::store::{
    Actor, AuditFilter, AuditLog, AuditNote, Count, Keep, Operate, OperationId, Queue, Via,
};

postgres_laws! {
    audit {
        a_change_has_an_entry_that_says_who_did_what
        a_change_that_is_refused_has_no_entry
        of_a_change_of_many_the_entries_count_each_delivery_once
        a_request_that_is_repeated_with_its_key_does_nothing_again
        an_answer_is_kept_for_its_request_and_its_time
        entries_are_found_by_what_is_asked_and_in_pages
        entries_are_kept_for_their_time_and_then_deleted
    }
    operator {
        a_retried_delivery_is_ready_and_its_attempts_are_not_counted
        what_is_due_running_or_done_cannot_be_retried
        a_waiting_delivery_that_is_retried_is_due_at_once
        what_waits_and_is_retried_leaves_the_quarantine_queue
        what_an_operator_makes_ready_notifies_its_plugin
        a_quarantined_delivery_that_is_retried_may_crash_twice_again
        a_cancelled_delivery_is_leased_no_more
        of_a_leased_delivery_that_is_cancelled_only_the_attempt_is_stored
        a_leased_delivery_that_is_cancelled_ends_however_it_is_settled
        a_leased_delivery_that_was_cancelled_ends_with_the_crash
        what_is_in_the_quarantine_queue_can_be_cancelled
        what_is_settled_cannot_be_cancelled_and_nothing_twice
        only_a_dead_delivery_can_be_discarded
        what_an_operator_has_ended_can_be_retried
        a_replay_creates_new_deliveries_of_an_old_event
        a_moved_delivery_is_another_plugins_at_the_same_time
        what_runs_or_is_settled_cannot_be_moved
        a_plugin_that_has_an_event_gets_it_from_no_other
        what_is_moved_leaves_the_quarantine_queue
        what_does_not_exist_is_not_found
        an_event_has_a_bounded_number_of_deliveries
    }
    bulk {
        a_bulk_retry_takes_the_dead_that_match
        a_bulk_retry_takes_what_waits_or_was_ended_only_when_asked
        what_fails_again_during_a_bulk_retry_has_had_its_chance
        a_bulk_move_takes_what_is_ready_or_waits_once
        of_two_deliveries_of_an_event_one_is_moved_and_one_is_counted
        a_bulk_cancel_takes_all_that_is_open_and_nothing_else
        a_bulk_change_takes_what_its_filter_says
        what_comes_after_a_bulk_change_has_begun_is_not_meant
        what_comes_back_behind_the_walk_is_cancelled_as_well
        a_bulk_discard_takes_the_dead_that_match
        a_preview_counts_and_changes_nothing
    }
    edits {
        an_edited_event_and_the_one_it_was_made_of_name_each_other_after_a_crash
        of_an_event_that_is_gone_nothing_is_made
        an_event_that_is_asked_for_twice_with_one_key_is_made_once
    }
    sweep {
        retention_deletes_only_what_is_settled
        a_key_is_known_until_its_window_is_swept
        an_event_is_kept_as_long_as_its_keys
        a_swept_event_leaves_nothing_behind
        a_sweep_is_bounded_and_says_whether_there_may_be_more
        old_events_that_are_not_settled_do_not_hide_those_that_are
        what_is_settled_late_is_deleted_in_a_later_round
        a_dead_letter_outlives_its_event_until_it_is_discarded
        ids_grow_also_when_everything_was_swept
    }
    payloads {
        after_its_time_an_event_loses_its_data_and_keeps_its_place
        what_may_be_needed_keeps_its_data_until_it_is_not
        events_are_emptied_a_bounded_number_at_a_time
    }
    erase {
        nothing_of_an_erased_event_is_left_but_its_place
        an_erased_event_is_neither_replayed_nor_retried
        every_event_of_a_subject_is_erased_and_no_other
        an_event_whose_attempt_runs_is_cancelled_and_erased_afterwards
        a_dead_letter_that_tells_of_an_erased_event_is_erased
        what_a_complete_join_made_of_an_erased_event_is_erased
        a_join_of_others_goes_on_without_the_event_that_opened_it
        a_join_ends_when_every_member_is_erased
        a_subject_is_found_until_nothing_of_its_events_runs
        an_event_is_erased_with_all_of_its_copies_however_many_there_are
        with_keys_the_values_that_an_erased_event_wrote_last_are_deleted
        what_was_erased_has_one_entry_in_the_audit_log
        no_replay_leaves_an_open_delivery_of_an_erased_event
    }
    operations {
        what_came_after_its_preview_is_left_by_an_operation
        what_is_leased_behind_the_walk_of_an_operation_is_cancelled
        operations_are_kept_for_thirty_days_after_their_end
        events_are_replayed_once_each_beyond_a_crash_the_oldest_first
        events_to_replay_are_found_bit_by_bit_while_others_are_replayed
        routes_need_no_more_of_an_event_than_its_facts
        the_rests_of_an_operation_are_not_its_work
        the_one_that_is_tried_first_is_remembered
    }
    searches {
        a_replay_takes_the_events_of_its_subject_and_no_other
        a_replay_takes_events_from_a_time_on_and_before_another_by_their_own
        a_replay_takes_events_by_the_state_of_a_delivery_open_or_settled
        a_replay_takes_the_events_that_meet_all_of_its_filter
    }
    tree {
        a_replay_adds_to_the_tree_of_its_event
        the_mark_of_a_tree_is_another_one_once_it_stands_otherwise
        all_that_is_open_of_a_tree_is_cancelled_from_any_of_its_events
    }
    on_insert {
        a_replayed_delivery_is_leased_on_insert
    }
}

// The other laws of clocks are about a host whose own clock is set. Here the database's clock
// counts for leases and retention, whatever a host's clock shows, and a key is known for one to two
// windows.
#[test]
fn what_is_ready_has_no_time_to_wait_for() {
    if one_postgres().is_some() {
        clock::what_is_ready_has_no_time_to_wait_for(present);
    }
}

#[test]
fn filters_go_by_the_times_of_events() {
    if one_postgres().is_some() {
        clock::filters_go_by_the_times_of_events(present);
    }
}

fn present() -> OnePostgres {
    one_postgres().expect("there is a Postgres")
}

#[tokio::test]
async fn the_partitions_of_a_day_of_which_nothing_is_left_are_dropped() {
    const DAY_MS: i64 = 86_400_000;
    let Some(one) = one_postgres() else { return };
    let store = one.open_postgres().await;
    let day = START_MS / DAY_MS;
    let exists = async |day: i64| {
        let sql = "SELECT to_regclass('hookbox.events_' || $1) IS NOT NULL
                       AND to_regclass('hookbox.settled_' || $1) IS NOT NULL";
        let row =
            store.reads.client().await.unwrap().query_one(sql, &[&day.to_string()]).await.unwrap();
        row.get::<_, bool>(0)
    };
    store.append(event("order.paid", &[])).await.unwrap();
    one.clock.set((day + 2) * DAY_MS);
    let keep = |days: u64| Keep {
        events: Duration::from_secs(days * 86_400),
        payloads: Duration::MAX,
        dedupe_keys: Duration::ZERO,
        audit: Duration::MAX,
    };
    while store.sweep(keep(2)).await.unwrap() {}
    assert!(exists(day).await, "it has an event, and the day may not be over");
    // The host may be making the partitions of the days to come at that moment.
    while exists(day).await {
        store.sweep(keep(1)).await.unwrap();
    }
    assert!(exists(day + 1).await);
    assert_eq!(store.stats().await.unwrap().events, 0);
    store.append(event("order.paid", &[])).await.unwrap();
}

#[tokio::test]
async fn the_database_itself_keeps_entries_of_the_audit_log_as_they_are() {
    let Some(one) = one_postgres() else { return };
    let store = one.open_postgres().await;
    let actor = Actor { name: "jo".into(), role: "operator", via: Via::Command };
    store.note(AuditNote::new(actor, "plugins.pause", "audit", "")).await.unwrap();
    for sql in [
        "UPDATE hookbox.audit SET actor = 'ann'",
        "DELETE FROM hookbox.audit",
        "TRUNCATE hookbox.audit",
    ] {
        let refused = store.reads.client().await.unwrap().batch_execute(sql).await.unwrap_err();
        let said = refused.as_db_error().expect("the database says so").message();
        assert!(said.contains("before their time"), "{said}");
    }
    let (entries, _) = store.audit(AuditFilter::default(), 9, None).await.unwrap();
    assert_eq!(entries.len(), 1);
}

#[tokio::test]
async fn an_operation_that_cannot_be_read_hinders_no_other_and_can_be_cancelled() {
    let Some(one) = one_postgres() else { return };
    let admin = one.database().await.admin().await;
    let damages = [
        ("scope", "scope = '{\"tenant\":\"a\"}'"),
        ("action", "action = 'move'"),
        ("state", "state = 99"),
    ];
    let damage = async |id: OperationId, change: &str| {
        let sql = format!("UPDATE hookbox.operations SET {change} WHERE id = $1");
        assert_eq!(admin.execute(&sql, &[&id.0]).await.unwrap(), 1);
    };
    let store = one.open().await;
    let law = conformance::operations::an_unreadable_one_hinders_no_other_and_can_be_cancelled;
    law(store, &damages, damage).await;
}

#[tokio::test]
async fn damaged_headers_are_not_taken_for_none() {
    let Some(one) = one_postgres() else { return };
    let admin = one.database().await.admin().await;
    let damage = async |id: EventId, change: &str| {
        let sql = format!("UPDATE hookbox.events SET {change} WHERE id = $1");
        assert_eq!(admin.execute(&sql, &[&id.row()]).await.unwrap(), 1);
    };
    let law = conformance::operations::damaged_headers_are_not_taken_for_none;
    law(one.open().await, &["headers = 'x'", "headers = '{}'"], damage).await;
}

#[tokio::test]
async fn a_search_that_is_lost_replays_no_event_again() {
    let Some(one) = one_postgres() else { return };
    let admin = one.database().await.admin().await;
    let set_walk = async |id: OperationId, walk: Option<&str>| {
        let sql = "UPDATE hookbox.operations SET walk = $2 WHERE id = $1 AND NOT is_found";
        assert_eq!(admin.execute(sql, &[&id.0, &walk]).await.unwrap(), 1);
    };
    let law = conformance::operations::a_search_that_is_lost_replays_no_event_again;
    law(one.open().await, set_walk).await;
}

#[tokio::test]
async fn however_many_operations_are_unreadable_those_that_run_are_found() {
    let Some(one) = one_postgres() else { return };
    let admin = one.database().await.admin().await;
    let damage = async |id: OperationId| {
        let sql = "UPDATE hookbox.operations SET action = 'move' WHERE id = $1";
        assert_eq!(admin.execute(sql, &[&id.0]).await.unwrap(), 1);
    };
    let law = conformance::unreadable::however_many_are_unreadable_those_that_run_are_found;
    law(one.open().await, damage).await;
}
