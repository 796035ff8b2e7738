//! The stored counts, and what is made of others: more by the margin is an error, less by it a
//! note.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use toml::{Table, Value};

use hookbox_tools::Result;

/// How far a count may be from the baseline, in percent of it. From run to run the same program's
/// counts differ by up to 1.4 (the route table, whose hashes have a random key; the others by 0.2),
/// on a busy machine as well. They differ by as much if the C library takes another processor for
/// granted. The rest is for another compiler. It has to be less than 23, which is what a statement
/// of the store takes that is prepared for each event.
const MARGIN_PERCENT: u64 = 15;

const HEADER: &str = "\
# Instructions of one round of a stage, as callgrind counts them in the build of the tests.
# docs/design/measurements.md says more.
# Written by `cargo xtask counts --update`. `cargo xtask counts` fails if a stage takes 15 % more than this.
# The stage `invoke-fresh` cannot run under valgrind; host/xtask/src/counts.rs says why.
";

const UPDATE: &str = "`cargo xtask counts --update`";

/// The counts of one stage.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) name: String,
    /// Of one round.
    pub(super) instructions: u64,
}

/// Instructions of a round by stage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Baseline(BTreeMap<String, u64>);

/// The result of a comparison.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// One for each stage.
    pub(super) lines: Vec<String>,
    /// Faults.
    pub(super) problems: Vec<String>,
    /// Remarks.
    pub(super) notes: Vec<String>,
}

impl Baseline {
    /// The same with what was counted anew.
    pub(super) fn with(mut self, counted: &[Counted]) -> Self {
        self.0.extend(counted.iter().map(|stage| (stage.name.clone(), stage.instructions)));
        self
    }

    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("{}: {error}", file.display()))?;
        Self::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let above_zero = |value: &Value| {
            value.as_integer().and_then(|number| u64::try_from(number).ok()).filter(|n| *n > 0)
        };
        let entry = |(name, value): (&String, &Value)| match above_zero(value) {
            Some(instructions) => Ok((name.clone(), instructions)),
            None => {
                Err(format!("`{name}` is {value}: write a whole number above 0, or run {UPDATE}"))
            }
        };
        table.iter().map(entry).collect::<Result<_>>().map(Self)
    }

    pub(super) fn write(&self, file: &Path) -> Result {
        std::fs::write(file, self.text()).map_err(|error| format!("{}: {error}", file.display()))
    }

    fn text(&self) -> String {
        self.0.iter().fold(HEADER.to_owned(), |mut text, (name, instructions)| {
            let _ = writeln!(text, "{name} = {instructions}");
            text
        })
    }

    /// Whether it has the stages that are counted, and no others.
    pub(super) fn fits(&self, counted: &[&str]) -> Result {
        let all = counted.join(", ");
        if let Some(gone) = self.0.keys().find(|name| !counted.contains(&name.as_str())) {
            return Err(format!(
                "`{gone}` has a baseline and is not counted: run {UPDATE}; counted are {all}"
            ));
        }
        match counted.iter().find(|name| !self.0.contains_key(**name)) {
            Some(new) => Err(format!(
                "`{new}` has no baseline: run {UPDATE}, or with its name behind it for it alone"
            )),
            None => Ok(()),
        }
    }

    /// Compares what was counted; a stage without a baseline is a problem as well.
    pub(super) fn judge(&self, counted: &[Counted]) -> Judged {
        let mut judged = Judged::default();
        for Counted { name, instructions } in counted {
            let Some(known) = self.0.get(name) else {
                judged.problems.push(format!("{name} has no baseline: run {UPDATE}"));
                continue;
            };
            let percent =
                (i128::from(*instructions) - i128::from(*known)) * 100 / i128::from(*known);
            let shown =
                format!("{name} takes {instructions} instructions, {percent:+} % against {known}");
            if instructions.saturating_mul(100) > known.saturating_mul(100 + MARGIN_PERCENT) {
                let advice = format!("find what it does more, or, if it is to, run {UPDATE}");
                judged.problems.push(format!("{shown}: {advice}"));
            } else if instructions.saturating_mul(100) < known.saturating_mul(100 - MARGIN_PERCENT)
            {
                judged.notes.push(format!("{shown}: run {UPDATE}"));
            }
            judged.lines.push(shown);
        }
        judged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(counts: &[(&str, u64)]) -> Vec<Counted> {
        let stage = |(name, instructions): &(&str, u64)| Counted {
            name: (*name).to_owned(),
            instructions: *instructions,
        };
        counts.iter().map(stage).collect()
    }

    fn baseline() -> Baseline {
        Baseline::default().with(&counted(&[("append", 1_000), ("verify", 40)]))
    }

    #[track_caller]
    fn judge(counts: &[(&str, u64)]) -> (usize, usize) {
        let baseline = baseline();
        let judged = baseline.judge(&counted(counts));
        (judged.problems.len(), judged.notes.len())
    }

    #[test]
    fn a_stage_that_takes_much_more_is_a_problem_and_much_less_a_note() {
        assert_eq!(judge(&[("append", 1_000), ("verify", 40)]), (0, 0));
        assert_eq!(judge(&[("append", 1_150), ("verify", 34)]), (0, 0));
        assert_eq!(judge(&[("append", 1_151), ("verify", 40)]), (1, 0));
        assert_eq!(judge(&[("append", 2_000), ("verify", 80)]), (2, 0));
        assert_eq!(judge(&[("append", 849), ("verify", 33)]), (0, 2));
        assert_eq!(judge(&[("append", u64::MAX), ("verify", 0)]), (1, 1));
    }

    #[test]
    fn a_stage_that_only_one_side_knows_is_a_problem() {
        assert_eq!(baseline().fits(&["verify", "append"]), Ok(()));
        let gone = baseline().fits(&["append"]).unwrap_err();
        assert!(gone.contains("`verify`") && gone.contains("counted are append"), "{gone}");
        let new = baseline().fits(&["append", "verify", "settle"]).unwrap_err();
        assert!(new.contains("`settle`"), "{new}");
        assert_eq!(judge(&[("append", 1_000), ("verify", 40), ("settle", 7)]), (1, 0));
    }

    #[test]
    fn what_is_counted_of_some_stages_changes_nothing_of_the_others() {
        assert_eq!(judge(&[("append", 1_000)]), (0, 0));
        let after = baseline().with(&counted(&[("verify", 50), ("settle", 7)]));
        let expected = counted(&[("append", 1_000), ("settle", 7), ("verify", 50)]);
        assert_eq!(after, Baseline::default().with(&expected));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let baseline =
            Baseline::default().with(&counted(&[("append-64", 8_365_287), ("verify-230", 51_639)]));
        assert_eq!(Baseline::parse(&baseline.text()), Ok(baseline));
    }

    #[test]
    fn a_baseline_that_is_no_count_is_refused() {
        for text in ["append = 0", "append = -1", "append = \"many\"", "append = 1.5", "append"] {
            assert!(Baseline::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_file_says_which_margin_there_is() {
        assert!(HEADER.contains(&format!("takes {MARGIN_PERCENT} % more")));
    }
}
