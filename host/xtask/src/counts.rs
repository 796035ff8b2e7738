//! `cargo xtask counts`: how many instructions each stage of the road takes, against a baseline.
//!
//! Time depends on the machine and on what else it does; the instructions that callgrind counts hardly do. The stages are
//! those of `cargo bench`, in the build that the tests run, so what is seen here is work that was added or saved, not how
//! fast it is. A stage is run twice, with so many rounds prepared in both and twice as many run in the second: the
//! difference is what the rounds take, without the start.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{Result, cargo, command, install, output, root, run, say, target_dir};

mod baseline;

use baseline::{Baseline, Counted};

/// The stages that are counted, by the names they have in `host/benches/`, and in how many rounds.
///
/// `invoke-fresh` is not among them. Its sandbox finds room under valgrind, but a guest is so slow there that it counts as
/// busy, and what it has computed is then asked of the clock of its thread. For that clock rustix looks into the vDSO,
/// whose address the kernel (from 6.4) tells it and which valgrind has unmapped: the process ends. See
/// <https://github.com/bytecodealliance/rustix/issues/1559>.
const STAGES: [(&str, u32); 5] =
    [("verify-230", 100), ("verify-4096", 50), ("route-among-1000", 10), ("append-64", 3), ("settle-64", 5)];

/// What the baseline is of; other instructions are other counts.
const MACHINE: (&str, &str) = ("linux", "x86_64");

/// Counts and compares. An error if a stage takes much more than the baseline says; a note if one takes much less.
pub(crate) fn check() -> Result<Option<String>> {
    if (std::env::consts::OS, std::env::consts::ARCH) != MACHINE {
        return Ok(Some(format!("SKIPPED, the baseline is of {} on {}", MACHINE.1, MACHINE.0)));
    }
    let baseline = Baseline::read(&file())?;
    let judged = baseline.judge(&count()?);
    judged.lines.iter().for_each(|line| eprintln!("{line}"));
    match judged.problems[..] {
        [] => Ok((!judged.notes.is_empty()).then(|| judged.notes.join("; "))),
        _ => Err(judged.problems.join("; ")),
    }
}

/// Counts, and writes it down as the baseline.
pub(crate) fn update() -> Result {
    if (std::env::consts::OS, std::env::consts::ARCH) != MACHINE {
        return Err(format!("the baseline is of {} on {}: count there", MACHINE.1, MACHINE.0));
    }
    Baseline::of(&count()?).write(&file())?;
    say(&format!("{} is written", file().display()));
    Ok(())
}

fn file() -> PathBuf {
    root().join("host/benches/counts.toml")
}

/// Counts every stage.
fn count() -> Result<Vec<Counted>> {
    install("valgrind")?;
    let (program, folder) = (program()?, target_dir().join("counts"));
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let one = |(name, rounds): (&str, u32)| {
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
    STAGES.into_iter().map(one).collect()
}

/// The program with the stages, built as the tests are: another build would have other counts, and compile everything anew.
fn program() -> Result<PathBuf> {
    const BUILD: &str = "build --workspace --all-targets --locked";
    run(&mut cargo(BUILD))?;
    let messages = output(cargo(BUILD).args(["--quiet", "--message-format", "json"]))?;
    let mut built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = built.find(|message| message["target"]["kind"][0] == "bench" && message["target"]["name"] == "stages");
    let path = found.and_then(|message| message["executable"].as_str().map(PathBuf::from));
    path.ok_or_else(|| "cargo does not say where the benchmark `stages` is".to_owned())
}

/// The instructions of one run: so many rounds prepared, so many run. `out` is for `callgrind_annotate`.
fn run_counted(program: &Path, out: &Path, stage: &str, [prepared, run]: [u32; 2]) -> Result<u64> {
    let mut valgrind = command("valgrind", "--tool=callgrind --quiet");
    valgrind.arg(format!("--callgrind-out-file={}", out.display())).arg(program);
    output(valgrind.args(["count", stage, &prepared.to_string(), &run.to_string()]))?;
    let text = std::fs::read_to_string(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.parse().ok()).ok_or_else(|| format!("{} has no total", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_baseline_and_no_other_has() {
        let counted = STAGES.map(|(name, _)| Counted { name: name.to_owned(), instructions: 1 });
        let judged = Baseline::read(&file()).unwrap().judge(&counted);
        assert!(judged.problems.is_empty(), "{judged:?}");
    }
}
