//! A component that was not written here, for the tests: the HTTP server among the examples of the
//! `wstd` crate, built from the crate as its registry has it. Nothing of it is kept in the
//! repository.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::plugins::TARGET;
use hookbox_tools::{Result, cargo, output, run, say, target_dir};

/// The crate with its exact version: the test is of the host.
const CRATE: &str = "wstd";
const VERSION: &str = "0.6.8";
/// Its example that exports `wasi:http/incoming-handler`.
const EXAMPLE: &str = "http_server";

/// Builds the component, once, and puts it where the tests look for it.
pub(crate) fn build() -> Result {
    let folder = target_dir().join("public");
    let built = folder.join("http-server.wasm");
    if built.is_file() {
        say(&format!("{} is there", built.display()));
        return Ok(());
    }
    let source = folder.join(CRATE);
    copy(&fetched(&folder)?, &source)?;
    stand_alone(&source.join("Cargo.toml"))?;
    let mut build = cargo(&format!("build --release --example {EXAMPLE} --target {TARGET}"));
    build
        .arg("--manifest-path")
        .arg(source.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder.join("target"));
    run(&mut build)?;
    let made = folder
        .join("target")
        .join(TARGET)
        .join("release/examples")
        .join(EXAMPLE)
        .with_extension("wasm");
    fs::copy(&made, &built)
        .map_err(|error| format!("failed to copy {}: {error}", made.display()))?;
    Ok(())
}

/// Has cargo fetch the crate, by way of a package that depends on it, and says where its source is.
fn fetched(folder: &Path) -> Result<PathBuf> {
    let package = folder.join("fetch");
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[lib]\npath = \"lib.rs\"\n\n\
         [dependencies]\n{CRATE} = \"={VERSION}\"\n\n[workspace]\n"
    );
    let failed = |error| format!("failed to write {}: {error}", package.display());
    fs::create_dir_all(&package).map_err(failed)?;
    fs::write(package.join("lib.rs"), "").map_err(failed)?;
    fs::write(package.join("Cargo.toml"), manifest).map_err(failed)?;
    let mut metadata = cargo("metadata --format-version 1");
    metadata.arg("--manifest-path").arg(package.join("Cargo.toml"));
    let metadata: Value =
        serde_json::from_str(&output(&mut metadata)?).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let found = packages.into_iter().find(|package| package["name"] == CRATE);
    let manifest = found.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.map(Path::new).and_then(Path::parent);
    manifest.map(Path::to_owned).ok_or_else(|| format!("cargo does not say where {CRATE} is"))
}

/// Keeps cargo from looking for a workspace above it.
fn stand_alone(manifest: &Path) -> Result {
    let failed = |error| format!("failed to change {}: {error}", manifest.display());
    let text = fs::read_to_string(manifest).map_err(failed)?;
    fs::write(manifest, text + "\n[workspace]\n").map_err(failed)
}

/// A package below the registry's folder cannot be built on its own account.
fn copy(from: &Path, to: &Path) -> Result {
    let failed = |error| format!("failed to copy {} to {}: {error}", from.display(), to.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(failed)?;
        }
    }
    Ok(())
}
