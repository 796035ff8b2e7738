//! `cargo xtask bindings`: what a plugin in C needs besides its own code, generated from `wit/`.
//!
//! The generated files are committed, so that a plugin's author needs nothing but a C compiler.
//! They are made here and not by hand, and `cargo xtask plugins --check` compares them with `wit/`,
//! so that they cannot fall behind it.

use std::fs;
use std::path::PathBuf;

use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

use hookbox_tools::{Result, root, say};

/// Where the bindings of the example in C are.
const FOLDER: &str = "plugins/hello-c/gen";

/// Writes the bindings anew.
pub(crate) fn write() -> Result {
    let files = generate()?;
    let folder = folder();
    fs::create_dir_all(&folder).map_err(|error| format!("failed to make {FOLDER}: {error}"))?;
    for (name, content) in files.iter() {
        fs::write(folder.join(name), content)
            .map_err(|error| format!("failed to write {FOLDER}/{name}: {error}"))?;
        say(&format!("{FOLDER}/{name}"));
    }
    Ok(())
}

/// An error if the committed bindings are not those of `wit/`.
pub(crate) fn check() -> Result {
    for (name, content) in generate()?.iter() {
        let committed = fs::read(folder().join(name));
        if committed.is_ok_and(|committed| committed == content) {
            continue;
        }
        return Err(format!("{FOLDER}/{name} is not what wit/ says: run `cargo xtask bindings`"));
    }
    Ok(())
}

fn folder() -> PathBuf {
    root().join(FOLDER)
}

/// A header, its code, and an object file that says in a custom section which world it is for.
fn generate() -> Result<Files> {
    let failed = |error| format!("failed to make bindings of wit/: {error:#}");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit")).map_err(failed)?;
    let world = resolve.select_world(&[package], Some("plugin")).map_err(failed)?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(failed)?;
    Ok(files)
}
