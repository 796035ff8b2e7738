//! `cargo xtask counts`: how many instructions each stage of the road takes, against a baseline.
//!
//! Time depends on the machine and on what else it does; the instructions that callgrind counts
//! hardly do. The stages are those of `cargo bench`, in the build that the tests run, so what is
//! seen here is work that was added or saved, not how fast it is. A stage is run twice, with so
//! many rounds prepared in both and twice as many run in the second: the difference is what the
//! rounds take, without the start.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use hookbox_tools::{Result, cargo, command, install, output, root, run, say, target_dir};

mod baseline;

use baseline::{Baseline, Counted};

/// The stages that are counted, by the names they have in `host/benches/`, and in how many rounds.
const STAGES: [(&str, u32); 9] = [
    ("verify-230", 100),
    ("verify-4096", 50),
    ("route-among-1000", 10),
    ("append-64", 3),
    ("append-keyed-64", 3),
    ("append-members-64", 3),
    ("move-2048", 2),
    ("settle-64", 5),
    ("settle-keyed-64", 5),
];

/// The stages that are timed only. The sandbox of this one finds room under valgrind, but what a
/// guest computes is asked of the clock of its thread. For that clock rustix looks into the vDSO,
/// whose address the kernel (from 6.4) tells it and which valgrind has unmapped: the process ends.
/// See <https://github.com/bytecodealliance/rustix/issues/1559>.
const TIMED_ONLY: [&str; 1] = ["invoke-fresh"];

/// The tools that the baseline was made with; other instructions are other counts.
const MACHINE: (&str, &str) = ("linux", "x86_64");

/// Why counts on this machine cannot be compared with the baseline; `None` if they can.
pub(crate) fn unfit() -> Option<String> {
    let fits = (std::env::consts::OS, std::env::consts::ARCH) == MACHINE;
    (!fits).then(|| format!("the baseline is of {} on {}", MACHINE.1, MACHINE.0))
}

/// Counts the stages of these names, all if none is given, and compares. An error if a stage takes
/// much more than the baseline says; a note if one takes much less.
pub(crate) fn check(names: &[&str]) -> Result<Option<String>> {
    let stages = named(names)?;
    if let Some(reason) = unfit() {
        return Ok(Some(format!("nothing is compared: {reason}")));
    }
    let baseline = Baseline::read(&file())?;
    baseline.fits(&STAGES.map(|(name, _)| name))?;
    let judged = baseline.judge(&count(&stages)?);
    judged.lines.iter().for_each(|line| eprintln!("{line}"));
    match judged.problems[..] {
        [] => Ok((!judged.notes.is_empty()).then(|| judged.notes.join("; "))),
        _ => Err(judged.problems.join("; ")),
    }
}

/// Counts, and writes it down as the baseline; that of other stages stays as it is.
pub(crate) fn update(names: &[&str]) -> Result {
    let stages = named(names)?;
    if (std::env::consts::OS, std::env::consts::ARCH) != MACHINE {
        return Err(format!("the baseline is of {} on {}: count there", MACHINE.1, MACHINE.0));
    }
    let before = if names.is_empty() { Baseline::default() } else { Baseline::read(&file())? };
    before.with(&count(&stages)?).write(&file())?;
    say(&format!("{} is written", file().display()));
    Ok(())
}

fn file() -> PathBuf {
    root().join("host/benches/counts.toml")
}

/// The stages of these names, or all of them.
fn named(names: &[&str]) -> Result<Vec<(&'static str, u32)>> {
    let counted = STAGES.map(|(name, _)| name);
    if let Some(unknown) = names.iter().find(|name| !counted.contains(name)) {
        return Err(format!(
            "`{unknown}` is no stage that is counted; these are: {}",
            counted.join(", ")
        ));
    }
    Ok(STAGES.into_iter().filter(|(name, _)| names.is_empty() || names.contains(name)).collect())
}

/// Whether the benchmark has the stages of this file and no others.
fn fits(measured: &[&str]) -> Result {
    let known: Vec<&str> = STAGES.map(|(name, _)| name).into_iter().chain(TIMED_ONLY).collect();
    if let Some(gone) = known.iter().find(|name| !measured.contains(name)) {
        return Err(format!("host/benches/ has no stage `{gone}`; it has {}", measured.join(", ")));
    }
    match measured.iter().find(|name| !known.contains(name)) {
        Some(new) => Err(format!(
            "the stage `{new}` of host/benches/ is not counted: add it to host/xtask/src/counts.rs, which has {}",
            known.join(", ")
        )),
        None => Ok(()),
    }
}

fn count(stages: &[(&str, u32)]) -> Result<Vec<Counted>> {
    install("valgrind")?;
    let (program, folder) = (program()?, target_dir().join("counts"));
    fits(&output(Command::new(&program).arg("names"))?.lines().collect::<Vec<_>>())?;
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let one = |&(name, rounds): &(&str, u32)| {
        say(&format!("counting {name}"));
        let out = folder.join(name).with_added_extension("out");
        let once = run_counted(&program, &out, name, [2 * rounds, rounds])?;
        let twice = run_counted(&program, &out, name, [2 * rounds, 2 * rounds])?;
        let instructions = twice.saturating_sub(once) / u64::from(rounds);
        if instructions == 0 {
            return Err(format!(
                "{name} does nothing: {rounds} rounds take {once} instructions, twice as many {twice}"
            ));
        }
        Ok(Counted { name: name.to_owned(), instructions })
    };
    stages.iter().map(one).collect()
}

/// The program with the stages, built as the tests are: another build would have other counts, and
/// compile everything anew.
fn program() -> Result<PathBuf> {
    const BUILD: &str = "build --workspace --all-targets --locked";
    run(&mut cargo(BUILD))?;
    let messages = output(cargo(BUILD).args(["--quiet", "--message-format", "json"]))?;
    let mut built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = built.find(|message| {
        message["target"]["kind"][0] == "bench" && message["target"]["name"] == "stages"
    });
    let path = found.and_then(|message| message["executable"].as_str().map(PathBuf::from));
    path.ok_or_else(|| "cargo does not say where the benchmark `stages` is".to_owned())
}

/// The instructions of one run: so many rounds prepared, so many run. `out` is for
/// `callgrind_annotate`.
fn run_counted(program: &Path, out: &Path, stage: &str, [prepared, run]: [u32; 2]) -> Result<u64> {
    let mut valgrind = command("valgrind", "--tool=callgrind --quiet");
    valgrind.arg(format!("--callgrind-out-file={}", out.display())).arg(program);
    output(valgrind.args(["count", stage, &prepared.to_string(), &run.to_string()]))?;
    let text =
        std::fs::read_to_string(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total
        .and_then(|total| total.parse().ok())
        .ok_or_else(|| format!("{} has no total", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_baseline_and_no_other_has() {
        assert_eq!(Baseline::read(&file()).unwrap().fits(&STAGES.map(|(name, _)| name)), Ok(()));
    }

    #[test]
    fn a_name_that_no_stage_has_is_refused_with_those_that_there_are() {
        let found = |names: &[&str]| {
            named(names).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(found(&[]), STAGES.map(|(name, _)| name));
        assert_eq!(found(&["settle-64", "append-64"]), ["append-64", "settle-64"]);
        for unknown in ["append", "append-65", "invoke-fresh", "", "--update"] {
            let refused = named(&["append-64", unknown]).unwrap_err();
            let known = STAGES.map(|(name, _)| name).join(", ");
            assert!(
                refused.contains(&format!("`{unknown}`")) && refused.contains(&known),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_stage_of_the_benchmark_that_is_not_counted_is_an_error_and_one_that_it_has_not() {
        let all: Vec<_> = STAGES.map(|(name, _)| name).into_iter().chain(TIMED_ONLY).collect();
        assert_eq!(fits(&all), Ok(()));
        let more = [&all[..], &["append-65"]].concat();
        let new = fits(&more).unwrap_err();
        assert!(new.contains("`append-65`") && new.contains(&all.join(", ")), "{new}");
        let gone = fits(&all[1..]).unwrap_err();
        assert!(
            gone.contains(&format!("`{}`", all[0])) && gone.contains(&all[1..].join(", ")),
            "{gone}"
        );
    }
}
