//! The list of laws of what operators change beside deliveries, and of what is traced.

/// Makes a test of each of these laws.
macro_rules! operator_laws {
    ($harness:path) => {
        crate::store::conformance::cases! { $harness;
            due {
                due_times_are_of_what_nobody_holds
            }
            edits {
                an_edited_event_and_the_one_it_was_made_of_name_each_other_after_a_crash
                of_an_event_that_is_gone_nothing_is_made
                an_event_that_is_asked_for_twice_with_one_key_is_made_once
            }
            client_keys {
                a_client_sets_what_is_as_it_expects_and_nothing_else
                a_client_deletes_a_value_and_its_bytes
                a_key_says_its_version_its_end_and_the_attempt_that_wrote_it
                a_value_of_a_client_has_a_time_to_live_and_conflicts_with_an_attempt
            }
            log_positions {
                a_position_is_there_after_a_crash_and_is_that_of_one_source
            }
            pauses {
                a_pause_is_there_after_a_crash_and_goes_when_it_is_over
                a_pause_has_an_entry_and_the_end_of_none_has_not
                what_is_paused_is_known_before_the_change_is_answered
            }
            traces {
                the_span_that_made_an_event_is_there_after_a_crash_and_comes_with_the_lease
                the_span_of_an_emitted_event_learns_its_id_when_it_is_stored
            }
        }
    };
}

pub(in crate::store) use operator_laws;
