//! The geometry of a waterfall: the stretches of time that are drawn or cut, and their places.

/// The part of the axis that a cut takes, in percent of what is drawn.
const CUT_PART: f64 = 0.18;

/// The part that all cuts take at most, in the same way.
const ALL_CUTS_PART: f64 = 0.56;

/// The room that the duration of an attempt takes, in percent: stretches of time are at least as
/// broad where they are few.
const BAR_LABEL_PART: f64 = 8.5;

/// A piece of the axis: a stretch of time and where it lies, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    pub(super) from_ms: f64,
    pub(super) to_ms: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) is_cut: bool,
}

/// The time from the first bar to the last one, cut where nothing happens for longer than `long`.
pub(super) fn stretches(spans: &[(f64, f64)], long: f64) -> Vec<(f64, f64, bool)> {
    let mut found: Vec<(f64, f64, bool)> = Vec::new();
    for (from, to) in spans {
        let Some(last) = found.last_mut() else {
            found.push((*from, *to, false));
            continue;
        };
        let end = last.1;
        if *from - end > long {
            found.push((end, *from, true));
            found.push((*from, *to, false));
        } else {
            last.1 = end.max(*to);
        }
    }
    found
}

/// Where the stretches lie on the axis.
pub(super) fn place(stretches: Vec<(f64, f64, bool)>) -> Vec<Piece> {
    let cuts = stretches.iter().filter(|(_, _, is_cut)| *is_cut).count();
    let drawn: f64 =
        stretches.iter().filter(|(_, _, is_cut)| !is_cut).map(|(from, to, _)| to - from).sum();
    // A wait that is cut is broader than most bars, and much is left for what happened.
    let cut = CUT_PART.min(ALL_CUTS_PART / cuts.max(1) as f64) * 100.0;
    let room = 100.0 - cut * cuts as f64;
    // Every stretch is seen, also one that took no time; a few can say how long they were.
    let count = (stretches.len() - cuts).max(1) as f64;
    let seen = room * 0.2 / count;
    let least = if BAR_LABEL_PART * count <= room * 0.8 { seen.max(BAR_LABEL_PART) } else { seen };
    let share = room - least * count;
    let mut left = 0.0;
    let mut pieces = Vec::with_capacity(stretches.len());
    for (from_ms, to_ms, is_cut) in stretches {
        let part = if drawn > 0.0 { (to_ms - from_ms) / drawn } else { 0.0 };
        let width = if is_cut { cut } else { least + share * part };
        pieces.push(Piece { from_ms, to_ms, left, right: left + width, is_cut });
        left += width;
    }
    pieces
}
