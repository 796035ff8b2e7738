//! Measurements of an attack, and whether its lines hold. Pure: figures in, a verdict out.

use super::client::Answer;
use crate::figures::{Figure, Wanted};
use crate::neighbours::percentiles;

/// How much of the good requests has to be acknowledged, in percent.
const ANSWERED: f64 = 99.9;

/// The names of the two lines about the good client.
pub(super) const ANSWERED_LINE: &str = "answered";
pub(super) const ACK_LINE: &str = "ack p99";

/// The most that the 99th percentile to the acknowledgement may be beside an attack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acks {
    /// Times that of alone.
    pub(super) times: f64,
    /// And in any case this, in milliseconds.
    pub(super) or_ms: f64,
}

/// Results of the good client's requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    pub(super) sent: usize,
    /// Acknowledged, in percent.
    pub(super) answered: f64,
    /// To the acknowledgement, of those that were: median and 99th percentile, in milliseconds.
    pub(super) ack_ms: [f64; 2],
}

/// Measurements of an attack.
#[derive(Debug, Clone, Default)]
pub(super) struct Measured {
    pub(super) alone: Option<Summary>,
    pub(super) beside: Option<Summary>,
    /// Each with what it has to be.
    pub(super) figures: Vec<Figure>,
    /// A remark for the reader.
    pub(super) notes: Vec<String>,
    /// CPU time of the attacker, of one core in percent.
    pub(super) attacker_percent: Option<f64>,
    pub(super) tries: u32,
}

/// A line that is not reached, and why: listed, and no failure.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) attack: &'static str,
    /// The name of the figure.
    pub(super) line: &'static str,
    pub(super) reason: &'static str,
}

/// The verdict on the lines of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Holds,
    /// A line that does not hold, and is known not to.
    Known,
    Beyond,
}

impl Verdict {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Known => "known",
            Self::Beyond => "beyond",
        }
    }
}

impl Summary {
    pub(super) fn of(answers: &[Answer]) -> Self {
        let acks = answers.iter().filter(|answer| answer.is_ack());
        let mut acks: Vec<f64> = acks.map(|answer| answer.latency.as_secs_f64() * 1e3).collect();
        let answered =
            if answers.is_empty() { 0.0 } else { acks.len() as f64 / answers.len() as f64 * 100.0 };
        let ack_ms = if acks.is_empty() { [f64::INFINITY; 2] } else { percentiles(&mut acks) };
        Self { sent: answers.len(), answered, ack_ms }
    }

    /// The result with the shorter 99th percentile: other work of the machine only makes a
    /// percentile longer, and a line by a longer one is no line.
    pub(super) fn calmer(self, other: Self) -> Self {
        if other.ack_ms[1] < self.ack_ms[1] { other } else { self }
    }
}

impl Acks {
    /// The lines about the good client.
    pub(super) fn figures(self, alone: &Summary, beside: &Summary) -> [Figure; 2] {
        let most_ms = (self.times * alone.ack_ms[1]).max(self.or_ms);
        [
            Figure::new(ANSWERED_LINE, beside.answered, "%", Wanted::AtLeast(ANSWERED)),
            Figure::new(ACK_LINE, beside.ack_ms[1], "ms", Wanted::AtMost(most_ms)),
        ]
    }
}

impl Measured {
    /// It could not be measured.
    pub(super) fn failed(error: String) -> Self {
        let figures = vec![Figure::new("measured", 0.0, "%", Wanted::AtLeast(100.0))];
        Self { figures, notes: vec![error], tries: 1, ..Self::default() }
    }

    pub(super) fn verdict(&self, attack: &str, known: &[Known]) -> Verdict {
        let is_known = |figure: &&Figure| {
            known.iter().any(|known| known.attack == attack && known.line == figure.name)
        };
        let short: Vec<&Figure> = self.figures.iter().filter(|figure| !figure.holds()).collect();
        match short.iter().filter(|figure| !is_known(figure)).count() {
            _ if short.is_empty() => Verdict::Holds,
            0 => Verdict::Known,
            _ => Verdict::Beyond,
        }
    }

    /// Whether another try may end differently: a slow fsync excuses a latency, and no count.
    pub(super) fn is_excused(&self) -> bool {
        self.figures.iter().all(|figure| figure.holds() || is_of_time(figure))
    }

    /// This, measured once more. A count that did not hold stays.
    pub(super) fn again(self, newer: Self) -> Self {
        let tries = self.tries + newer.tries;
        let mut figures = newer.figures;
        for old in self.figures.into_iter().filter(|old| !old.holds() && !is_of_time(old)) {
            match figures.iter_mut().find(|figure| figure.name == old.name) {
                Some(figure) if figure.holds() => *figure = old,
                Some(_) => {}
                None => figures.push(old),
            }
        }
        Self { figures, tries, ..newer }
    }
}

/// Whether it depends on what else the machine does.
fn is_of_time(figure: &Figure) -> bool {
    matches!(figure.unit, "ms" | "%")
}

#[cfg(test)]
mod tests;
