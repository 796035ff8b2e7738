//! The list of laws of workflows, and of what operators delete.

/// Makes a test of every law of workflows.
macro_rules! workflow_laws {
    ($harness:path) => {
        crate::store::conformance::cases! { $harness;
            key_order {
                the_next_of_a_key_is_open_when_the_one_before_has_ended
                a_retry_keeps_its_place_and_its_key_waits_for_it
                as_many_of_a_key_are_open_as_its_policy_says
                the_order_of_a_key_outlives_a_crash
                the_next_of_a_key_is_leased_when_the_one_before_is_settled
                a_delayed_delivery_enters_its_key_when_its_delay_is_over
                thousands_that_enter_one_key_late_keep_nobody_waiting
                a_keys_backlog_delays_no_other_key
                a_dead_letter_lets_the_next_one_go_unless_it_holds_its_key
                a_held_key_goes_on_when_its_dead_letter_is_discarded
                attempts_of_a_key_are_its_interval_apart
                one_that_finds_too_many_waiting_is_a_dead_letter_at_once
                what_an_operator_ends_lets_its_key_go_on
                a_moved_delivery_has_the_key_of_its_new_plugin
                the_root_of_a_tree_is_a_key
                any_text_is_a_key
            }
            key_starts {
                an_operator_starts_no_attempt_of_a_key_too_early
                a_delayed_delivery_that_is_ended_does_not_hold_its_key
                a_retry_that_is_ended_holds_its_key_no_longer_than_its_rate
                after_a_crash_no_attempt_of_a_key_starts_too_early
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
            payloads {
                after_its_time_an_event_loses_its_data_and_keeps_its_place
                what_may_be_needed_keeps_its_data_until_it_is_not
                events_are_emptied_a_bounded_number_at_a_time
            }
            cancel {
                an_event_cancels_what_waits_of_its_subject_and_nothing_else
                what_comes_after_an_event_is_not_cancelled_by_it
                a_delivery_that_an_acknowledged_event_has_cancelled_leaves_nothing
                what_has_ended_is_not_cancelled_and_a_retry_can_be_again
                an_emitted_event_cancels_with_its_settlement
                what_is_cancelled_lets_its_key_go_on
                of_what_an_event_cancels_none_is_leased_by_the_end_of_another
                a_settlement_opens_nothing_that_its_own_events_cancel
                an_attempt_that_read_what_changed_is_recorded_if_it_was_cancelled
            }
            deaths {
                an_event_that_tells_of_a_dead_letter_is_stored_with_it
                a_dead_letter_of_the_stores_own_is_told_of_by_a_delivery
                replays_of_one_event_die_and_are_told_of_each_for_itself
                nobody_is_told_where_no_route_asks_for_it
                what_tells_of_a_dead_letter_is_not_held_against_its_tree
            }
        }
        crate::store::conformance::cases! { $harness;
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
                a_gathering_has_at_most_ten_thousand_members
                the_last_member_is_read_however_many_there_are
                an_operator_neither_moves_a_gathering_nor_ends_it_by_a_retry
            }
            time_limits {
                an_open_join_ends_by_the_present_time_limit
                a_batch_that_has_more_time_still_ends_when_it_is_quiet
                what_is_complete_or_has_ended_keeps_its_end
                a_time_limit_outlives_a_crash_and_moves_nothing_twice
                thousands_of_open_joins_are_moved_and_each_once
                of_two_calls_for_one_plugin_the_last_one_counts
            }
            seeing_workflows {
                what_waits_behind_its_key_or_for_members_names_it
                the_tree_of_a_join_names_its_members_of_other_trees
                open_gatherings_are_listed_until_they_end
            }
        }
        mod cancel_properties {
            #[test]
            fn any_sequence_of_calls_and_cancelling_events_ends_as_in_the_model() {
                use crate::store::conformance::properties;
                properties::any_sequence_of_calls_and_cancelling_events_ends_as_in_the_model(
                    $harness,
                );
            }
        }
        mod gathering_properties {
            #[test]
            fn each_key_of_a_join_ends_once_and_each_event_of_a_batch_is_in_one() {
                use crate::store::conformance::properties;
                properties::each_key_of_a_join_ends_once_and_each_event_of_a_batch_is_in_one(
                    $harness,
                );
            }
        }
        mod key_properties {
            #[test]
            fn of_one_key_at_most_per_key_are_open_and_none_waits_while_fewer_are() {
                use crate::store::conformance::properties;
                properties::of_one_key_at_most_per_key_are_open_and_none_waits_while_fewer_are(
                    $harness,
                );
            }
        }
    };
}

pub(in crate::store) use workflow_laws;
