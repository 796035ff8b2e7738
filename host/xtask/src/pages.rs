//! `cargo xtask pages`: what the tests of the pages need (a browser and its driver from Debian, axe
//! from npm), and the types of the pages' scripts, checked by TypeScript's compiler.

use std::fs;

use hookbox_tools::{Result, cargo, command, install, install_from, root, run, say, target_dir};

/// The packages from npm, and their versions: a rule that a newer axe brings does not fail a build
/// in which nothing has changed.
const PACKAGES: &str = r#"{
  "private": true,
  "dependencies": { "axe-core": "4.11.0", "typescript": "5.9.3" }
}
"#;

/// The options of TypeScript's compiler: the scripts are what browsers of today run.
const CHECK: &str = "--noEmit --allowJs --checkJs --strict --noImplicitAny --target es2022 \
                     --module es2022 --moduleResolution bundler --lib es2023,dom,dom.iterable";

/// Installs what is missing, and checks the scripts.
pub(crate) fn check() -> Result {
    install("chromium")?;
    install_from("chromedriver", "chromium-driver")?;
    let folder = target_dir().join("pages");
    let manifest = folder.join("package.json");
    if fs::read_to_string(&manifest).is_ok_and(|text| text == PACKAGES)
        && folder.join("node_modules/.package-lock.json").is_file()
    {
        say(&format!("{} is there", folder.join("node_modules").display()));
    } else {
        let failed = |error| format!("failed to write {}: {error}", manifest.display());
        fs::create_dir_all(&folder).map_err(failed)?;
        fs::write(&manifest, PACKAGES).map_err(failed)?;
        let mut npm = command("npm", "install --no-audit --no-fund --no-package-lock");
        run(npm.current_dir(&folder))?;
    }
    let assets = root().join("host/assets");
    let scripts = fs::read_dir(&assets)
        .map_err(|error| format!("failed to read {}: {error}", assets.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "js"));
    let mut compiler = command("node", "node_modules/typescript/bin/tsc");
    compiler.args(CHECK.split_whitespace()).args(scripts).current_dir(&folder);
    run(&mut compiler)
}

/// Takes the pictures of the README anew.
pub(crate) fn pictures() -> Result {
    check()?;
    let mut test =
        cargo("nextest run --workspace --locked --test all -E test(/^browser::pictures/)");
    run(test.env("HOOKBOX_PICTURES", root().join("docs/images")))
}
