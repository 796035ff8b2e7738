//! A line a case, a difference where there is one, and the totals; or all of it as JSON.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::case::{CaseResult, TestCase};
use super::expected::Expected;
use crate::cli::failure::Failure;
use crate::cli::output::{Ink, Printout, print_json, printable};
use crate::cli::runner::calls::Calls;
use crate::cli::runner::summary;
use crate::sandbox::Invocation;

/// Lines around a difference.
const CONTEXT_LINES: usize = 5;
/// The most places of a difference that are named.
const MAX_NAMED: usize = 4;

/// The results so far.
#[derive(Debug)]
pub(super) struct TestReport<'a> {
    plugin: &'a Path,
    as_json: bool,
    passed: usize,
    failed: usize,
    written: usize,
    cases: Vec<Value>,
}

impl<'a> TestReport<'a> {
    pub(super) fn new(plugin: &'a Path, as_json: bool) -> Self {
        Self { plugin, as_json, passed: 0, failed: 0, written: 0, cases: Vec::new() }
    }

    /// Adds a case, and shows it at once to people.
    pub(super) fn add(
        &mut self,
        case: &TestCase,
        calls: &Calls,
        actual: &Expected,
        mark: CaseResult,
    ) -> Result<(), Failure> {
        let invocation = &calls.last;
        match mark {
            CaseResult::Ok => self.passed += 1,
            CaseResult::Failed => self.failed += 1,
            CaseResult::New | CaseResult::Updated => self.written += 1,
        }
        if self.as_json {
            self.cases.push(to_json(case, invocation, actual, mark));
            return Ok(());
        }
        printout(case, invocation, actual, mark).print()
    }

    /// Shows the totals.
    pub(super) fn end(self) -> Result<ExitCode, Failure> {
        let Self { plugin, passed, failed, written, .. } = self;
        if self.as_json {
            let plugin = plugin.display().to_string();
            print_json(&json!({
                "plugin": plugin, "passed": passed, "failed": failed, "written": written, "cases": self.cases,
            }))?;
        } else {
            let mut out = Printout::new();
            let ink = if failed == 0 { Ink::Green } else { Ink::Red };
            let written = if written == 0 { String::new() } else { format!(", {written} written") };
            let totals = out.ink(ink, &format!("{passed} passed, {failed} failed{written}"));
            out.line(format!("{totals} ({})", plugin.display()));
            out.print()?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn to_json(case: &TestCase, invocation: &Invocation, actual: &Expected, mark: CaseResult) -> Value {
    json!({
        "name": case.name,
        "result": match mark { CaseResult::Ok => "ok", CaseResult::Failed => "failed",
            CaseResult::New => "new", CaseResult::Updated => "updated" },
        "differs": case.expected.as_ref().map(|expected| expected.differences(actual)),
        "expected": case.expected.as_ref().map(Expected::value),
        "actual": actual.value(),
        "duration_us": invocation.duration_us,
        "memory_peak_bytes": invocation.memory_peak_bytes,
    })
}

fn printout(
    case: &TestCase,
    invocation: &Invocation,
    actual: &Expected,
    mark: CaseResult,
) -> Printout {
    let mut out = Printout::new();
    let mark = match mark {
        CaseResult::Ok => out.ink(Ink::Green, "ok     "),
        CaseResult::Failed => out.ink(Ink::Red, "FAILED "),
        CaseResult::New => out.ink(Ink::Yellow, "new    "),
        CaseResult::Updated => out.ink(Ink::Yellow, "updated"),
    };
    let differs =
        case.expected.as_ref().map(|expected| expected.differences(actual)).unwrap_or_default();
    let places = if differs.is_empty() { String::new() } else { format!(": {}", named(&differs)) };
    out.line(format!("{mark} {}{places}", printable(&case.name)));
    if let Some(expected) = &case.expected
        && !differs.is_empty()
    {
        let sides = [out.ink(Ink::Red, "- expected"), out.ink(Ink::Green, "+ actual")];
        out.line(format!("    {}", sides.join("  ")));
        diff(&mut out, &expected.text(), &actual.text());
        // The reason and the log usually say why it ended otherwise, also if they are not compared.
        if differs.iter().any(|place| place == "outcome") {
            summary::ending(&mut out, invocation, "    ");
        }
    }
    out
}

fn named(places: &[String]) -> String {
    let more = places.len().saturating_sub(MAX_NAMED);
    let named = places.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

fn diff(out: &mut Printout, expected: &str, actual: &str) {
    let diff = TextDiff::from_lines(expected, actual);
    for (index, group) in diff.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if index > 0 {
            out.line("    …");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = printable(change.value().trim_end_matches('\n'));
            let line = match change.tag() {
                ChangeTag::Equal => format!("  {text}"),
                ChangeTag::Delete => out.ink(Ink::Red, &format!("- {text}")),
                ChangeTag::Insert => out.ink(Ink::Green, &format!("+ {text}")),
            };
            out.line(format!("    {line}"));
        }
    }
}
