//! The files of the projects: the folders `plugins/hello-LANG/` themselves, as they were when this
//! program was built.
//!
//! Invariant: every file of those folders that git keeps is named here; a test compares.

use clap::ValueEnum;

/// A language there is an example in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Lang {
    /// Rust, by wit-bindgen
    Rust,
    /// JavaScript, by componentize-js
    Js,
    /// Python, by componentize-py
    Python,
    /// Go, as a command for WASI
    Go,
    /// C, by Zig's compiler and wit-bindgen
    C,
    /// TypeScript, which has no template
    #[value(alias = "typescript", hide = true)]
    Ts,
}

/// A file of a project.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProjectFile {
    /// Relative to the project's folder.
    pub(super) path: &'static str,
    pub(super) content: &'static [u8],
}

macro_rules! example {
    ($folder:literal: $($path:literal)*) => {
        &[$(ProjectFile { path: $path, content: include_bytes!(concat!("../../../../plugins/", $folder, "/", $path)) }),*]
    };
}

const RUST: &[ProjectFile] =
    example!("hello-rust": ".gitignore" "Cargo.lock" "Cargo.toml" "README.md" "build" "src/lib.rs");
const JS: &[ProjectFile] =
    example!("hello-js": ".gitignore" "README.md" "build" "build.mjs" "handler.js" "package.json");
const PYTHON: &[ProjectFile] =
    example!("hello-python": ".gitignore" "README.md" "build" "handler.py");
const GO: &[ProjectFile] =
    example!("hello-go": ".gitignore" "README.md" "build" "go.mod" "main.go");
const C: &[ProjectFile] = example!(
    "hello-c": ".gitignore" "README.md" "build" "handler.c" "json.c" "json.h"
    "gen/plugin.c" "gen/plugin.h" "gen/plugin_component_type.o"
);

/// The cases, which are the same in every language.
const CASES: &[ProjectFile] = example!(
    "hello-rust":
    "cases/failure/event.json" "cases/failure/expected.json"
    "cases/failure-by-other-names/event.json" "cases/failure-by-other-names/expected.json"
    "cases/no-callback-id/event.json" "cases/no-callback-id/expected.json"
    "cases/no-event-data/event.json" "cases/no-event-data/expected.json"
    "cases/not-json/event.json" "cases/not-json/expected.json"
    "cases/outage/event.json" "cases/outage/expected.json"
    "cases/refusal/event.json" "cases/refusal/expected.json"
    "cases/success/event.json" "cases/success/expected.json"
    "cases/success-by-other-names/event.json" "cases/success-by-other-names/expected.json"
    "cases/text/event.json" "cases/text/expected.json"
    "cases/translation/event.json" "cases/translation/expected.json"
    "cases/unknown-type/event.json" "cases/unknown-type/expected.json"
);

/// And the interface that this host speaks.
const WIT: ProjectFile =
    ProjectFile { path: "wit/plugin.wit", content: include_bytes!("../../../../wit/plugin.wit") };

/// The name of the example in a language, which stands for the project's own, and the project's
/// files.
pub(super) fn of(lang: Lang) -> (&'static str, impl Iterator<Item = &'static ProjectFile>) {
    let (example, files) = match lang {
        Lang::Rust => ("hello-rust", RUST),
        Lang::Js | Lang::Ts => ("hello-js", JS),
        Lang::Python => ("hello-python", PYTHON),
        Lang::Go => ("hello-go", GO),
        Lang::C => ("hello-c", C),
    };
    (example, files.iter().chain(CASES).chain([&WIT]))
}
