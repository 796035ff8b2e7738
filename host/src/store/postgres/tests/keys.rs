//! The laws of keys, tags, dead letters and trees.

postgres_laws! {
    append_all {
        no_events_are_stored_as_none
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
        one_that_finds_too_many_waiting_is_a_dead_letter_at_once
        the_root_of_a_tree_is_a_key
        any_text_is_a_key
    }
    cancel {
        an_event_cancels_what_waits_of_its_subject_and_nothing_else
        what_comes_after_an_event_is_not_cancelled_by_it
        an_emitted_event_cancels_with_its_settlement
        what_is_cancelled_lets_its_key_go_on
    }
    deaths {
        a_dead_letter_of_the_stores_own_is_told_of_by_a_delivery
        nobody_is_told_where_no_route_asks_for_it
        what_tells_of_a_dead_letter_is_not_held_against_its_tree
    }
    tree {
        a_tree_over_its_budget_is_a_dead_letter_that_names_key_and_root
        the_bytes_of_a_tree_are_bounded_as_well
        a_tree_is_counted_on_after_a_crash
        trees_do_not_count_for_each_other
    }
}
