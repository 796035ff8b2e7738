//! The programs that people would write instead, as they would run them. Everything is installed
//! beside the build: into `node_modules` and into a virtual environment, by npm and pip.

use std::path::{Path, PathBuf};

use super::receivers::Receiver;
use hookbox_tools::{Result, command, run, say};

/// As Flask's documentation starts it.
pub(super) const GUNICORN: &str = ".venv/bin/gunicorn --workers 4 --bind 127.0.0.1:0 app:app";

/// The endpoints, ready to be started.
#[derive(Debug)]
pub(super) struct Rivals {
    folder: PathBuf,
}

impl Rivals {
    /// Installs what is missing and writes the endpoints.
    pub(super) fn install(folder: &Path) -> Result<Self> {
        let (express, flask) = (folder.join("express"), folder.join("flask"));
        for (file, text) in [
            (express.join("express.js"), include_str!("rivals/express.js")),
            (flask.join("app.py"), include_str!("rivals/app.py")),
        ] {
            let fail = |error: std::io::Error| format!("{}: {error}", file.display());
            std::fs::create_dir_all(file.parent().unwrap_or(folder)).map_err(fail)?;
            std::fs::write(&file, text).map_err(fail)?;
        }
        // Of the SQLite packages that need no compiler, the one with the interface and the speed of
        // better-sqlite3.
        for package in ["express@5", "libsql@0.5"] {
            let name = package.split('@').next().unwrap_or(package);
            if !express.join("node_modules").join(name).exists() {
                say(&format!("installing {package} from npm"));
                let install = format!("install --no-audit --no-fund --silent {package}");
                run(command("npm", &install).current_dir(&express))?;
            }
        }
        if !flask.join(".venv/bin/gunicorn").exists() {
            say("installing Flask and gunicorn from PyPI");
            run(command("python3", "-m venv .venv").current_dir(&flask))?;
            let pip = flask.join(".venv/bin/pip");
            let install = "install --quiet --disable-pip-version-check flask==3.* gunicorn";
            run(command(&pip.to_string_lossy(), install).current_dir(&flask))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Express: verify, count, answer.
    pub(super) fn express(&self) -> Result<Receiver> {
        Receiver::express(&self.folder.join("express/express.js"), None)
    }

    /// The same with an insert before the answer, into a new file in the new folder `site`.
    pub(super) fn express_insert(&self, site: &Path) -> Result<Receiver> {
        Receiver::express(&self.folder.join("express/express.js"), Some(site))
    }

    /// Flask under gunicorn: verify, count, answer.
    pub(super) fn flask(&self) -> Receiver {
        Receiver::flask(&self.folder.join("flask"))
    }
}
