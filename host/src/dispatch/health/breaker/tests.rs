//! The laws of the circuit breaker, by example and by chance.

use proptest::prelude::*;

use super::*;

const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, pause_ms: 1_000 };

/// A breaker that opened at `now_ms`.
fn open(now_ms: u64) -> CircuitBreaker {
    let mut breaker = CircuitBreaker::new(Some(POLICY));
    for _ in 1..POLICY.failures {
        assert_eq!(breaker.ended(BreakerSignal::Failure, Some("no"), now_ms), None);
    }
    assert_eq!(
        breaker.ended(BreakerSignal::Failure, Some("no"), now_ms),
        Some(BreakerChange::Opened)
    );
    breaker
}

fn probe(breaker: &mut CircuitBreaker, now_ms: u64) -> u64 {
    let BreakerAdmission::Probe(number) = breaker.admit(now_ms) else {
        panic!("no probe: {breaker:?}")
    };
    number
}

#[test]
fn what_fails_counts_and_what_refuses_or_asks_for_time_does_not() {
    for outcome in Outcome::ALL {
        let expected = match outcome {
            Outcome::Ok => BreakerSignal::Success,
            Outcome::Reject | Outcome::Crash | Outcome::Again => BreakerSignal::Neutral,
            _ => BreakerSignal::Failure,
        };
        assert_eq!(BreakerSignal::of(outcome, false), expected, "{outcome:?}");
    }
    assert_eq!(BreakerSignal::of(Outcome::Retry, true), BreakerSignal::Neutral);
}

#[test]
fn failures_in_a_row_open_it_and_one_ok_closes_it() {
    let mut breaker = CircuitBreaker::new(Some(POLICY));
    for sign in [
        BreakerSignal::Failure,
        BreakerSignal::Failure,
        BreakerSignal::Success,
        BreakerSignal::Failure,
        BreakerSignal::Failure,
        BreakerSignal::Neutral,
    ] {
        assert_eq!(breaker.ended(sign, None, 5), None);
    }
    assert_eq!(
        breaker.ended(BreakerSignal::Failure, Some("the third"), 5),
        Some(BreakerChange::Opened)
    );
    let seen = breaker.snapshot();
    assert_eq!(
        (seen.failures, seen.last_error.as_deref(), seen.open),
        (3, Some("the third"), Some(1_005))
    );
    assert_eq!(breaker.ended(BreakerSignal::Neutral, None, 6), None);
    assert_eq!(breaker.ended(BreakerSignal::Success, None, 7), Some(BreakerChange::Closed));
    assert_eq!(breaker.admit(7), BreakerAdmission::All);
    assert!(!breaker.is_troubled());
}

#[test]
fn one_attempt_begins_each_pause_counted_from_its_beginning() {
    let mut breaker = open(0);
    assert_eq!(breaker.admit(999), BreakerAdmission::NotBefore(1_000));
    let first = probe(&mut breaker, 1_000);
    assert_eq!(breaker.admit(1_500), BreakerAdmission::Reserved, "it has not begun");
    assert!(!breaker.begin(None, 1_500), "another one has to wait");
    assert!(breaker.begin(Some(first), 1_500));
    assert!(!breaker.begin(Some(first), 1_501), "it begins once");
    assert_eq!(breaker.admit(2_000), BreakerAdmission::NotBefore(2_500));
    assert_eq!(breaker.ended(BreakerSignal::Failure, None, 2_000), None, "it is open already");
    assert!(matches!(breaker.admit(2_500), BreakerAdmission::Probe(_)));
}

#[test]
fn a_probe_that_did_not_run_is_there_again() {
    let mut breaker = open(0);
    let waited = probe(&mut breaker, 5_000);
    breaker.take_back(waited, 5_000);
    let begun = probe(&mut breaker, 5_000);
    assert!(breaker.begin(Some(begun), 5_000));
    breaker.take_back(begun, 5_001);
    assert_eq!(
        breaker.admit(5_001),
        BreakerAdmission::NotBefore(5_001 + GIVE_BACK_DELAY_MS),
        "the host needs a moment"
    );
}

#[test]
fn a_probe_of_the_time_before_is_no_probe() {
    let mut breaker = open(0);
    let old = probe(&mut breaker, 1_000);
    breaker.ended(BreakerSignal::Success, None, 1_001);
    assert!(breaker.begin(Some(old), 1_002), "closed, it is like any other");
    for _ in 0..POLICY.failures {
        breaker.ended(BreakerSignal::Failure, None, 2_000);
    }
    let new = probe(&mut breaker, 3_000);
    assert!(!breaker.begin(Some(old), 3_000));
    breaker.take_back(old, 3_000);
    assert_eq!(breaker.admit(3_000), BreakerAdmission::Reserved, "the new one is still out");
    assert!(breaker.begin(Some(new), 3_000));
}

#[test]
fn a_new_file_or_policy_closes_it_and_forgets() {
    let mut breaker = open(0);
    assert_eq!(breaker.reset(Some(POLICY)), Some(BreakerChange::Closed));
    assert_eq!(breaker.snapshot().failures, 0);
    assert_eq!(breaker.reset(None), None);
    for _ in 0..1_000 {
        assert_eq!(breaker.ended(BreakerSignal::Failure, None, 0), None, "it is turned off");
    }
    assert_eq!(breaker.admit(0), BreakerAdmission::All);
}

#[test]
fn the_last_error_is_cut() {
    let mut breaker = CircuitBreaker::new(None);
    breaker.ended(BreakerSignal::Failure, Some(&"x".repeat(10_000)), 0);
    assert!(breaker.snapshot().last_error.unwrap().len() <= MAX_ERROR_BYTES);
}

/// A call of a breaker.
#[derive(Debug, Clone, Copy)]
enum Step {
    Passes(u64),
    Admit,
    BeginProbe,
    BeginOther,
    ReturnProbe,
    Ends(BreakerSignal),
    Renew,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u64..1_500).prop_map(Step::Passes),
        3 => Just(Step::Admit),
        3 => Just(Step::BeginProbe),
        1 => Just(Step::BeginOther),
        1 => Just(Step::ReturnProbe),
        // Mostly failures, or it is hardly ever open.
        8 => Just(Step::Ends(BreakerSignal::Failure)),
        1 => Just(Step::Ends(BreakerSignal::Success)),
        1 => Just(Step::Ends(BreakerSignal::Neutral)),
        1 => Just(Step::Renew),
    ];
    proptest::collection::vec(step, 0..200)
}

/// Whether attempts begin again. A probe is returned when its holder ends, at the latest; then
/// there is another one, for ever.
fn goes_on(breaker: &mut CircuitBreaker, given: Option<u64>, now_ms: u64) -> bool {
    if let Some(number) = given {
        breaker.take_back(number, now_ms);
    }
    let admission = breaker.admit(now_ms + 10 * POLICY.pause_ms);
    matches!(admission, BreakerAdmission::All | BreakerAdmission::Probe(_))
}

proptest! {
    #[test]
    fn while_it_is_open_no_two_attempts_begin_within_a_pause_and_it_never_sticks(steps in steps()) {
        let mut breaker = CircuitBreaker::new(Some(POLICY));
        // A simple model beside it: failures in a row, and what must not happen before when.
        let (mut now_ms, mut in_a_row) = (0u64, 0u32);
        let (mut not_before_ms, mut given) = (None::<u64>, None::<u64>);
        for step in steps {
            match step {
                Step::Passes(ms) => now_ms += ms,
                Step::Admit => match breaker.admit(now_ms) {
                    BreakerAdmission::All => prop_assert!(not_before_ms.is_none()),
                    BreakerAdmission::Probe(number) => {
                        prop_assert!(not_before_ms.is_some_and(|ms| now_ms >= ms));
                        given = Some(number);
                    }
                    BreakerAdmission::NotBefore(ms) => {
                        prop_assert!(not_before_ms.is_some() && ms > now_ms);
                    }
                    BreakerAdmission::Reserved => prop_assert!(given.is_some(), "nobody has it"),
                },
                Step::BeginProbe => {
                    let began = breaker.begin(given, now_ms);
                    if began && let Some(ms) = not_before_ms {
                        prop_assert!(now_ms >= ms, "{now_ms} is within the pause until {ms}");
                        not_before_ms = Some(now_ms + POLICY.pause_ms);
                    }
                }
                Step::BeginOther => prop_assert_eq!(breaker.begin(None, now_ms),
                    not_before_ms.is_none()),
                Step::ReturnProbe => if let Some(number) = given.take() {
                    breaker.take_back(number, now_ms);
                    // It did not run, so it does not count.
                    not_before_ms = not_before_ms.map(|ms| ms.min(now_ms));
                },
                Step::Ends(BreakerSignal::Failure) => {
                    in_a_row += 1;
                    let change = breaker.ended(BreakerSignal::Failure, None, now_ms);
                    let opens = in_a_row >= POLICY.failures && not_before_ms.is_none();
                    prop_assert_eq!(change, opens.then_some(BreakerChange::Opened));
                    if opens {
                        not_before_ms = Some(now_ms + POLICY.pause_ms);
                    }
                }
                Step::Ends(BreakerSignal::Neutral)
                    => prop_assert_eq!(breaker.ended(BreakerSignal::Neutral, None, now_ms), None),
                Step::Ends(BreakerSignal::Success) | Step::Renew => {
                    let change = match step {
                        Step::Renew => breaker.reset(Some(POLICY)),
                        _ => breaker.ended(BreakerSignal::Success, None, now_ms),
                    };
                    prop_assert_eq!(change, not_before_ms.map(|_| BreakerChange::Closed));
                    (in_a_row, not_before_ms) = (0, None);
                }
            }
            prop_assert_eq!(breaker.is_open(), not_before_ms.is_some());
        }
        prop_assert!(goes_on(&mut breaker, given, now_ms));
    }
}
