//! The programs of `docs/languages.md`, each built in a project of its language and run on the
//! cases of `host/tests/languages/`: the page is their only copy, so what it shows works.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::plugins::hookbox;
use hookbox_tools::{Result, root, run, say};

/// A language of `hookbox new`: how the page marks its program, where a project keeps its handler,
/// and whether it is a component, which can read what a command cannot.
const PROGRAMS: [(&str, &str, &str, bool); 5] = [
    ("rust", "rust", "src/lib.rs", true),
    ("js", "js", "handler.js", true),
    ("python", "python", "handler.py", true),
    ("c", "c", "handler.c", true),
    ("go", "go", "main.go", false),
];

/// Builds the page's program in a project that `hookbox new` has made and that is built, in place
/// of its handler, and runs it.
pub(crate) fn check(lang: &str, project: &Path) -> Result {
    say(&format!("the program of docs/languages.md in {lang}"));
    let found = PROGRAMS.iter().find(|(name, ..)| *name == lang);
    let (_, mark, handler, is_component) = found.ok_or("docs/languages.md has no such language")?;
    let program = program(mark)?;
    let handler = project.join(handler);
    fs::write(&handler, program)
        .map_err(|error| format!("failed to write {}: {error}", handler.display()))?;
    // A folder that is shared with the example would keep this program in place of the example's.
    let shared = project.join("target");
    if shared.is_symlink() {
        fs::remove_file(&shared)
            .map_err(|error| format!("failed to remove {}: {error}", shared.display()))?;
    }
    run(Command::new("./build").current_dir(project))?;
    let name = project.file_name().unwrap_or_default();
    let plugin = project.join(name).with_added_extension("wasm");
    let cases = root().join("host/tests/languages");
    for group in ["every", "components"] {
        if *is_component || group == "every" {
            run(Command::new(hookbox())
                .arg("test")
                .arg(cases.join(group))
                .arg("--plugin")
                .arg(&plugin))?;
        }
    }
    Ok(())
}

/// The one block of the page that is marked so.
fn program(mark: &str) -> Result<String> {
    let page = root().join("docs/languages.md");
    let text = fs::read_to_string(&page)
        .map_err(|error| format!("failed to read {}: {error}", page.display()))?;
    let fence = format!("\n```{mark}\n");
    let mut blocks = text.split(&fence).skip(1);
    let block = blocks
        .next()
        .and_then(|rest| rest.split_once("\n```\n"))
        .map(|(block, _)| format!("{block}\n"));
    match (block, blocks.next()) {
        (Some(block), None) => Ok(block),
        _ => Err(format!("{} must have one block that is marked {mark}", page.display())),
    }
}
