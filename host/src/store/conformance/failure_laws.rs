//! The list of laws of groups of failures.

/// Makes a test of each law of `failures`.
macro_rules! failure_laws {
    ($harness:path) => {
        crate::store::conformance::cases! { $harness;
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
    };
}

pub(in crate::store) use failure_laws;
