//! Sources that refuse many requests: more than usual, or a large part of what comes.

use std::collections::BTreeMap;

use super::span::{TroubleSpan, trend};
use super::{OpenTrouble, TroubleKind};
use crate::admin::state::Admin;
use crate::ingest::{RefusalNote, RefusalReason};
use crate::series::{Meter, OwnerKind, Point, STEP_MS, Sampled, SeriesOwner};
use crate::text::grouped;

/// Ten minutes in samples.
const TEN_MINUTES: usize = 60;

/// Fewer refused requests in ten minutes are no trouble.
const FEW_REFUSED: u64 = 5;

/// More than so many times the usual is trouble.
const USUAL_TIMES: u64 = 2;

/// So many of a hundred requests that are refused are trouble, however usual that is.
const REFUSED_PERCENT: u64 = 20;

/// The requests of a source in the last ten minutes, and before.
#[derive(Debug, PartialEq, Eq)]
struct Refusing {
    refused: u64,
    /// All requests.
    requests: u64,
    /// Those refused in ten minutes of the time before, up to an hour ago.
    usual: u64,
}

impl Refusing {
    /// Of samples, the oldest of which is first.
    fn of(samples: &[Sampled]) -> Self {
        let sum = |samples: &[Sampled], kind: usize| -> u64 {
            samples.iter().map(|sampled| u64::from(sampled.point.counts[kind])).sum()
        };
        let (before, now) = samples.split_at(samples.len().saturating_sub(TEN_MINUTES));
        let refused = sum(now, Meter::REFUSED);
        let taken = sum(now, Meter::ACCEPTED) + sum(now, Meter::DUPLICATE);
        // A host that has just begun knows less than ten minutes of before.
        let tens = before.len().max(TEN_MINUTES) as u64;
        let usual = (sum(before, Meter::REFUSED) * TEN_MINUTES as u64).div_ceil(tens);
        Self { refused, requests: refused + taken, usual }
    }

    fn is_trouble(&self) -> bool {
        let is_unusual = self.refused > USUAL_TIMES * self.usual;
        let is_much = self.refused * 100 >= REFUSED_PERCENT * self.requests;
        self.refused > FEW_REFUSED && (is_unusual || is_much)
    }
}

/// Every source that refuses many requests.
pub(super) fn all(admin: &Admin) -> Vec<OpenTrouble> {
    let (config, now_ms) = (admin.config.load(), admin.clock.now_ms());
    let mut found = Vec::new();
    for name in config.sources.keys() {
        let owner = SeriesOwner { kind: OwnerKind::Source, name: Some(name.as_str().into()) };
        let samples = admin.series.window(&owner);
        let refusing = Refusing::of(&samples);
        if !refusing.is_trouble() {
            continue;
        }
        let since_ms = now_ms - TEN_MINUTES as i64 * STEP_MS;
        let why = reason(&admin.activity.refusals(name), since_ms)
            .map(|reason| format!(": {}", reason.name()));
        let [refused, requests, usual] =
            [refusing.refused, refusing.requests, refusing.usual].map(grouped);
        found.push(OpenTrouble {
            is_grave: false,
            about: TroubleKind::Refusals,
            part: "source",
            name: name.clone(),
            says: format!(
                "{refused} of {requests} requests refused in the last 10 min{} (usual: {usual})",
                why.unwrap_or_default()
            ),
            effect: "what the provider sent is not stored",
            span: TroubleSpan::of(&samples, |point| point.counts[Meter::REFUSED] > 0, now_ms),
            later: None,
            trend: trend(&samples, now_ms, |point: &Point| point.counts[Meter::REFUSED]),
        });
    }
    found
}

/// The most frequent reason of refusals since a time, among those that are kept: the newest.
fn reason(refusals: &[RefusalNote], since_ms: i64) -> Option<RefusalReason> {
    let mut counts = BTreeMap::<RefusalReason, usize>::new();
    for note in refusals.iter().filter(|note| note.at_ms >= since_ms) {
        *counts.entry(note.reason).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(reason, _)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour in which these are accepted and refused in each ten seconds, `now` in the last ten
    /// minutes.
    fn hour(before: (u32, u32), now: (u32, u32)) -> Refusing {
        let sampled = |step: i64| {
            let mut point = Point::default();
            let (accepted, refused) = if step < 300 { before } else { now };
            (point.counts[Meter::ACCEPTED], point.counts[Meter::REFUSED]) = (accepted, refused);
            Sampled { at_ms: step * STEP_MS, point }
        };
        Refusing::of(&(0..360).map(sampled).collect::<Vec<_>>())
    }

    #[test]
    fn a_source_that_refuses_all_the_time_stays_trouble() {
        let all = hour((0, 1), (0, 1));
        assert_eq!(all, Refusing { refused: 60, requests: 60, usual: 60 });
        assert!(all.is_trouble(), "a wrong secret does not become usual");
        assert!(hour((4, 1), (4, 1)).is_trouble(), "a fifth");
        assert!(!hour((9, 1), (9, 1)).is_trouble(), "a tenth, as ever");
        assert!(hour((9, 1), (27, 3)).is_trouble(), "more than twice the usual");
        assert!(!hour((9, 1), (18, 2)).is_trouble());
    }

    #[test]
    fn few_refusals_are_no_trouble_and_a_host_that_has_just_begun_knows_no_usual() {
        assert!(!Refusing::of(&[]).is_trouble());
        let mut point = Point::default();
        point.counts[Meter::REFUSED] = 5;
        let of = |point| Refusing::of(&[Sampled { at_ms: 0, point }]);
        assert!(!of(point).is_trouble());
        point.counts[Meter::REFUSED] = 6;
        assert_eq!(of(point), Refusing { refused: 6, requests: 6, usual: 0 });
        assert!(of(point).is_trouble());
    }

    #[test]
    fn the_reason_is_that_of_the_last_minutes() {
        let note = |at_ms, reason| RefusalNote {
            at_ms,
            reason,
            client: String::new(),
            body_bytes: None,
            headers: Vec::new(),
            offset_s: None,
            hint: None,
        };
        let [first, second] = [RefusalReason::ALL[0], RefusalReason::ALL[1]];
        let mut notes = vec![note(1_000, second)];
        notes.extend((0..9).map(|n| note(n, first)));
        assert_eq!(reason(&notes, 500), Some(second));
        assert_eq!(reason(&notes, 0), Some(first));
        assert_eq!(reason(&notes, 2_000), None);
    }
}
