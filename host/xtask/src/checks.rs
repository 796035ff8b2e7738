//! The checks of the pages: which tests make each of them, by the table of the docs, and whether
//! they ran.

use std::collections::BTreeSet;

use hookbox_tools::{Result, root};

/// The table that names the tests of each check.
const TABLE: &str = "docs/design/tests.md";

/// The checks of the pages that there have to be.
const CHECKS: u32 = 30;

/// The module of the tests that need a browser.
const BROWSER: &str = "browser::";

/// A row of the table: the numbers of its checks, and the parts of names that its tests have.
struct Row {
    checks: Vec<u32>,
    tests: Vec<String>,
}

/// The tests in a browser that ran: those that passed, and those that did not.
#[derive(Default)]
pub(crate) struct BrowserTests {
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl BrowserTests {
    /// Takes note of a line that nextest or `cargo test` printed.
    pub(crate) fn read(&mut self, line: &str) {
        let line = line.trim();
        // The end of a test by nextest: a word in capitals, the time that it took, and its name.
        let ended = line.split_once(" [").filter(|(word, time)| {
            let is_word = word.bytes().all(|b| b.is_ascii_uppercase()) && !word.is_empty();
            is_word && *word != "SLOW" && time.contains("s]")
        });
        let by_cargo = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "));
        let (name, passed) = match (ended, by_cargo) {
            // A test that passed may leave a process behind that keeps its output open.
            (Some((word, _)), _) => (line.split(' ').next_back(), ["PASS", "LEAK"].contains(&word)),
            (None, Some((name, result))) => (Some(name), result == "ok"),
            (None, None) => return,
        };
        if let Some(test) = name.and_then(|name| name.strip_prefix(BROWSER)) {
            let set = if passed { &mut self.passed } else { &mut self.failed };
            set.insert(test.to_owned());
        }
    }

    /// Counts the checks whose tests all ran and passed. An error names those that did not.
    pub(crate) fn count(&self) -> Result<String> {
        let text = std::fs::read_to_string(root().join(TABLE));
        let text = text.map_err(|error| format!("{TABLE}: {error}"))?;
        self.count_in(&text)
    }

    fn count_in(&self, table: &str) -> Result<String> {
        let (mut checks, mut tests) = (BTreeSet::new(), BTreeSet::new());
        let mut missing = Vec::new();
        for row in table.lines().filter_map(Row::read) {
            for part in &row.tests {
                let of = |tests: &'_ BTreeSet<String>| {
                    tests.iter().filter(|test| has_parts(test, part)).cloned().collect::<Vec<_>>()
                };
                let found = of(&self.passed);
                if found.is_empty() {
                    missing.push(format!("check {:?}: no test `{part}` passed", row.checks));
                }
                missing.extend(
                    of(&self.failed)
                        .iter()
                        .map(|test| format!("check {:?}: `{test}` failed", row.checks)),
                );
                tests.extend(found);
            }
            checks.extend(row.checks);
        }
        let absent = (1..=CHECKS).filter(|check| !checks.contains(check));
        missing.extend(absent.map(|check| format!("{TABLE} names no test of check {check}")));
        if missing.is_empty() {
            Ok(format!(
                "{} checks of the pages, made by {} of {} tests in a browser",
                checks.len(),
                tests.len(),
                self.passed.len()
            ))
        } else {
            Err(missing.join("; "))
        }
    }
}

impl Row {
    /// A row whose first cell begins with numbers, as in "| 7, 8 one first | `bulk::with…` |".
    fn read(line: &str) -> Option<Self> {
        let (check, tests) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        let numbers = check.split(|c: char| !c.is_ascii_digit() && c != ',' && c != ' ').next()?;
        let checks: Vec<u32> =
            numbers.split([',', ' ']).filter_map(|number| number.parse().ok()).collect();
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (!checks.is_empty()).then_some(Self { checks, tests })
    }
}

/// Whether a name has the parts that `…` or `*` separate, in their order and from its start.
fn has_parts(name: &str, parts: &str) -> bool {
    let mut rest = Some(name);
    for (index, part) in parts.split(['…', '*']).enumerate() {
        rest = rest.and_then(|rest| match index {
            0 => rest.strip_prefix(part),
            _ => rest.split_once(part).map(|(_, rest)| rest),
        });
    }
    let is_open = parts.ends_with(['…', '*']);
    rest.is_some_and(|rest| is_open || rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> BrowserTests {
        let mut tests = BrowserTests::default();
        lines.iter().for_each(|line| tests.read(line));
        tests
    }

    fn table(rows: &str) -> String {
        let others: String =
            (3..=CHECKS).map(|check| format!("| {check} x | `all::*` |\n")).collect();
        format!("| check | test |\n| --- | --- |\n{rows}\n{others}")
    }

    #[test]
    fn checks_count_by_the_tests_that_passed() {
        let tests = read(&[
            "        PASS [   0.9s] (1/5) hookbox::all browser::story::one_thing_is_seen",
            "test browser::story::another_thing_rests_awhile ... ok",
            "        LEAK [   0.9s] (2/5) hookbox::all browser::all::things",
            "        SLOW [> 30.000s] (─────) hookbox::all browser::story::one_thing_is_seen",
            "        PASS [   0.9s] (3/5) hookbox::all admin::pages::no_browser",
            "        FAIL [   0.9s] (4/5) hookbox::all browser::story::this_failed",
        ]);
        let rows = "| 1, 2 a thing | `story::one_thing…`, `…rests_awhile` |";
        assert_eq!(
            tests.count_in(&table(rows)).unwrap(),
            "30 checks of the pages, made by 3 of 3 tests in a browser"
        );
    }

    #[test]
    fn a_check_whose_test_failed_or_that_has_none_is_named() {
        let tests = read(&[
            "PASS [ 0.9s] (2/5) hookbox::all browser::all::things",
            "TIMEOUT [ 0.9s] (3/5) hookbox::all browser::all::more",
        ]);
        let error = tests.count_in(&table("| 1 a thing | `story::this_failed` |")).unwrap_err();
        assert!(error.contains("check [1]: no test `story::this_failed` passed"), "{error}");
        assert!(error.contains("check [3]: `all::more` failed"), "{error}");
        assert!(error.contains("names no test of check 2"), "{error}");
    }
}
