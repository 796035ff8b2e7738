//! The example plugins, each run on its cases.
//!
//! The tests take the files that are there, the committed ones at least; `cargo xtask test` builds
//! all of them first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Examples whose files are not committed, because they are too large for that.
const BUILT: [&str; 3] = ["hello-go", "hello-js", "hello-python"];

/// Every folder in `plugins/`: each is the source of a plugin.
fn sources() -> Vec<PathBuf> {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("plugins");
    let mut found: Vec<PathBuf> =
        fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    assert!(found.len() > BUILT.len(), "the examples were not found");
    found
}

#[test]
fn every_example_has_cases() {
    for source in sources() {
        let cases = fs::read_dir(source.join("cases")).map(Iterator::count).unwrap_or(0);
        assert!(cases > 0, "{} has no cases", source.display());
    }
}

#[test]
fn every_example_does_what_its_cases_say() {
    for source in sources() {
        let name = source.file_name().unwrap().to_str().unwrap();
        let committed = source.with_extension("wasm");
        let built = source.join(name).with_added_extension("wasm");
        let file = if BUILT.contains(&name) { built } else { committed };
        if !file.is_file() && BUILT.contains(&name) {
            println!("SKIPPED {name}: it is not built (`cargo xtask plugins` does it)");
            continue;
        }
        let mut test = Command::new(env!("CARGO_BIN_EXE_hookbox"));
        let ran = test.arg("test").arg(&source).arg("--plugin").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(
            ran.status.success(),
            "{}\n{said}{}",
            file.display(),
            String::from_utf8_lossy(&ran.stderr)
        );
        println!("{name}\n{said}");
    }
}

#[test]
fn every_example_configuration_passes_its_check() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/examples");
    let mut checked = 0;
    for entry in fs::read_dir(&examples).unwrap() {
        let config = entry.unwrap().path().join("config.toml");
        let mut check = Command::new(env!("CARGO_BIN_EXE_hookbox"));
        let ran = check.arg("check").arg("--config").arg(&config).output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(ran.status.success(), "{}\n{said}", config.display());
        // Secrets and API keys are for the reader to set. Everything else is as it should be.
        let warnings = said.lines().filter(|line| line.starts_with("warning: "));
        let is_unset =
            |line: &str| line.contains("is empty or absent") || line.contains("has no secret yet");
        let others: Vec<_> = warnings.filter(|line| !is_unset(line)).collect();
        assert!(others.is_empty(), "{}\n{others:#?}", config.display());
        checked += 1;
    }
    assert!(checked > 0, "there is no example in {}", examples.display());
}
