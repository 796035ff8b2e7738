//! The laws of values, steps, and gatherings that this store keeps.

use crate::store::conformance::properties;

postgres_laws! {
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
    settle {
        outcome_emitted_events_and_writes_commit_together
        a_late_settlement_changes_nothing_at_all
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
    gatherings {
        the_members_of_a_join_complete_it_in_any_order
        a_join_whose_time_is_over_ends_late_and_once
        types_a_closing_event_or_no_need_at_all_complete_a_join
        a_duplicate_adds_nothing_to_a_join
        each_event_of_a_batch_is_in_exactly_one
        what_comes_while_a_gathering_ends_is_not_a_member
        a_cancelled_join_takes_no_more_members
        a_gathering_that_is_complete_is_leased_with_its_last_member
        a_member_that_comes_after_the_time_of_its_join_is_late
    }
    gathered_events {
        members_of_an_open_gathering_are_kept
        the_key_of_a_join_is_closed_for_its_time_whatever_retention_is
    }
    gathering_bounds {
        an_operator_neither_moves_a_gathering_nor_ends_it_by_a_retry
        a_gathering_has_at_most_ten_thousand_members
        the_last_member_is_read_however_many_there_are
    }
    time_limits {
        an_open_join_ends_by_the_present_time_limit
        a_batch_that_has_more_time_still_ends_when_it_is_quiet
        what_is_complete_or_has_ended_keeps_its_end
        a_time_limit_outlives_a_crash_and_moves_nothing_twice
        thousands_of_open_joins_are_moved_and_each_once
        of_two_calls_for_one_plugin_the_last_one_counts
    }
    client_keys {
        a_client_sets_what_is_as_it_expects_and_nothing_else
        a_client_deletes_a_value_and_its_bytes
        a_key_says_its_version_its_end_and_the_attempt_that_wrote_it
        a_value_of_a_client_has_a_time_to_live_and_conflicts_with_an_attempt
    }
    seeing_workflows {
        the_tree_of_a_join_names_its_members_of_other_trees
        open_gatherings_are_listed_until_they_end
    }
}

#[test]
fn each_key_of_a_join_ends_once_and_each_event_of_a_batch_is_in_one() {
    if hookbox_tools::cluster::programs().is_some() {
        properties::each_key_of_a_join_ends_once_and_each_event_of_a_batch_is_in_one(|| {
            super::one_postgres().expect("its programs are there")
        });
    }
}
