//! The judging: which lines hold, what is known, what another try excuses.

use std::time::Duration;

use super::*;

const LINE: Acks = Acks { times: 5.0, or_ms: 40.0 };

fn summary(answered: f64, p99_ms: f64) -> Summary {
    Summary { sent: 300, answered, ack_ms: [1.0, p99_ms] }
}

fn good(alone_ms: f64, answered: f64, beside_ms: f64) -> Measured {
    let figures = LINE.figures(&summary(100.0, alone_ms), &summary(answered, beside_ms)).to_vec();
    Measured { figures, tries: 1, ..Measured::default() }
}

fn count(value: f64) -> Measured {
    let figures = vec![Figure::new("events of the tree", value, "", Wanted::AtMost(10.0))];
    Measured { figures, tries: 1, ..Measured::default() }
}

fn verdict(measured: &Measured) -> Verdict {
    measured.verdict("storm", &[])
}

#[test]
fn a_latency_is_judged_by_that_of_alone_or_by_the_floor() {
    assert_eq!(verdict(&good(2.0, 100.0, 40.0)), Verdict::Holds);
    assert_eq!(verdict(&good(2.0, 100.0, 40.1)), Verdict::Beyond);
    assert_eq!(verdict(&good(9.0, 100.0, 45.0)), Verdict::Holds);
    assert_eq!(verdict(&good(9.0, 100.0, 45.1)), Verdict::Beyond);
}

#[test]
fn one_request_of_three_hundred_that_is_not_acknowledged_is_too_many() {
    let answer = |status| Answer {
        due: Duration::ZERO,
        status,
        latency: Duration::from_millis(3),
        id: None,
    };
    let mut answers = vec![answer(Some(200)); 299];
    for lost in [Some(503), None] {
        answers.push(answer(lost));
        let beside = Summary::of(&answers);
        let figures = LINE.figures(&summary(100.0, 1.0), &beside).to_vec();
        assert_eq!(
            verdict(&Measured { figures, ..Measured::default() }),
            Verdict::Beyond,
            "{beside:?}"
        );
        answers.pop();
    }
    assert_eq!(Summary::of(&answers).answered, 100.0);
}

#[test]
fn nothing_that_was_acknowledged_is_no_latency_that_holds() {
    let beside = Summary::of(&[]);
    let figures = LINE.figures(&summary(100.0, 1.0), &beside);
    assert!(figures.iter().all(|figure| !figure.holds()), "{figures:?}");
}

#[test]
fn what_is_known_not_to_hold_is_no_failure_and_excuses_no_other_line() {
    let known = [Known { attack: "storm", line: ACK_LINE, reason: "one fsync" }];
    assert_eq!(good(1.0, 100.0, 90.0).verdict("storm", &known), Verdict::Known);
    assert_eq!(good(1.0, 90.0, 90.0).verdict("storm", &known), Verdict::Beyond);
    assert_eq!(good(1.0, 100.0, 90.0).verdict("flood", &known), Verdict::Beyond);
    assert_eq!(good(1.0, 100.0, 9.0).verdict("storm", &known), Verdict::Holds);
}

#[test]
fn another_try_excuses_a_latency() {
    let slow = good(1.0, 100.0, 90.0);
    assert!(slow.is_excused());
    let again = slow.again(good(1.0, 100.0, 9.0));
    assert_eq!((verdict(&again), again.tries), (Verdict::Holds, 2));
}

#[test]
fn another_try_excuses_no_count() {
    let many = count(11.0);
    assert!(!many.is_excused());
    let again = many.again(count(9.0));
    assert_eq!((verdict(&again), again.figures.len()), (Verdict::Beyond, 1));
    assert_eq!(verdict(&count(9.0).again(count(11.0))), Verdict::Beyond);
}

#[test]
fn an_attack_that_could_not_be_measured_holds_no_line_and_gets_another_try() {
    let failed = Measured::failed("the host did not start".to_owned());
    assert_eq!((verdict(&failed), failed.is_excused()), (Verdict::Beyond, true));
    assert_eq!(verdict(&failed.again(good(1.0, 100.0, 9.0))), Verdict::Holds);
}

#[test]
fn a_line_goes_by_the_calmer_of_two_times_alone() {
    let (calm, stalled) = (summary(100.0, 9.0), summary(100.0, 1_680.0));
    for alone in [calm.clone().calmer(stalled.clone()), stalled.calmer(calm)] {
        assert!(!LINE.figures(&alone, &summary(100.0, 46.0))[1].holds(), "{alone:?}");
    }
}
