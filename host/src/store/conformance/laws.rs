//! The list of laws, and the macros that make a test of each.

/// Makes a test of every law that a store keeps without a disk. `$harness` is a function that makes
/// a harness with data of its own.
macro_rules! laws {
    ($harness:path) => {
        crate::store::conformance::cases! { $harness;
            append {
                what_was_appended_is_there_after_a_crash
                a_repeated_dedupe_key_creates_nothing_and_names_the_first_event
                either_of_two_keys_makes_a_duplicate
                a_duplicate_spends_its_token_for_the_event_that_it_repeats
                a_key_of_one_source_means_nothing_to_another
                a_key_that_an_event_has_twice_is_one_key
                a_key_is_known_however_many_events_came_after_it
                of_a_thousand_concurrent_appends_of_one_key_one_creates_an_event
                an_append_whose_caller_has_gone_is_kept
                a_delayed_event_waits_it_is_due
                a_delay_beyond_all_time_is_no_lease
                of_the_delays_of_an_event_and_of_a_route_the_longer_one_counts
                an_event_without_targets_is_unrouted
                ids_grow_when_the_clock_steps_back
            }
            append_all {
                the_events_of_a_request_are_stored_in_their_order
                no_events_are_stored_as_none
                each_event_of_a_request_is_a_duplicate_for_itself
                of_a_key_that_a_request_has_twice_the_first_event_counts
                a_request_whose_caller_has_gone_is_kept_whole
            }
            on_insert {
                a_delivery_with_a_free_permit_is_leased_on_insert
                without_a_free_permit_a_delivery_is_ready_and_its_plugin_is_notified
                a_delayed_delivery_is_not_leased_on_insert_and_its_plugin_is_notified
                an_emitted_event_is_leased_on_insert
                a_replayed_delivery_is_leased_on_insert
                a_lease_on_insert_that_is_settled_frees_its_permit
                a_duplicate_takes_no_permit
                what_was_leased_on_insert_is_taken_up_after_a_crash
            }
            lease {
                a_delivery_is_leased_to_one_worker_at_a_time
                a_lease_holds_the_whole_event
                never_are_more_leased_than_there_are_permits
                what_is_due_first_is_leased_first
                a_queue_leases_its_own_plugins_deliveries_only
                next_due_tells_when_to_ask_again
                a_body_that_is_larger_than_a_call_leases_is_leased_alone
                leases_whose_caller_has_gone_are_given_back
                leases_that_were_answered_to_nobody_are_given_back
                a_leased_delivery_shows_no_due_time
            }
            settle {
                a_lease_is_settled_at_most_once
                outcome_emitted_events_and_writes_commit_together
                a_late_settlement_changes_nothing_at_all
                what_a_settlement_emits_is_there_once_after_a_crash
                a_retry_waits_its_time
                a_dead_letter_is_not_leased
                a_lease_given_back_does_not_spend_the_attempt
                a_lease_given_back_leaves_no_record_in_the_way
                a_lease_given_back_for_later_waits
                a_permit_is_free_again_when_the_settlement_is_durable
                a_retry_beyond_all_time_is_no_lease
                every_attempt_is_recorded_under_its_number
                a_spent_attempt_without_a_record_is_counted
            }
            seeing {
                every_open_delivery_names_what_it_waits_for
                the_attempt_that_ran_when_its_delivery_was_cancelled_is_known
                the_tree_of_an_event_is_the_same_from_each_of_its_members
                a_tree_is_read_in_pages_that_follow_one_another
                a_tree_shows_what_attempts_used_and_the_first_of_their_requests
            }
            tree {
                a_tree_over_its_budget_is_a_dead_letter_that_names_key_and_root
                the_bytes_of_a_tree_are_bounded_as_well
                an_attempt_over_the_budget_writes_no_key
                a_tree_is_counted_on_after_a_crash
                trees_do_not_count_for_each_other
                a_replay_adds_to_the_tree_of_its_event
                the_mark_of_a_tree_is_another_one_once_it_stands_otherwise
                all_that_is_open_of_a_tree_is_cancelled_from_any_of_its_events
            }
            recover {
                a_crash_does_not_count_the_attempt_and_makes_the_delivery_due_again
                a_settlement_from_before_the_crash_is_lost
                a_zombie_cannot_settle_the_lease_that_replaced_its_own
                a_delivery_that_was_running_in_two_crashes_is_quarantined
                what_was_held_and_not_running_is_due_again_without_a_crash
                an_attempt_that_has_its_verdict_is_running_no_more
                what_was_not_running_stays_in_the_quarantine_queue
                what_was_running_in_a_crash_is_leased_from_a_queue_of_its_own
                the_quarantine_queue_leases_named_plugins_only
                what_is_settled_leaves_the_quarantine_queue
                what_is_given_back_stays_in_the_quarantine_queue
                what_nobody_held_is_not_touched
                a_store_that_was_closed_has_nothing_to_recover
            }
            operator {
                a_moved_delivery_is_another_plugins_at_the_same_time
                what_runs_or_is_settled_cannot_be_moved
                a_plugin_that_has_an_event_gets_it_from_no_other
                what_is_moved_leaves_the_quarantine_queue
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
                what_does_not_exist_is_not_found
                an_event_has_a_bounded_number_of_deliveries
            }
            bulk {
                a_bulk_move_takes_what_is_ready_or_waits_once
                of_two_deliveries_of_an_event_one_is_moved_and_one_is_counted
                a_bulk_retry_takes_the_dead_that_match
                a_bulk_retry_takes_what_waits_or_was_ended_only_when_asked
                what_fails_again_during_a_bulk_retry_has_had_its_chance
                a_bulk_cancel_takes_all_that_is_open_and_nothing_else
                a_bulk_change_takes_what_its_filter_says
                what_comes_after_a_bulk_change_has_begun_is_not_meant
                what_comes_back_behind_the_walk_is_cancelled_as_well
                a_bulk_discard_takes_the_dead_that_match
                a_preview_counts_and_changes_nothing
            }
            approvals {
                an_approval_is_there_after_a_crash
                an_admitted_file_takes_the_place_of_everything_before
                another_approval_takes_the_place_of_one_that_was_not_used
                an_approval_that_is_over_leaves_what_ran_last
                what_ran_last_can_be_approved_like_any_other_file
                a_plugin_that_is_forgotten_leaves_the_others
            }
            audit {
                a_change_has_an_entry_that_says_who_did_what
                a_change_that_is_refused_has_no_entry
                of_a_change_of_many_the_entries_count_each_delivery_once
                a_request_that_is_repeated_with_its_key_does_nothing_again
                an_answer_is_kept_for_its_request_and_its_time
                entries_are_found_by_what_is_asked_and_in_pages
                entries_are_kept_for_their_time_and_then_deleted
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
            history {
                what_was_kept_of_an_owner_is_read_in_order_also_after_a_crash
                of_samples_the_last_fourteen_days_are_kept
            }
            schedules {
                of_many_hosts_that_make_one_tick_one_stores_its_event
                a_tick_its_event_and_the_next_tick_are_there_after_a_crash
                a_tick_is_skipped_while_a_delivery_of_the_last_one_is_open
                what_is_skipped_is_recorded_with_its_reason
                a_schedule_that_has_changed_makes_no_old_tick
            }
            kv {
                a_written_key_is_read_back_after_a_crash
                a_key_that_changed_meanwhile_is_a_conflict
                a_key_that_appeared_meanwhile_is_a_conflict
                a_conflict_does_not_spend_the_attempt
                a_late_settlement_is_lost_rather_than_a_conflict
                plugins_do_not_see_each_others_keys
                a_deleted_key_is_gone_and_its_bytes_with_it
                a_key_written_twice_holds_the_last_value
                a_counter_incremented_by_n_events_reads_n_after_kill_9_with_and_without_add
                an_addition_conflicts_with_nothing_and_stays_at_the_limit
                an_addition_to_what_is_no_number_is_an_error_that_leaves_nothing
                keys_are_listed_in_the_order_of_their_bytes
                a_list_of_keys_that_changed_meanwhile_is_a_conflict
                several_plugins_write_to_one_bucket_and_see_each_others_keys
                a_value_goes_when_nobody_has_written_it_for_its_time
            }
            steps {
                a_recorded_step_is_never_run_again_for_its_delivery_whatever_crashes
                the_first_result_under_a_name_stays
                a_record_of_an_attempt_that_lost_its_lease_is_refused
                a_delivery_that_is_done_keeps_no_step
                what_can_be_retried_goes_on_from_its_steps_unless_it_is_to_begin_anew
                a_replay_and_another_plugin_begin_without_steps
                a_swept_event_leaves_no_step
                a_delivery_that_asks_to_be_called_again_spends_no_attempt_and_loses_no_event
                of_a_cancelled_delivery_that_asks_to_be_called_again_only_the_attempt_is_stored
                a_bulk_retry_that_begins_anew_drops_every_step
            }
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
            counts {
                counts_follow_every_move_of_a_delivery
                counts_are_there_after_a_crash
                duplicates_are_counted
                a_duplicate_is_counted_on_the_event_that_it_repeats
            }
            changes {
                what_changed_is_told_once_it_is_durable
                hints_that_nobody_takes_become_one
                whoever_falls_behind_is_told_to_look_at_everything
            }
            close {
                a_closed_store_answers_nothing
            }
        }
        mod clock {
            use crate::store::conformance::clock;

            #[test]
            fn what_is_ready_has_no_time_to_wait_for() {
                clock::what_is_ready_has_no_time_to_wait_for($harness);
            }

            #[test]
            fn no_wait_is_longer_because_the_clock_was_set() {
                clock::no_wait_is_longer_because_the_clock_was_set($harness);
            }

            #[test]
            fn filters_go_by_the_times_of_events() {
                clock::filters_go_by_the_times_of_events($harness);
            }

            #[test]
            fn nothing_is_deleted_because_of_a_jump_until_it_is_accepted() {
                clock::nothing_is_deleted_because_of_a_jump_until_it_is_accepted($harness);
            }

            #[test]
            fn nothing_is_deleted_because_of_a_jump_until_it_has_stood_for_a_day() {
                clock::nothing_is_deleted_because_of_a_jump_until_it_has_stood_for_a_day($harness);
            }

            #[test]
            fn a_glitch_changes_no_window() {
                clock::a_glitch_changes_no_window($harness);
            }
        }
        mod properties {
            #[test]
            fn pages_with_filters_return_every_row_exactly_once() {
                use crate::store::conformance::properties;
                properties::pages_with_filters_return_every_row_exactly_once($harness);
            }

            #[test]
            fn any_sequence_of_calls_ends_as_in_the_model() {
                use crate::store::conformance::properties;
                properties::any_sequence_of_calls_ends_as_in_the_model($harness);
            }
        }
    };
}

/// Makes a test of every law about a disk that refuses or fails.
macro_rules! disk_laws {
    ($harness:path) => {
        crate::store::conformance::cases! { $harness;
            disk {
                a_store_tells_the_place_that_it_takes_on_its_disk
                a_full_disk_refuses_appends_until_it_has_room
                a_disk_that_refuses_writes_is_one_that_is_full
                a_full_disk_delays_settlements
                an_append_that_a_full_disk_refused_has_taken_no_key
                of_a_request_that_the_disk_refuses_nothing_is_stored
                settlements_that_wait_for_the_disk_go_before_appends
                a_lease_on_insert_of_a_batch_that_failed_frees_its_permit
                a_full_disk_refuses_leases_and_frees_their_permits
                an_io_error_acknowledges_nothing_and_ends_the_store
                what_was_acknowledged_before_an_io_error_is_there
                an_approval_that_a_full_disk_refused_is_none
                a_store_can_be_closed_on_a_full_disk
                a_full_disk_refuses_a_change_together_with_its_entry
            }
        }
    };
}

macro_rules! cases {
    ($harness:path; $($verb:ident { $($law:ident)+ })+) => {
        $(mod $verb {
            $(#[tokio::test]
            async fn $law() {
                crate::store::conformance::$verb::$law($harness()).await;
            })+
        })+
    };
}

pub(in crate::store) use {cases, disk_laws, laws};
