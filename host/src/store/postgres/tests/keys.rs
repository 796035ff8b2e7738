//! The laws of keys, tags, dead letters and trees.

use super::{OnePostgres, one_postgres};
use crate::store::conformance::properties;

postgres_laws! {
    append_all {
        the_events_of_a_request_are_stored_in_their_order
        no_events_are_stored_as_none
        each_event_of_a_request_is_a_duplicate_for_itself
        of_a_key_that_a_request_has_twice_the_first_event_counts
        a_request_whose_caller_has_gone_is_kept_whole
    }
    append {
        an_event_without_targets_is_unrouted
    }
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
    tree {
        a_tree_over_its_budget_is_a_dead_letter_that_names_key_and_root
        the_bytes_of_a_tree_are_bounded_as_well
        an_attempt_over_the_budget_writes_no_key
        a_tree_is_counted_on_after_a_crash
        trees_do_not_count_for_each_other
    }
    seeing_workflows {
        what_waits_behind_its_key_or_for_members_names_it
    }
}

#[test]
fn of_one_key_at_most_per_key_are_open_and_none_waits_while_fewer_are() {
    if one_postgres().is_some() {
        properties::of_one_key_at_most_per_key_are_open_and_none_waits_while_fewer_are(present);
    }
}

fn present() -> OnePostgres {
    one_postgres().expect("asked for before")
}
