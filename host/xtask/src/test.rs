//! `cargo xtask test`: the whole set-up, every check and every test, and at the end what came of
//! each.

use crate::checks::BrowserTests;
use crate::{clients, counts, pages, plugins, postgres, projects, prometheus, public, schema};
use hookbox_tools::{Result, cargo, command, output, run, run_reading, say};

/// Runs the tests, each in a process of its own.
const NEXTEST: &str = "nextest";

/// The tools of cargo that the steps need besides the toolchain, and the versions that are
/// installed where one is missing.
const TOOLS: [(&str, &str); 2] = [(NEXTEST, "0.9.143"), ("deny", "0.20.2")];

/// Checks and tests everything. One step that fails does not keep the others from being run.
pub(crate) fn test() -> Result {
    set_up()?;
    let mut report = Report::default();
    report.step("tools", || tools().map(|()| None));
    report.step("format", || run(&mut cargo("fmt --all --check")).map(|()| None));
    report.step("lints", || {
        run(&mut cargo("clippy --workspace --all-targets --locked -- -D warnings")).map(|()| None)
    });
    report.step("licences", licences);
    report.step("plugins", || plugins::check().map(|()| None));
    report.step("plugins that send", || clients::build().map(|()| None));
    report.step("a public component", || public::build().map(|()| None));
    report.step("pages", || pages::check().map(|()| None));
    report.step("projects", || projects::check().map(|()| None));
    report.step("schema", || schema::check().map(|()| None));
    report.step("metrics", || prometheus::check().map(|()| None));
    report.step("postgres", || postgres::set_up().map(|()| None));
    let mut of_pages = BrowserTests::default();
    report.step("tests", || tests(|line| of_pages.read(line)));
    report.step("checks of the pages", || of_pages.count().map(Some));
    match counts::unfit() {
        Some(reason) => report.skip("counts", reason),
        None => report.step("counts", || counts::check(&[])),
    }
    report.step("doc tests", || {
        counted(cargo("test --doc --workspace --locked"), "test result:", |_| {})
    });
    report.end()
}

/// Gets what is missing of the toolchain.
fn set_up() -> Result {
    say("set-up");
    plugins::install_target()?;
    // A toolchain that did not come by rustup has what it has.
    if output(&mut command("rustup", "--version")).is_ok() {
        let components = output(&mut command("rustup", "component list --installed"))?;
        for component in ["rustfmt", "clippy"] {
            if !components.lines().any(|line| line.starts_with(component)) {
                run(&mut command("rustup", &format!("component add {component}")))?;
            }
        }
    }
    Ok(())
}

/// Installs the tools of cargo that are missing. An error if one cannot be installed.
fn tools() -> Result {
    let install = |(tool, version): &(&str, &str)| {
        say(&format!("cargo-{tool} is missing: installing it takes some minutes, once"));
        run(&mut cargo(&format!("install cargo-{tool} --version {version} --locked"))).err()
    };
    let problems: Vec<String> =
        TOOLS.iter().filter(|(tool, _)| !has(tool)).filter_map(install).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// Whether cargo has a tool.
fn has(tool: &str) -> bool {
    output(&mut cargo(&format!("{tool} --version"))).is_ok()
}

fn tests(read: impl FnMut(&str)) -> Result<Option<String>> {
    let (mut command, mark) = if has(NEXTEST) {
        (cargo("nextest run --workspace --locked --no-fail-fast"), "Summary [")
    } else {
        let tests = "test --workspace --locked --no-fail-fast --lib --bins --tests";
        (cargo(tests), "test result:")
    };
    let (name, value) = postgres::REQUIRED;
    command.env(name, value);
    counted(command, mark, read)
}

/// Runs tests, reads each line that they print, and returns the lines that count them.
fn counted(
    mut command: std::process::Command,
    mark: &str,
    mut read: impl FnMut(&str),
) -> Result<Option<String>> {
    let mut totals = Vec::new();
    let result = run_reading(&mut command, |line| {
        read(line);
        if line.contains(mark) {
            totals.push(line.trim().to_owned());
        }
    });
    let totals = totals.join("\n          ");
    result.map_err(|error| format!("{error}\n          {totals}"))?;
    if totals.is_empty() { Err("no test was run".to_owned()) } else { Ok(Some(totals)) }
}

/// Licences, sources and versions of the dependencies. Advisories are left out: they need the
/// network, and a new one would fail a build in which nothing has changed. `cargo deny --config
/// .config/deny.toml check advisories` asks for them.
fn licences() -> Result<Option<String>> {
    run(&mut cargo("deny --config .config/deny.toml check licenses bans sources")).map(|()| None)
}

/// The end of a step that did not fail.
enum StepEnd {
    Passed(Option<String>),
    Skipped(String),
}

/// The results of the steps, in order.
#[derive(Default)]
struct Report(Vec<(&'static str, Result<StepEnd>)>);

impl Report {
    fn step(&mut self, name: &'static str, step: impl FnOnce() -> Result<Option<String>>) {
        say(name);
        let result = step();
        if let Err(error) = &result {
            eprintln!("{name} failed: {error}");
        }
        self.0.push((name, result.map(StepEnd::Passed)));
    }

    /// Notes a step that this machine cannot do.
    fn skip(&mut self, name: &'static str, reason: String) {
        self.0.push((name, Ok(StepEnd::Skipped(reason))));
    }

    fn end(self) -> Result {
        say("results");
        for (name, result) in &self.0 {
            match result {
                Ok(StepEnd::Passed(None)) => eprintln!("ok      {name}"),
                Ok(StepEnd::Passed(Some(note))) => eprintln!("ok      {name}: {note}"),
                Ok(StepEnd::Skipped(reason)) => eprintln!("SKIPPED {name}: {reason}"),
                Err(error) => eprintln!("FAILED  {name}: {error}"),
            }
        }
        let failed = self.0.iter().filter(|(_, result)| result.is_err()).count();
        if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} steps failed", self.0.len())) }
    }
}
