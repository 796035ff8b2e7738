//! Plugins that send requests as programs in their languages do, for the tests: `fetch` in
//! JavaScript and the bindings of componentize-py. The one in Rust is `plugins/video-details`.
//!
//! They are built with the tools that `hello-js` and `hello-python` have installed. The definition
//! of `wasi:http`, which Python's needs and the repository does not carry, is taken from the crate
//! that Rust's has it from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

use hookbox_tools::{Result, cargo, command, output, root, run, say, target_dir};

/// The crate with the definitions of WASI 0.2, in `wit/deps`.
const WASI: &str = "wasip2";

/// Builds both, unless they are there and newer than their sources.
pub(crate) fn build() -> Result {
    let (sources, made) = (root().join("host/tests/clients"), target_dir().join("clients"));
    fs::create_dir_all(&made)
        .map_err(|error| format!("failed to make {}: {error}", made.display()))?;
    let javascript = made.join("javascript.wasm");
    let definitions = root().join("wit/plugin.wit");
    let from = |names: [&str; 2]| names.map(|name| sources.join(name)).to_vec();
    let mut read = from(["handler.js", "build.mjs"]);
    read.push(definitions.clone());
    if !is_newer(&javascript, &read) {
        let componentize = root().join(
            "plugins/hello-js/node_modules/@bytecodealliance/componentize-js/src/componentize.js",
        );
        let mut build = command("node", "");
        run(build
            .arg(sources.join("build.mjs"))
            .arg(componentize)
            .arg(root().join("wit"))
            .arg(&javascript))?;
    }
    let python = made.join("python.wasm");
    let mut read = from(["handler.py", "sending.wit"]);
    read.push(definitions);
    if !is_newer(&python, &read) {
        let wit = wit(&made.join("wit"), &sources.join("sending.wit"))?;
        let venv = root().join("plugins/hello-python/.venv/bin");
        let mut build = Command::new(venv.join("python"));
        build.arg(venv.join("componentize-py")).arg("--wit-path").arg(wit).args([
            "--world",
            "sending",
            "componentize",
        ]);
        run(build.args(["handler", "--output"]).arg(&python).current_dir(&sources))?;
    }
    say(&format!("{} and {} are there", javascript.display(), python.display()));
    Ok(())
}

fn is_newer(made: &Path, sources: &[PathBuf]) -> bool {
    let changed = |path: &Path| {
        fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    fs::metadata(made).is_ok() && sources.iter().all(|source| changed(source) <= changed(made))
}

/// Puts together a folder of definitions: ours, WASI's, and the world that has both.
fn wit(folder: &Path, world: &Path) -> Result<PathBuf> {
    let copy = |from: &Path, to: PathBuf| {
        fs::copy(from, &to).map(|_| ()).map_err(|error| {
            format!("failed to copy {} to {}: {error}", from.display(), to.display())
        })
    };
    let deps = folder.join("deps");
    fs::create_dir_all(&deps)
        .map_err(|error| format!("failed to make {}: {error}", deps.display()))?;
    copy(&root().join("wit/plugin.wit"), folder.join("plugin.wit"))?;
    copy(world, folder.join("sending.wit"))?;
    let wasi = crate_folder(WASI)?.join("wit/deps");
    let files = fs::read_dir(&wasi)
        .map_err(|error| format!("failed to read {}: {error}", wasi.display()))?;
    for file in files.flatten().map(|file| file.path()) {
        copy(&file, deps.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(folder.to_owned())
}

/// Where cargo keeps the source of a crate that the example in Rust is built with.
fn crate_folder(name: &str) -> Result<PathBuf> {
    let mut metadata = cargo("metadata --locked --format-version 1");
    metadata.arg("--manifest-path").arg(root().join("plugins/video-details/Cargo.toml"));
    let metadata: Value =
        serde_json::from_str(&output(&mut metadata)?).map_err(|error| error.to_string())?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let found = packages.into_iter().find(|package| package["name"] == name);
    let manifest = found.and_then(|package| package["manifest_path"].as_str()).map(Path::new);
    manifest
        .and_then(Path::parent)
        .map(Path::to_owned)
        .ok_or_else(|| format!("cargo does not say where {name} is"))
}
