//! `cargo xtask schema`: the admin API answers as its OpenAPI document says, whatever schemathesis
//! asks.

use hookbox_tools::{Result, command, run, say, target_dir};

use crate::site::Site;

/// The package from PyPI, with its version: a check that a newer one brings does not fail a build
/// in which nothing has changed.
const PACKAGE: &str = "schemathesis==4.32.5";

/// The options that choose the requests. A stream does not end, and an import takes no JSON. A
/// request that fits the document may still be refused: a cursor has to be one that was given out,
/// a name has to exist.
const OPTIONS: &str = "--max-examples 20 --phases examples,coverage,fuzzing \
                       --exclude-path-regex stream|events/import \
                       --exclude-checks positive_data_acceptance --generation-deterministic";

/// Installs it if it is missing, and runs it against a host with some events.
pub(crate) fn check() -> Result {
    let venv = target_dir().join("schema/venv");
    let tool = venv.join("bin/schemathesis");
    if tool.is_file() {
        say(&format!("{} is there", tool.display()));
    } else {
        run(command("python3", "-m venv").arg(&venv))?;
        let python = venv.join("bin/python").display().to_string();
        run(&mut command(&python, &format!("-m pip install -q {PACKAGE}")))?;
    }
    let (site, _host) = Site::pipeline("schema/site")?;
    let document = format!("http://{}/api/v1/openapi.json", site.admin()?);
    let mut asks = command(&tool.display().to_string(), "run");
    asks.arg(document).args(OPTIONS.split_whitespace()).current_dir(&site.0);
    run(&mut asks)
}
