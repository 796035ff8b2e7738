//! The shape of the code, checked like any other behaviour.
//!
//! The law is read from `lib.rs`: its `// floor N:` groups say which module may import which, its
//! `// doors:` comments which crate may be named where. The rest are the limits of a calm tree: see
//! each `check_*` function.

use std::path::{Path, PathBuf};

mod cycles;
mod law;
mod lexer;
mod links;
mod names;
mod paths;
mod prose;
mod shape;

use law::Law;
use lexer::Token;

/// A source file, cut into tokens.
struct Source {
    /// Relative to the repository, with `/` between.
    name: String,
    text: String,
    tokens: Vec<Token>,
}

impl Source {
    fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned(), tokens: lexer::tokens(text) }
    }

    /// Whether the whole file is test code.
    fn is_test(&self) -> bool {
        self.name.contains("/tests/") || self.name.ends_with("/tests.rs")
    }

    /// The tokens of what is shipped.
    fn program(&self) -> Vec<Token> {
        lexer::without_tests(&self.tokens)
    }

    /// The names of the modules from the library's root down to this file's.
    fn module(&self) -> Vec<String> {
        let path = self.name.trim_start_matches("host/src/").trim_end_matches(".rs");
        path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
    }

    fn violation(&self, line: usize, text: impl std::fmt::Display) -> String {
        format!("{}:{line}: {text}", self.name)
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("host/ stands in the repository")
        .to_owned()
}

/// Every file below `dir` that `wanted` takes, by name; never what was built or stored there.
fn files(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return found };
    for entry in entries.map(|entry| entry.expect("a readable folder")) {
        let (path, kind) = (entry.path(), entry.file_type().expect("a file type"));
        let name = entry.file_name();
        if kind.is_dir()
            && !["target", "data", "node_modules", ".venv", ".zig-cache", ".git"]
                .iter()
                .any(|skipped| name == *skipped)
        {
            found.extend(files(&path, wanted));
        } else if kind.is_file() && wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> Source {
    let name = path
        .strip_prefix(repository())
        .expect("a file of the repository")
        .to_string_lossy()
        .into_owned();
    Source::new(
        &name,
        &std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}")),
    )
}

fn rust_sources(below: &str) -> Vec<Source> {
    let found = files(&repository().join(below), &|path| {
        path.extension().is_some_and(|ending| ending == "rs")
    });
    found.iter().map(|path| read(path)).collect()
}

#[track_caller]
fn none(violations: Vec<String>) {
    assert!(
        violations.is_empty(),
        "\n{} violation(s):\n{}\n",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn modules_import_from_lower_floors_only_and_keep_to_their_doors() {
    let law = Law::read(&read(&repository().join("host/src/lib.rs")).text).unwrap();
    let sources = rust_sources("host/src");
    assert!(sources.len() > 10, "the sources were not found");
    none(sources.iter().flat_map(|source| law.check(source)).collect());
}

#[test]
fn modules_of_one_folder_do_not_import_from_each_other_in_a_cycle() {
    let cycles = cycles::cycles(&rust_sources("host/src"));
    none(cycles.into_iter().map(|cycle| cycle.text).collect());
}

#[test]
fn a_type_name_of_the_library_stands_for_one_thing() {
    none(names::violations(&rust_sources("host/src")));
}

#[test]
fn every_file_is_small_documented_and_where_it_is_looked_for() {
    let sources = rust_sources("host");
    none(
        sources
            .iter()
            .flat_map(|source| [shape::check_size(source), shape::check_layout(source)].concat())
            .collect(),
    );
}

#[test]
fn no_function_is_long() {
    none(rust_sources("host").iter().flat_map(shape::long_functions).collect());
}

#[test]
fn comments_name_their_subjects_in_short_sentences() {
    none(rust_sources("host").iter().flat_map(prose::check).collect());
}

#[test]
fn every_crate_keeps_to_the_lints_of_the_workspace() {
    let lints = read(&repository().join("Cargo.toml")).text;
    for lint in ["unsafe_code = \"deny\"", "missing_docs = \"warn\""] {
        assert!(lints.contains(lint), "the workspace does not have {lint}");
    }
    let manifests = files(&repository().join("host"), &|path| path.ends_with("Cargo.toml"));
    let lax = manifests
        .iter()
        .map(|path| read(path))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"));
    none(lax.map(|file| file.name).collect());
}

#[test]
fn the_compilers_promises_are_given_up_in_one_place_only() {
    let found: Vec<String> = rust_sources("host").iter().flat_map(shape::unsafe_blocks).collect();
    let files: Vec<&str> = found.iter().filter_map(|place| place.split(':').next()).collect();
    assert_eq!(files, ["host/src/sandbox/compile/machine_code.rs"], "{found:#?}");
}

#[test]
fn nothing_is_left_undone_or_waited_for_by_the_clock() {
    let sources = rust_sources("host");
    none(sources.iter().flat_map(shape::check_leftovers).collect());
}

#[test]
fn the_pages_about_the_code_name_paths_that_exist() {
    let (top, source) = (repository(), repository().join("host/src"));
    let rooms = std::fs::read_dir(&source)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir());
    let bases: Vec<PathBuf> =
        [top.clone(), top.join("host"), source.clone()].into_iter().chain(rooms).collect();
    let mut pages = files(&top.join("docs/design"), &|path| {
        path.extension().is_some_and(|ending| ending == "md")
    });
    assert!(pages.len() > 5, "the pages were not found");
    pages.push(top.join("host/ARCHITECTURE.md"));
    none(pages.iter().flat_map(|page| links::dead_paths(&read(page), &bases)).collect());
}

#[test]
fn the_page_about_the_architecture_is_short() {
    let words = read(&repository().join("host/ARCHITECTURE.md")).text.split_whitespace().count();
    assert!(words <= 1_200, "host/ARCHITECTURE.md has {words} words, more than 1,200");
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let endings = [
        "rs", "toml", "md", "json", "wit", "wat", "sh", "yml", "html", "css", "js", "py", "go", "c",
    ];
    let found = files(&repository(), &|path| {
        path.extension().is_some_and(|end| endings.iter().any(|e| end == *e))
    });
    none(found.iter().flat_map(|path| shape::check_places(&read(path))).collect());
}

/// A law in small, for the tests of the checker.
const LAW: &str = "
// floor 2: high
pub mod high; // doors: axum
// floor 1: middle
pub mod left; // doors: axum,
// doors: std::env
pub mod right;
// floor 0: low
pub mod low; // doors: std::time::SystemTime
pub mod lower;
";

#[track_caller]
fn finds(name: &str, text: &str, expected: &[&str]) {
    let violations = Law::read(LAW).unwrap().check(&Source::new(name, text));
    let found = violations.len() == expected.len()
        && violations.iter().zip(expected).all(|(violation, part)| violation.contains(part));
    assert!(found, "expected {expected:?}, found {violations:#?}");
}

#[test]
fn an_import_from_the_same_or_a_higher_floor_is_found() {
    finds("host/src/low.rs", "use crate::lower::A;", &[]);
    finds("host/src/left.rs", "use crate::low::A; use crate::left::B; use self::child::C;", &[]);
    finds(
        "host/src/left.rs",
        "use crate::right::A;",
        &["left.rs:1: `left` must not import from `right`"],
    );
    finds("host/src/low.rs", "\n\nfn f() { crate::high::g() }", &["low.rs:3"]);
    finds("host/src/low.rs", "use crate::{low::A, left::{self, B}};", &["`left`", "`left`"]);
    finds("host/src/low.rs", "use super::right::A;", &["`right`"]);
    finds("host/src/low/child.rs", "use super::super::right::A; use super::A;", &["`right`"]);
    finds(
        "host/src/low/child.rs",
        "mod tests { use super::super::super::right::A; use super::A; }",
        &["`right`"],
    );
    finds(
        "host/src/low.rs",
        "// crate::high\nconst A: &str = \"crate::high::x\"; /// crate::high::x",
        &[],
    );
    finds("host/src/low.rs", "use crate::elsewhere::A;", &["`elsewhere`"]);
    finds("host/src/main.rs", "fn main() { hookbox::high::main() }", &[]);
}

#[test]
fn a_crate_outside_its_door_is_found() {
    finds("host/src/high.rs", "use axum::Router;", &[]);
    finds("host/src/left/child.rs", "fn f() { axum::serve(std::env::var(\"A\")) }", &[]);
    finds("host/src/right.rs", "use axum::{Router, routing::get};", &["`axum`", "`axum`"]);
    finds("host/src/right.rs", "fn f() -> ::axum::Router { a }", &["`axum`"]);
    finds("host/src/right.rs", "use std::{fs, env as e};", &["`std::env`"]);
    finds(
        "host/src/high.rs",
        "use std::time::{Duration, SystemTime};",
        &["`std::time::SystemTime`"],
    );
    finds(
        "host/src/right.rs",
        "use std as s; fn f() { s::env::var(a); s::fs::read(b) }",
        &["`std::env`"],
    );
    finds(
        "host/src/right.rs",
        "use std::time::{self, Duration}; fn f() { time::SystemTime::now() }",
        &["SystemTime`"],
    );
    finds("host/src/right.rs", "fn axum() { left::axum::x(axum) }", &[]);
}

#[test]
fn a_law_that_cannot_be_read_is_an_error() {
    assert!(Law::read("pub mod stray;").unwrap_err().contains("stray"));
    assert!(Law::read("// floor 0: a\n").is_err());
    assert!(
        Law::read("// floor 0: a\npub mod a;\n// floor 1: b\npub mod b;")
            .unwrap_err()
            .contains("order")
    );
    assert!(Law::read("// floor 0: a\n// doors: b\npub mod a;").unwrap_err().contains("doors: b"));
}
