//! A line a case, a difference where there is one, and the totals; or all of it as JSON.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::case::{Case, Mark};
use super::expected::Expected;
use crate::cli::failure::Failure;
use crate::cli::output::{Ink, Page, print_json, printable};
use crate::cli::workbench::page;
use crate::sandbox::Invocation;

/// Lines around a difference.
const CONTEXT_LINES: usize = 5;
/// How many places of a difference are named.
const MAX_NAMED: usize = 4;

/// What came of the cases so far.
#[derive(Debug)]
pub(super) struct Report<'a> {
    plugin: &'a Path,
    as_json: bool,
    passed: usize,
    failed: usize,
    written: usize,
    cases: Vec<Value>,
}

impl<'a> Report<'a> {
    pub(super) fn new(plugin: &'a Path, as_json: bool) -> Self {
        Self { plugin, as_json, passed: 0, failed: 0, written: 0, cases: Vec::new() }
    }

    /// Adds a case, and shows it at once to people.
    pub(super) fn add(
        &mut self,
        case: &Case,
        invocation: &Invocation,
        actual: &Expected,
        mark: Mark,
    ) -> Result<(), Failure> {
        match mark {
            Mark::Ok => self.passed += 1,
            Mark::Failed => self.failed += 1,
            Mark::New | Mark::Updated => self.written += 1,
        }
        if self.as_json {
            self.cases.push(to_json(case, invocation, actual, mark));
            return Ok(());
        }
        page(case, invocation, actual, mark).print()
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
            let mut page = Page::new();
            let ink = if failed == 0 { Ink::Green } else { Ink::Red };
            let written = if written == 0 { String::new() } else { format!(", {written} written") };
            let totals = page.ink(ink, &format!("{passed} passed, {failed} failed{written}"));
            page.line(format!("{totals} ({})", plugin.display()));
            page.print()?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn to_json(case: &Case, invocation: &Invocation, actual: &Expected, mark: Mark) -> Value {
    json!({
        "name": case.name,
        "result": match mark { Mark::Ok => "ok", Mark::Failed => "failed", Mark::New => "new", Mark::Updated => "updated" },
        "differs": case.expected.as_ref().map(|expected| expected.differences(actual)),
        "expected": case.expected.as_ref().map(Expected::value),
        "actual": actual.value(),
        "duration_us": invocation.duration_us,
        "memory_peak_bytes": invocation.memory_peak_bytes,
    })
}

fn page(case: &Case, invocation: &Invocation, actual: &Expected, mark: Mark) -> Page {
    let mut page = Page::new();
    let mark = match mark {
        Mark::Ok => page.ink(Ink::Green, "ok     "),
        Mark::Failed => page.ink(Ink::Red, "FAILED "),
        Mark::New => page.ink(Ink::Yellow, "new    "),
        Mark::Updated => page.ink(Ink::Yellow, "updated"),
    };
    let differs = case.expected.as_ref().map(|expected| expected.differences(actual)).unwrap_or_default();
    let places = if differs.is_empty() { String::new() } else { format!(": {}", named(&differs)) };
    page.line(format!("{mark} {}{places}", printable(&case.name)));
    if let Some(expected) = case.expected.as_ref().filter(|_| !differs.is_empty()) {
        let sides = [page.ink(Ink::Red, "- expected"), page.ink(Ink::Green, "+ actual")];
        page.line(format!("    {}", sides.join("  ")));
        diff(&mut page, &expected.text(), &actual.text());
        // The reason and the log usually say why it ended otherwise, also if they are not compared.
        if differs.iter().any(|place| place == "outcome") {
            page::ending(&mut page, invocation, "    ");
        }
    }
    page
}

fn named(places: &[String]) -> String {
    let more = places.len().saturating_sub(MAX_NAMED);
    let named = places.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

fn diff(page: &mut Page, expected: &str, actual: &str) {
    let diff = TextDiff::from_lines(expected, actual);
    for (index, group) in diff.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if index > 0 {
            page.line("    …");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = printable(change.value().trim_end_matches('\n'));
            let line = match change.tag() {
                ChangeTag::Equal => format!("  {text}"),
                ChangeTag::Delete => page.ink(Ink::Red, &format!("- {text}")),
                ChangeTag::Insert => page.ink(Ink::Green, &format!("+ {text}")),
            };
            page.line(format!("    {line}"));
        }
    }
}
