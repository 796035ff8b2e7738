//! The list of laws of what operators change beside deliveries.

/// Makes a test of each law of `pauses`.
macro_rules! operator_laws {
    ($harness:path) => {
        crate::store::conformance::cases! { $harness;
            pauses {
                a_pause_is_there_after_a_crash_and_goes_when_it_is_over
                a_pause_has_an_entry_and_the_end_of_none_has_not
                what_is_paused_is_known_before_the_change_is_answered
            }
        }
    };
}

pub(in crate::store) use operator_laws;
