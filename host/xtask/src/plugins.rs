//! `cargo xtask plugins`: the example plugins, built from the sources beside them.
//!
//! Two compilers rarely make the same bytes, so the committed files are not compared with the built ones by content but
//! by what they do: both have to pass the cases in `plugins/NAME/cases/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, cargo, root, run, say, target_dir};

/// What plugins are compiled to.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// The largest plugin that is committed, in bytes.
const MAX_BYTES: u64 = 150_000;

/// Builds every plugin and puts it where the host loads it from.
pub(crate) fn build() -> Result {
    for plugin in sources()? {
        let built = build_one(&plugin)?;
        let committed = committed(&plugin);
        if read(&built)? == fs::read(&committed).unwrap_or_default() {
            say(&format!("{} is up to date", committed.display()));
        } else {
            fs::copy(&built, &committed)
                .map_err(|error| format!("failed to write {}: {error}", committed.display()))?;
            say(&format!("{} is new", committed.display()));
        }
        check_size(&committed)?;
    }
    Ok(())
}

/// Builds every plugin elsewhere; an error if it or the committed one does not do what its cases say.
pub(crate) fn check() -> Result {
    // The same build as that of the tests: with fewer targets the sandbox would be compiled once more, for it would have
    // other features.
    run(&mut cargo("build --workspace --all-targets --locked"))?;
    let mut problems = Vec::new();
    for plugin in sources()? {
        let (built, committed) = (build_one(&plugin)?, committed(&plugin));
        problems.extend(check_size(&committed).err());
        for file in [committed, built] {
            let mut test = Command::new(target_dir().join("debug").join("hookbox"));
            test.arg("test").arg(&plugin).arg("--plugin").arg(file).current_dir(root());
            problems.extend(run(&mut test).err());
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// The folders of the plugins that are written in Rust, by name.
fn sources() -> Result<Vec<PathBuf>> {
    let mut found = entries(&root().join("plugins"))?;
    found.retain(|path| path.join("Cargo.toml").is_file());
    if found.is_empty() { Err("plugins/ holds no sources".to_owned()) } else { Ok(found) }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| format!("failed to read {}: {error}", dir.display());
    let entries = fs::read_dir(dir).map_err(failed)?;
    let mut paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

/// Builds one plugin below the target folder and says where it is.
fn build_one(plugin: &Path) -> Result<PathBuf> {
    let target_dir = target_dir().join("plugins");
    let mut build = cargo("build --release --locked");
    build.arg("--target").arg(TARGET);
    build.arg("--manifest-path").arg(plugin.join("Cargo.toml"));
    build.arg("--target-dir").arg(&target_dir);
    run(without_paths(&mut build))?;
    let name = name(plugin).replace('-', "_");
    Ok(target_dir.join(TARGET).join("release").join(format!("{name}.wasm")))
}

/// Keeps the folders of this machine out of the file: they stand in panic messages otherwise.
fn without_paths(build: &mut Command) -> &mut Command {
    let home = std::env::home_dir().unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let flags = [(cargo_home, "cargo"), (root(), "hookbox")]
        .map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()));
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
}

fn committed(plugin: &Path) -> PathBuf {
    plugin.with_extension("wasm")
}

fn name(plugin: &Path) -> String {
    plugin.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn check_size(file: &Path) -> Result {
    let size = read(file)?.len() as u64;
    if size <= MAX_BYTES {
        return Ok(());
    }
    Err(format!("{} has {size} bytes, more than {MAX_BYTES}", file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| format!("failed to read {}: {error}", file.display()))
}
