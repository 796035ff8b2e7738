//! The example plugins, each run on its cases.
//!
//! What is tested here are the files that are there; `cargo xtask test` builds all of them first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Examples whose files are committed. The others are too large for that.
const COMMITTED: [&str; 4] = ["audit", "hello-c", "hello-rust", "video-orders"];

/// Every folder in `plugins/`: each is the source of a plugin.
fn sources() -> Vec<PathBuf> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("plugins");
    let mut found: Vec<PathBuf> = fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

fn name(source: &Path) -> &str {
    source.file_name().unwrap().to_str().unwrap()
}

#[track_caller]
fn passes(source: &Path, file: &Path) {
    let mut test = Command::new(env!("CARGO_BIN_EXE_hookbox"));
    let ran = test.arg("test").arg(source).arg("--plugin").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{}\n{said}{}", file.display(), String::from_utf8_lossy(&ran.stderr));
    println!("{}\n{said}", file.display());
}

#[test]
fn every_example_has_cases() {
    let sources = sources();
    assert!(COMMITTED.iter().all(|name| sources.iter().any(|source| source.ends_with(name))), "{sources:?}");
    for source in sources {
        let cases = fs::read_dir(source.join("cases")).map(Iterator::count).unwrap_or(0);
        assert!(cases > 0, "{} has no cases", name(&source));
    }
}

#[test]
fn every_committed_example_does_what_its_cases_say() {
    for source in sources().iter().filter(|source| COMMITTED.contains(&name(source))) {
        passes(source, &source.with_extension("wasm"));
    }
}

#[test]
fn every_built_example_does_what_its_cases_say() {
    for source in sources() {
        let file = source.join(format!("{}.wasm", name(&source)));
        if file.is_file() {
            passes(&source, &file);
        } else if !COMMITTED.contains(&name(&source)) {
            println!("SKIPPED {}: it is not built (`cargo xtask plugins` does it)", name(&source));
        }
    }
}
