//! Paths in the pages about the code lead somewhere.

use std::path::{Path, PathBuf};

use super::Source;

/// The paths in backticks of a page that nothing stands at, below any of `bases`.
pub(super) fn dead_paths(page: &Source, bases: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in page.text.lines().enumerate() {
        let quoted = line.split('`').skip(1).step_by(2).filter(|text| is_path(text));
        for path in quoted.flat_map(alternatives) {
            if !bases.iter().any(|base| base.join(Path::new(&path)).exists()) {
                found.push(page.violation(number + 1, format!("there is no `{path}`")));
            }
        }
    }
    found
}

/// Whether a text is meant as a path of the repository: a file of a kind that is in it, or a folder
/// within a folder. Capitals stand for any name, and `target` is made by a build.
fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-./{},".contains(c);
    let is_file = [".rs", ".toml", ".md", ".wit"].iter().any(|ending| text.ends_with(ending));
    let is_folder = text.ends_with('/') && text.matches('/').count() > 1;
    (is_file && text.contains('/') || is_folder)
        && text.chars().all(plain)
        && !text.starts_with(['/', '.'])
        && !text.starts_with("target/")
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn alternatives(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else { return vec![text.to_owned()] };
    let Some((names, after)) = rest.split_once('}') else { return vec![text.to_owned()] };
    names.split(',').map(|name| format!("{before}{name}{after}")).collect()
}

#[test]
fn a_path_that_leads_nowhere_is_found() {
    let page = Source::new(
        "page.md",
        "`src/{lib,main}.rs`, `gone/too/`, `data/`, `GET /a/b/`, `/webhook/a/`\n`tests/gone.rs`, `a/NAME.rs`\n",
    );
    let bases = [Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()];
    let expected = ["page.md:1: there is no `gone/too/`", "page.md:2: there is no `tests/gone.rs`"];
    assert_eq!(dead_paths(&page, &bases), expected);
}
