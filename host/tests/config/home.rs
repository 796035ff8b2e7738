//! A folder to keep a configuration in, and what is asked of what is read from it.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use hookbox::config::source::{Secrets, Signature, Verify};
use hookbox::config::{Config, MakeSecrets, Partial, Problems, Source, Surroundings};
use secrecy::ExposeSecret;

/// A folder with two plugins and some environment.
pub(super) struct Home {
    pub(super) folder: tempfile::TempDir,
    pub(super) env: Vec<(&'static str, &'static str)>,
    pub(super) make_secrets: MakeSecrets,
}

impl Home {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        fs::create_dir(folder.path().join("plugins")).expect("the temporary folder can be written");
        for name in ["video-orders.wasm", "audit.wat", ".draft.wasm", "notes.txt"] {
            fs::write(folder.path().join("plugins").join(name), "")
                .expect("the temporary folder can be written");
        }
        fs::create_dir(folder.path().join("plugins/folder.wasm"))
            .expect("the temporary folder can be written");
        Self {
            folder,
            env: vec![("ACME_SECRET", "0123456789abcdef")],
            make_secrets: MakeSecrets::No,
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    pub(super) fn parse(&self, text: &str) -> Result<Config, Problems> {
        let env = |name: &str| {
            self.env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Config::parse(
            &self.path(),
            text,
            Surroundings { make_secrets: self.make_secrets, env: &env },
        )
    }

    /// The same, as far as it can be read.
    pub(super) fn partial(&self, text: &str) -> Partial {
        let env = |name: &str| {
            self.env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        Partial::parse(
            &self.path(),
            text,
            Surroundings { make_secrets: MakeSecrets::No, env: &env },
        )
    }

    pub(super) fn good(&self, text: &str) -> Config {
        self.parse(text).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
    }

    pub(super) fn bad(&self, text: &str) -> Problems {
        match self.parse(text) {
            Ok(_) => panic!("this was taken:\n{text}"),
            Err(problems) => problems,
        }
    }

    /// The problem of a text that has a single one, as message and help in a line.
    pub(super) fn problem(&self, text: &str) -> String {
        let problems = self.bad(text);
        assert_eq!(problems.len(), 1, "{text}\n{problems}");
        problems.iter().map(|problem| format!("{} ({})", problem.message, problem.help)).collect()
    }

    /// Asserts that a text has a single problem, which says all of this.
    #[track_caller]
    pub(super) fn refuses(&self, text: &str, says: &[&str]) {
        let problem = self.problem(text);
        for part in says {
            assert!(problem.contains(part), "`{part}` is not said of\n{text}\n{problem}");
        }
    }
}

pub(super) const ACME: &str = r#"
[sources.acme]
secrets = [{ env = "ACME_SECRET" }]
type = { json = "/type" }
verify = { scheme = "hmac-sha256", header = "X-Acme-Signature" }
"#;

pub(super) fn signature<'a>(config: &'a Config, source: &str) -> (&'a Source, &'a Signature) {
    let source = &config.sources[source];
    match &source.verify {
        Verify::Signature(signature) => (source, signature),
        Verify::None => panic!("{} is not verified", source.name),
    }
}

pub(super) fn keys(secrets: &Secrets) -> Vec<Vec<u8>> {
    match secrets {
        Secrets::Set(keys) => keys.iter().map(|key| key.expose_secret().to_vec()).collect(),
        other => panic!("{other:?}"),
    }
}
