//! `cargo xtask plugins`: the example plugins, built from the sources beside them.
//!
//! An example that is also a project to start from is built by its own `build`, as its author
//! would; the others by cargo. Two compilers rarely make the same bytes, so the committed files are
//! not compared with the built ones by content but by what they do: both have to pass the cases in
//! `plugins/NAME/cases/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bindings;
use hookbox_tools::{Result, cargo, command, output, root, run, say, target_dir};

/// The target of plugins.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// The largest plugin that is committed, in bytes.
const MAX_BYTES: u64 = 350_000;

/// Examples that are not committed, because they bring an engine or a runtime with them.
const LARGE: [&str; 3] = ["hello-go", "hello-js", "hello-python"];

/// Adds the target of plugins to the toolchain if it is missing. A toolchain that did not come by
/// rustup has what it has; a build will say that the target is missing.
pub(crate) fn install_target() -> Result {
    let Ok(installed) = output(&mut command("rustup", "target list --installed")) else {
        return Ok(());
    };
    match installed.lines().any(|target| target == TARGET) {
        true => Ok(()),
        false => run(&mut command("rustup", &format!("target add {TARGET}"))),
    }
}

/// Builds every plugin and puts those that are committed where the host loads them from; with
/// `install`, the large ones as well.
pub(crate) fn build(install: bool) -> Result {
    install_target()?;
    for plugin in sources()? {
        let built = build_one(&plugin)?;
        let committed = committed(&plugin);
        if is_large(&plugin) && !install {
            say(&format!("{} is built", built.display()));
            continue;
        }
        if read(&built)? == fs::read(&committed).unwrap_or_default() {
            say(&format!("{} is up to date", committed.display()));
        } else {
            fs::copy(&built, &committed)
                .map_err(|error| format!("failed to write {}: {error}", committed.display()))?;
            say(&format!("{} is new", committed.display()));
        }
        if !is_large(&plugin) {
            check_size(&committed)?;
        }
    }
    Ok(())
}

/// Builds every plugin without touching the committed ones; an error if any of both does not do
/// what its cases say.
pub(crate) fn check() -> Result {
    install_target()?;
    // The same build as that of the tests: with fewer targets the sandbox would be compiled once
    // more, for it would have other features.
    run(&mut cargo("build --workspace --all-targets --locked"))?;
    let mut problems: Vec<String> = bindings::check().err().into_iter().collect();
    for plugin in sources()? {
        let mut files = Vec::new();
        if !is_large(&plugin) {
            problems.extend(check_size(&committed(&plugin)).err());
            files.push(committed(&plugin));
        }
        match build_one(&plugin) {
            Ok(built) => files.push(built),
            Err(error) => problems.push(error),
        }
        for file in files {
            let mut test = Command::new(hookbox());
            test.arg("test").arg(&plugin).arg("--plugin").arg(file).current_dir(root());
            problems.extend(run(&mut test).err());
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// The host that the tests are built with.
pub(crate) fn hookbox() -> PathBuf {
    target_dir().join("debug").join("hookbox")
}

/// Every folder in `plugins/`, by name: each is the source of a plugin.
fn sources() -> Result<Vec<PathBuf>> {
    let mut found = entries(&root().join("plugins"))?;
    found.retain(|path| path.is_dir());
    if found.is_empty() { Err("plugins/ holds no sources".to_owned()) } else { Ok(found) }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| format!("failed to read {}: {error}", dir.display());
    let entries = fs::read_dir(dir).map_err(failed)?;
    let mut paths =
        entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

fn is_large(plugin: &Path) -> bool {
    LARGE.iter().any(|name| plugin.ends_with(name))
}

/// Builds one plugin and says where it is.
fn build_one(plugin: &Path) -> Result<PathBuf> {
    match plugin.join("build").is_file() {
        true => build_project(plugin),
        false => build_crate(plugin),
    }
}

/// Builds what has a `build` of its own, in its folder.
fn build_project(plugin: &Path) -> Result<PathBuf> {
    let built = plugin.join(name(plugin)).with_added_extension("wasm");
    run(Command::new("./build").current_dir(plugin))
        .map_err(|error| format!("{}: {error}", plugin.display()))?;
    read(&built).map(|_| built)
}

/// Builds a crate, below the target folder.
fn build_crate(plugin: &Path) -> Result<PathBuf> {
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
    let cargo_home =
        std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
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
