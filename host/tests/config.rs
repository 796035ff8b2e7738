//! The configuration as a user meets it: what is read, what is refused, and how that is told.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use hookbox::config::source::{Encoding, Field, Hmac, KeyEncoding, Part, Pick, Secrets, Stale, Verify};
use hookbox::config::{Config, MakeSecrets, Problems, Source, Surroundings, presets};
use hookbox::retry::{Jitter, RetryPolicy};
use secrecy::ExposeSecret;

use proptest::prelude::*;

/// A folder with two plugins and some environment.
struct Home {
    folder: tempfile::TempDir,
    env: Vec<(&'static str, &'static str)>,
    make_secrets: MakeSecrets,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        fs::create_dir(folder.path().join("plugins")).expect("the temporary folder can be written");
        for name in ["video-orders.wasm", "audit.wat", ".draft.wasm", "notes.txt"] {
            fs::write(folder.path().join("plugins").join(name), "").expect("the temporary folder can be written");
        }
        fs::create_dir(folder.path().join("plugins/folder.wasm")).expect("the temporary folder can be written");
        Self { folder, env: vec![("ACME_SECRET", "0123456789abcdef")], make_secrets: MakeSecrets::No }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn parse(&self, text: &str) -> Result<Config, Problems> {
        let env = |name: &str| self.env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Config::parse(&self.path(), text, Surroundings { make_secrets: self.make_secrets, env: &env })
    }

    fn good(&self, text: &str) -> Config {
        self.parse(text).unwrap_or_else(|problems| panic!("{}", problems.render(false)))
    }

    fn bad(&self, text: &str) -> Problems {
        match self.parse(text) {
            Ok(_) => panic!("this was taken:\n{text}"),
            Err(problems) => problems,
        }
    }

    /// The problem of a text that has a single one, as message and help in a line.
    fn problem(&self, text: &str) -> String {
        let problems = self.bad(text);
        assert_eq!(problems.len(), 1, "{text}\n{problems}");
        problems.iter().map(|problem| format!("{} ({})", problem.message, problem.help)).collect()
    }

    /// Asserts that a text has a single problem, which says all of this.
    #[track_caller]
    fn refuses(&self, text: &str, says: &[&str]) {
        let problem = self.problem(text);
        for part in says {
            assert!(problem.contains(part), "`{part}` is not said of\n{text}\n{problem}");
        }
    }
}

const ACME: &str = r#"
[sources.acme]
secrets = [{ env = "ACME_SECRET" }]
type = { json = "/type" }
verify = { scheme = "hmac-sha256", header = "X-Acme-Signature" }
"#;

fn hmac<'a>(config: &'a Config, source: &str) -> (&'a Source, &'a Hmac) {
    let source = &config.sources[source];
    match &source.verify {
        Verify::Hmac(hmac) => (source, hmac),
        Verify::None => panic!("{} is not verified", source.name),
    }
}

fn keys(secrets: &Secrets) -> Vec<Vec<u8>> {
    match secrets {
        Secrets::Set(keys) => keys.iter().map(|key| key.expose_secret().to_vec()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_root_configuration_works_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut home = Home::new();
    home.make_secrets = MakeSecrets::Yes;
    fs::remove_file(home.folder.path().join("plugins/audit.wat")).unwrap();
    fs::write(home.folder.path().join("plugins/audit.wasm"), "").unwrap();
    let config = home.good(&fs::read_to_string(root.join("config.toml")).unwrap());
    let (source, hmac) = hmac(&config, "heygen");
    assert_eq!(source.preset.as_deref(), Some("heygen"));
    assert!(matches!(&hmac.secrets, Secrets::Generated { path, .. } if path.ends_with("data/secrets/heygen")));
    let targets = |source: &str, kind: &str| {
        config.routes.targets(source, kind).iter().map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(targets("heygen", "avatar_video.success"), ["video-orders"]);
    assert_eq!(targets("plugins/video-orders", "order.video_ready"), ["audit"]);
}

#[test]
fn the_root_configuration_shows_the_defaults_and_every_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("config.toml")).unwrap();
    // A commented-out line is one that starts like a key or a section.
    let all: String = text
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let key = bare.split_once(" = ").is_some_and(|(key, _)| !key.trim_matches('"').contains(' '));
            if key || bare.starts_with('[') && bare.contains(']') && !bare.contains("]:") { bare } else { line }
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let home = Home { env: vec![("ACME_SECRET", "whsec_0123456789abcdef")], ..Home::new() };
    let config = home.good(&all);
    assert_eq!(config.server, home.good("").server);
    assert_eq!(config.store, home.good("").store);
    let mut plugin = (*config.plugin("video-orders")).clone();
    assert_eq!(plugin.config.get("currency").map(String::as_str), Some("EUR"));
    plugin.config = Default::default();
    assert_eq!(plugin, *home.good("").plugin("video-orders"));
    let (acme, verify) = hmac(&config, "acme");
    assert_eq!(acme.kind, Pick::Json("/event/type".to_owned()));
    assert_eq!(verify.signed, [Part::Timestamp, Part::Literal(".".to_owned()), Part::Body]);
    assert_eq!(keys(&verify.secrets), [b"0123456789abcdef"]);
    assert_eq!(config.routes.iter().len(), 3);
}

#[test]
fn an_empty_file_has_all_the_defaults() {
    let home = Home::new();
    let config = home.good("");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(config.server.admin.to_string(), "127.0.0.1:3001");
    assert_eq!(config.server.plugins_dir, home.folder.path().join("plugins"));
    assert_eq!(config.server.max_body_bytes, 1 << 20);
    assert_eq!(config.store.sqlite_path, home.folder.path().join("data/hookbox.db"));
    assert_eq!(config.store.retention_ms, 30 * 86_400_000);
    assert_eq!(config.store.dedupe_window_ms, 14 * 86_400_000);
    assert_eq!(config.plugin("audit").retry, RetryPolicy::default());
}

/// Twelve mistakes of different kinds; each is told at its line, with what would be right.
#[test]
fn every_problem_is_reported_at_once_with_its_line_and_its_fix() {
    let text = r#"[server]
listen = "localhost:3000"
max_body = "1GiB"
plugin_dir = "plugins"
admin_tokens = ["abc"]

[store]
url = "postgres://user:hunter2@db/hookbox"
retention = "30 days"

[sources.heygen]
preset = "heygem"
secrets = [{ env = "HEYGEN_WEBHOOK_SECRET" }]

[sources.acme]
secrets = ["whsec_0123456789abcdef"]

[routes]
"avatar_video.*" = ["video-order", "audit"]
"acem:order.**" = "audit"
"order.vid*" = "audit"
avatar_video.success = "audit"

[plugins.audit]
timeout = "0s"
concurrency = 4096
instance = "reuse"
retry = { max_attempts = 0, jitter = "ful" }

[plugin.video-orders]
timeout = "1s"
"#;
    let problems = Home::new().bad(text);
    let expected = [
        (2, "`server.listen` is \"localhost:3000\"", "such as \"127.0.0.1:3000\""),
        (3, "`server.max_body` is \"1GiB\", out of bounds", "from 1KiB to 64MiB"),
        (4, "`server.plugin_dir` is not a key", "did you mean `plugins_dir`?"),
        (5, "`server.admin_tokens` is not supported yet", "take it out"),
        (8, "`store.url` names a PostgreSQL server, which is not supported yet", "sqlite:data/hookbox.db"),
        (9, "`store.retention` is \"30 days\", which is not a duration", "from 1h to 3650d"),
        (12, "`sources.heygen.preset` is the unknown preset \"heygem\"", "did you mean `heygen`?"),
        (15, "`sources.acme` does not say how its requests are verified", "scheme = \"hmac-sha256\""),
        (15, "`sources.acme` does not say where the event type is found", "{ header = \"X-Event\" }"),
        (16, "`sources.acme.secrets` holds a literal value", "{ env = \"NAME\" }"),
        (19, "`routes.\"avatar_video.*\"` names the unknown plugin `video-order`", "did you mean `video-orders`?"),
        (20, "`routes.\"acem:order.**\"` names the unknown source `acem`", "did you mean `acme`?"),
        (21, "`routes.\"order.vid*\"` has a star within a segment", "`video.*` for one"),
        (22, "`routes.avatar_video` is a table", "\"avatar_video.success\" = "),
        (25, "`plugins.audit.timeout` is \"0s\", out of bounds", "from 10ms to 15m"),
        (26, "`plugins.audit.concurrency` is 4096, out of bounds", "from 1 to 1024"),
        (27, "`plugins.audit.instance` is \"reuse\", which is not supported yet", "\"fresh\""),
        (28, "`plugins.audit.retry.max_attempts` is 0, out of bounds", "from 1 to 1000"),
        (28, "`plugins.audit.retry.jitter` is \"ful\"", "did you mean `full`?"),
        (30, "`plugin` is not a key", "did you mean `plugins`?"),
    ];
    let got: Vec<_> = problems.iter().map(|problem| (problem.line, &problem.message, &problem.help)).collect();
    assert_eq!(got.len(), expected.len(), "{problems}");
    for ((line, message, help), got) in expected.into_iter().zip(got) {
        assert!(
            got.0 == line && got.1.starts_with(message) && got.2.contains(help),
            "expected {line}: {message} ({help}), got {got:?}"
        );
    }
    for shown in [problems.render(false), problems.render(true), problems.summary(), format!("{problems:?}")] {
        assert!(!shown.contains("0123456789abcdef") && !shown.contains("hunter2"), "a secret is shown: {shown}");
    }
}

#[test]
fn a_problem_is_shown_with_its_place_in_the_file() {
    let home = Home::new();
    let problems = home.bad("[server]\n\n  max_bdy = \"1MiB\"\n");
    let shown = problems.render(false);
    assert!(shown.contains(&format!("{}:3:3]", home.path().display())), "{shown}");
    assert!(shown.contains(" 3 │   max_bdy = \"1MiB\"\n   ·   ───────\n"), "{shown}");
    assert!(shown.contains("did you mean `max_body`?"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown}");
    assert!(problems.render(true).contains('\u{1b}'));
    assert_eq!(problems.summary().lines().count(), 1);
    assert!(problems.summary().starts_with(&format!("{}:3:3: `server.max_bdy`", home.path().display())));
}

#[test]
fn a_syntax_error_is_a_problem_with_its_line() {
    let problems = Home::new().bad("[server]\nlisten = \n");
    assert_eq!(problems.len(), 1, "{problems}");
    assert_eq!(problems.iter().next().map(|problem| problem.line), Some(2), "{problems}");
    for literal in ["[\"whsec_0123456789abcdef]", "[whsec_0123456789abcdef]", "whsec_0123456789abcdef"] {
        let problems = Home::new().bad(&format!("secrets = {literal}\n"));
        for shown in [problems.render(false), problems.summary()] {
            assert!(!shown.contains("0123456789"), "a secret is shown: {shown}");
        }
    }
    let twice = Home::new().bad("[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert_eq!(twice.iter().next().map(|problem| problem.line), Some(3), "{twice}");
}

#[test]
fn nesting_without_end_is_refused() {
    for text in [
        "x = ".to_owned() + &"[".repeat(100_000),
        "x = ".to_owned() + &"{a=".repeat(100_000),
        "[a".to_owned() + &".a".repeat(100_000) + "]",
    ] {
        let shown = Home::new().bad(&text).render(false);
        assert!(!shown.is_empty() && shown.len() < 100_000, "{} bytes", shown.len());
    }
}

#[test]
fn a_file_full_of_problems_is_told_within_bounds() {
    let text: String = (0..50_000).map(|number| format!("a{number} = 1\n")).collect();
    let problems = Home::new().bad(&text);
    assert_eq!(problems.len(), 101);
    assert!(problems.summary().ends_with("there are 49900 more problems (put these right first)"));
}

proptest! {
    /// Whatever is taken out of the reference or put into it: it is read or refused, and a refusal can be shown.
    #[test]
    fn a_damaged_file_is_never_a_panic(from in 0usize..8_000, length in 0usize..40, put in "[\\PC\n]{0,6}") {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let reference = fs::read_to_string(root.join("config.toml")).unwrap();
        let mut text: Vec<char> = reference.replace("# ", "").chars().collect();
        let from = from.min(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, put.chars());
        if let Err(problems) = Home::new().parse(&text.into_iter().collect::<String>()) {
            prop_assert!(problems.len() > 0 && !problems.render(false).is_empty());
            prop_assert!(problems.summary().lines().count() >= problems.len());
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_clear_problem() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| Config::load(&folder.path().join(name), MakeSecrets::No).unwrap_err().summary();
    assert!(load("absent.toml").contains("--config FILE"));
    assert!(load("").contains("cannot be read"));
    fs::write(folder.path().join("latin1.toml"), b"[server]\n# caf\xe9\n").unwrap();
    assert!(load("latin1.toml").contains("not UTF-8: there is a stray byte in line 2"));
    fs::write(folder.path().join("large.toml"), "#".repeat((1 << 20) + 1)).unwrap();
    assert!(load("large.toml").contains("larger than 1MiB"));
}

#[test]
fn every_section_refuses_an_unknown_key() {
    let home = Home::new();
    for text in [
        "x = 1",
        "[server]\nx = 1",
        "[store]\nx = 1",
        "[plugins.audit]\nx = 1",
        "[plugins.audit.retry]\nx = 1",
        &format!("{ACME}x = 1"),
        &format!("{ACME}[sources.acme.id]\nheader = \"X-Id\"\nx = 1"),
        &ACME.replace("header =", "x = 1, header ="),
        &ACME.replace("header =", "timestamp = { header = \"X-T\", x = 1 }, header ="),
        &ACME.replace("{ env =", "{ x = 1, env ="),
    ] {
        home.refuses(text, &["x` is not a key of hookbox"]);
    }
}

#[test]
fn what_is_not_supported_yet_says_so() {
    let home = Home::new();
    for text in [
        "[server]\nadmin_tokens = [{ env = \"TOKEN\" }]",
        "[server]\nadmin = \"0.0.0.0:3001\"",
        "[store]\nurl = \"postgres://db/hookbox\"",
        "[store]\nurl = \"postgresql://db/hookbox\"",
        "[plugins.audit]\ninstance = \"reuse\"",
        "[plugins.audit]\napprove = \"auto\"",
        "[plugins.audit]\nhttp = [{ host = \"api.example.com\" }]",
        "[plugins.audit]\ngrants = {}",
    ] {
        home.refuses(text, &["not supported yet"]);
    }
    home.good("[plugins.audit]\ninstance = \"fresh\"");
}

#[test]
fn addresses_are_checked() {
    let home = Home::new();
    home.refuses("[server]\nadmin = \"192.0.2.1:3001\"", &["not a loopback address", "admin_tokens"]);
    home.refuses("[server]\nadmin = \"127.0.0.1:3000\"", &["the same address"]);
    home.refuses("[server]\nlisten = \"0.0.0.0:3001\"", &["the same address"]);
    home.refuses("[server]\nlisten = 3000", &["must be a string", "listen = \"127.0.0.1:3000\""]);
    let config = home.good("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"");
    assert_eq!(config.server.listen, config.server.admin);
    home.good("[server]\nadmin = \"[::1]:3001\"");
}

#[test]
fn paths_start_at_the_file() {
    let home = Home::new();
    fs::create_dir(home.folder.path().join("other")).unwrap();
    let config = home.good("[server]\nplugins_dir = \"other\"\n[store]\nurl = \"sqlite:///var/lib/hookbox.db\"");
    assert_eq!(config.server.plugins_dir, home.folder.path().join("other"));
    assert_eq!(config.store.sqlite_path, Path::new("/var/lib/hookbox.db"));
    let config = home.good("[store]\nurl = \"sqlite:hooks.db\"");
    assert_eq!(config.store.sqlite_path, home.folder.path().join("hooks.db"));
    home.refuses("[server]\nplugins_dir = \"absent\"", &["plugins folder", "cannot be read"]);
    for url in ["hooks.db", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro", "mysql://x", ""] {
        home.refuses(&format!("[store]\nurl = \"{url}\""), &["is not the address of a store"]);
    }
}

#[test]
fn the_dedupe_window_is_within_the_retention() {
    let home = Home::new();
    let config = home.good("[store]\nretention = \"2d\"");
    assert_eq!(config.store.dedupe_window_ms, config.store.retention_ms);
    home.refuses("[store]\nretention = \"2d\"\ndedupe_window = \"3d\"", &["longer than `store.retention` (2d)"]);
    home.refuses("[store]\ndedupe_window = \"1s\"", &["out of bounds", "from 1m"]);
}

#[test]
fn a_plugins_settings_are_read() {
    let config = Home::new().good(
        r#"[plugins.audit]
timeout = "1m30s"
memory = "8MiB"
concurrency = 2
retry = { max_attempts = 3, initial = "250ms", factor = 3, max = "10s", jitter = "none" }
[plugins.audit.config]
currency = "EUR"
limit = 3
rate = 1.5
strict = true
tags = ["a", "b"]
since = 2026-01-02
deep = { a = 1 }
"#,
    );
    let plugin = config.plugin("audit");
    assert_eq!((plugin.timeout_ms, plugin.memory_bytes, plugin.concurrency), (90_000, 8 << 20, 2));
    let retry = RetryPolicy { max_attempts: 3, initial_ms: 250, factor: 3.0, max_ms: 10_000, jitter: Jitter::None };
    assert_eq!(plugin.retry, retry);
    let config: Vec<_> = plugin.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("currency", "EUR"),
        ("deep", "{\"a\":1}"),
        ("limit", "3"),
        ("rate", "1.5"),
        ("since", "\"2026-01-02\""),
        ("strict", "true"),
        ("tags", "[\"a\",\"b\"]"),
    ];
    assert_eq!(config, expected);
}

#[test]
fn a_plugins_bad_settings_are_refused() {
    let home = Home::new();
    let cases = [
        ("timeout = \"9ms\"", "from 10ms to 15m"),
        ("timeout = \"16m\"", "from 10ms to 15m"),
        ("timeout = 10", "must be a duration in quotes"),
        ("memory = \"1023KiB\"", "from 1MiB to 1GiB"),
        ("memory = \"2GiB\"", "from 1MiB to 1GiB"),
        ("memory = \"64\"", "which is not a size"),
        ("concurrency = 0", "from 1 to 1024"),
        ("concurrency = -1", "is -1, out of bounds"),
        ("concurrency = 1.5", "must be a whole number"),
        ("instance = \"warm\"", "it can be \"fresh\""),
        ("config = \"EUR\"", "must be a table"),
        ("config = { x = nan }", "JSON cannot carry"),
        ("config = { x = [inf] }", "JSON cannot carry"),
        ("retry = { factor = 0.5 }", "from 1 to 100"),
        ("retry = { factor = nan }", "from 1 to 100"),
        ("retry = { initial = \"8d\" }", "from 1ms to 7d"),
        ("retry = { initial = \"2h\" }", "a `max` of at least 2h"),
        ("retry = { initial = \"10s\", max = \"5s\" }", "a `max` of at least 10s"),
        ("retry = { max_attempts = 1001 }", "from 1 to 1000"),
    ];
    for (line, says) in cases {
        home.refuses(&format!("[plugins.audit]\n{line}"), &[says]);
    }
    home.refuses("[plugins.audti]", &["unknown plugin", "did you mean `audit`?", "`audti.wat`"]);
    home.refuses("plugins = []", &["must be a table"]);
}

#[test]
fn routes_are_checked() {
    let home = Home::new();
    let cases = [
        ("\"\" = \"audit\"", "empty pattern"),
        ("\"a b\" = \"audit\"", "a space"),
        ("\"a..b\" = \"audit\"", "empty segment"),
        ("\"*:a\" = \"audit\"", "star in its source"),
        ("\"acme:a\" = \"audit\"", "unknown source `acme`"),
        ("\"plugins/audti:a\" = \"audit\"", "unknown source `plugins/audti`"),
        ("a = [\"audit\", \"audit\"]", "names the plugin `audit` twice"),
        ("a = []", "names no plugin"),
        ("a = 1", "must be a string"),
        ("a = \"folder\"", "unknown plugin `folder`"),
        ("a = \"notes\"", "neither `notes.wasm` nor `notes.wat`"),
    ];
    for (line, says) in cases {
        home.refuses(&format!("[routes]\n{line}"), &[says]);
    }
    let config =
        home.good(&format!("{ACME}[routes]\n\"acme:a.*\" = \"audit\"\n\"plugins/audit:**\" = [\"video-orders\"]"));
    let shown: Vec<_> = config.routes.iter().map(|route| route.pattern.as_str()).collect();
    assert_eq!(shown, ["acme:a.*", "plugins/audit:**"]);
}

#[test]
fn a_custom_source_is_read_as_it_is_written() {
    let config = Home::new().good(
        r#"[sources.acme]
secrets = [{ env = "ACME_SECRET" }]
type = { header = "X-Acme-Event" }
id = { header = "X-Acme-Delivery" }
subject = { json = "/a~1b/0" }
[sources.acme.verify]
scheme = "hmac-sha256"
header = ["X-New", "X-Old"]
prefix = "v1="
separator = ","
encoding = "base64"
signed = "{id}:{timestamp}:{body}"
timestamp = { header = "X-New", prefix = "t=", separator = "," }
tolerance = "1h"
stale = "accept"
"#,
    );
    let (source, hmac) = hmac(&config, "acme");
    assert_eq!(source.kind, Pick::Header("x-acme-event".to_owned()));
    assert_eq!(source.subject, Some(Pick::Json("/a~1b/0".to_owned())));
    assert!(source.id_is_signed);
    let field = |header: &str, prefix: &str| Field {
        header: header.to_owned(),
        prefix: prefix.to_owned(),
        separator: Some(','),
    };
    assert_eq!(hmac.signatures, [field("x-new", "v1="), field("x-old", "v1=")]);
    assert_eq!(hmac.encoding, Encoding::Base64);
    let colon = || Part::Literal(":".to_owned());
    assert_eq!(hmac.signed, [Part::Id, colon(), Part::Timestamp, colon(), Part::Body]);
    let timestamp = hmac.timestamp.as_ref().unwrap();
    assert_eq!(timestamp.field, field("x-new", "t="));
    assert_eq!((timestamp.required, timestamp.tolerance_ms, timestamp.stale), (true, 3_600_000, Stale::Accept));
    assert_eq!(keys(&hmac.secrets), [b"0123456789abcdef"]);
}

#[test]
fn a_preset_can_be_overridden_key_by_key() {
    let config = Home::new().good(
        r#"[sources.heygen]
preset = "heygen"
secrets = [{ env = "ACME_SECRET" }]
id = { json = "/event_id" }
verify = { header = "X-New-Name", tolerance = "1d", stale = "reject" }
"#,
    );
    let (source, hmac) = hmac(&config, "heygen");
    assert_eq!(source.id, Some(Pick::Json("/event_id".to_owned())));
    assert!(source.id_is_signed);
    assert_eq!(hmac.signatures.iter().map(|field| field.header.as_str()).collect::<Vec<_>>(), ["x-new-name"]);
    let known = presets::find("heygen").unwrap();
    assert_eq!((source.kind.clone(), source.subject.clone()), (known.kind.unwrap(), known.subject));
    let timestamp = hmac.timestamp.as_ref().unwrap();
    assert_eq!(timestamp.field, known.timestamp.unwrap().field);
    assert_eq!((timestamp.required, timestamp.tolerance_ms, timestamp.stale), (false, 86_400_000, Stale::Reject));
}

#[test]
fn bad_sources_are_refused() {
    let home = Home::new();
    home.refuses(&ACME.replace("acme]", "Acme]"), &["cannot be the name of a source"]);
    home.refuses(&ACME.replace("acme]", &format!("{}]", "a".repeat(65))), &["1 to 64"]);
    home.refuses(
        &ACME.replace("secrets = [{ env = \"ACME_SECRET\" }]", ""),
        &["has no `secrets`", "ACME_WEBHOOK_SECRET"],
    );
    home.refuses(&ACME.replace("type =", "# type ="), &["where the event type is found"]);
    home.refuses(&ACME.replace("hmac-sha256", "hmac-md5"), &["is \"hmac-md5\"", "\"hmac-sha256\", \"none\""]);
    home.refuses(&ACME.replace("scheme = \"hmac-sha256\", ", ""), &["names no scheme", "there is no default"]);
    home.refuses(&ACME.replace("X-Acme-Signature", "X Acme"), &["not the name of a header"]);
    home.refuses(&ACME.replace(", header = \"X-Acme-Signature\"", ""), &["names no header"]);
    for (pick, says) in [
        ("\"order\"", "does not say where to look"),
        ("{}", "exactly one place"),
        ("{ json = \"/a\", header = \"A\" }", "exactly one place"),
        ("{ json = \"a.b\" }", "did you mean \"/a/b\"?"),
        ("{ json = \"\" }", "not a JSON pointer"),
        ("{ json = \"/a~2\" }", "not a JSON pointer"),
        ("{ json = \"/a~\" }", "not a JSON pointer"),
        ("{ header = \"\" }", "not the name of a header"),
        ("{ fixed = \"\" }", "not a usable text"),
    ] {
        home.refuses(&ACME.replace("{ json = \"/type\" }", pick), &["`sources.acme.type", says]);
    }
    home.refuses(&format!("{ACME}id = {{ fixed = \"1\" }}"), &["`sources.acme.id.fixed` cannot be an id"]);
}

#[test]
fn a_bad_template_is_refused() {
    let home = Home::new();
    for (keys, says) in [
        ("signed = \"{timestamp}\", timestamp = { header = \"X-T\" }", "leaves out the {body}"),
        ("signed = \"{bdy}\"", "did you mean `body`?"),
        ("signed = \"{body\"", "a brace without its other half"),
        ("signed = \"body}\"", "a brace without its other half"),
        ("signed = \"{timestamp}{body}\"", "no header is named for it"),
        ("signed = \"{id}{body}\"", "`id = { header = \"X-Delivery-Id\" }`"),
        ("tolerance = \"5m\"", "without a `timestamp`"),
        ("stale = \"accept\"", "without a `timestamp`"),
        ("timestamp = { header = \"X-T\" }, tolerance = \"31d\"", "from 1s to 30d"),
        ("timestamp = { header = \"X-T\" }, stale = \"keep\"", "\"reject\", \"accept\""),
        ("timestamp = {}", "names no header"),
        ("separator = \", \"", "the one character"),
        ("prefix = \"\\n\"", "not a text that a header can carry"),
        ("encoding = \"hexx\"", "did you mean `hex`?"),
        ("secret_encoding = \"rot13\"", "\"utf8\", \"base64\""),
    ] {
        home.refuses(&ACME.replace("header =", &format!("{keys}, header =")), &[says]);
    }
}

#[test]
fn no_verification_has_to_be_written_out() {
    let home = Home::new();
    let open = "[sources.acme]\ntype = { fixed = \"a\" }\n";
    home.refuses(open, &["does not say how its requests are verified", "`preset = …`"]);
    let config = home.good(&format!("{open}verify = {{ scheme = \"none\" }}"));
    assert!(matches!(config.sources["acme"].verify, Verify::None));
    home.refuses(&format!("{open}verify = {{ scheme = \"none\", header = \"X\" }}"), &["no use without verification"]);
    home.refuses(
        &format!("{open}verify = {{ scheme = \"none\" }}\nsecrets = [{{ env = \"ACME_SECRET\" }}]"),
        &["no use without"],
    );
}

#[test]
fn secrets_are_found_where_the_file_says() {
    let mut home = Home::new();
    fs::write(home.folder.path().join("secret.txt"), "fedcba9876543210\r\n").unwrap();
    home.env.push(("CODED", "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="));
    let list =
        "[{ env = \"ACME_SECRET\" }, { env = \"ABSENT\" }, { file = \"absent.txt\" }, { file = \"secret.txt\" }]";
    let config = home.good(&ACME.replace("[{ env = \"ACME_SECRET\" }]", list));
    assert_eq!(keys(&hmac(&config, "acme").1.secrets), [b"0123456789abcdef", b"fedcba9876543210"]);
    let config = home.good("[sources.sw]\npreset = \"standard-webhooks\"\nsecrets = [{ env = \"CODED\" }]");
    assert_eq!(keys(&hmac(&config, "sw").1.secrets), [b"0123456789abcdef"]);
    let config = home.good("[sources.heygen]\npreset = \"heygen\"\nsecrets = [{ env = \"CODED\" }]");
    assert_eq!(keys(&hmac(&config, "heygen").1.secrets), [b"whsec_MDEyMzQ1Njc4OWFiY2RlZg=="]);
    assert!(!format!("{config:?}").contains("MDEyMzQ1"), "a secret is shown");
}

#[test]
fn bad_secrets_are_refused_and_never_shown() {
    let mut home = Home::new();
    home.env.push(("SHORT", "0123456789abcde"));
    home.env.push(("NOT_CODED", "whsec_!0123456789abcdef"));
    let with = |list: &str| ACME.replace("[{ env = \"ACME_SECRET\" }]", list);
    for (list, says) in [
        ("\"0123456789abcdef\"", "holds a literal value"),
        ("[\"0123456789abcdef\"]", "holds a literal value"),
        ("[{ env = \"whsec_0123456789abcdef\" }]", "is not the name of an environment variable"),
        ("[{ env = \"0123456789abcdef=\" }]", "is not the name of an environment variable"),
        ("[{ value = \"0123456789abcdef\", env = \"ACME_SECRET\" }]", "is not a key of hookbox"),
        ("[{ secret = \"0123456789abcdef\", env = \"ACME_SECRET\" }]", "is not a key of hookbox"),
        ("[{ env = \"SHORT\" }]", "the environment variable `SHORT`, which holds a secret of less than 16 bytes"),
        ("[{ env = \"ACME_SECRET\", file = \"x\" }]", "exactly one place"),
        ("[{}]", "exactly one place"),
        ("[{}, {}, {}, {}, {}, {}, {}, {}, \"0123456789abcdef\"]", "too many entries"),
        ("[]", "is empty"),
        ("[{ file = \"plugins\" }]", "cannot be read"),
    ] {
        let problems = home.bad(&with(list));
        assert!(problems.summary().contains(says), "{problems}");
        for shown in [problems.render(false), problems.summary()] {
            assert!(!shown.contains("0123456789"), "a secret is shown: {shown}");
        }
    }
    let open = "verify = { scheme = \"none\" }\nsecrets = [\"0123456789abcdef\"]";
    let unused = home.bad(&format!("[sources.acme]\ntype = {{ fixed = \"a\" }}\n{open}")).render(false);
    assert!(!unused.contains("0123456789"), "a secret is shown: {unused}");
    home.refuses(
        "[sources.sw]\npreset = \"standard-webhooks\"\nsecrets = [{ env = \"NOT_CODED\" }]",
        &["`NOT_CODED`", "not base64"],
    );
}

#[test]
fn a_secret_that_is_not_set_is_made_on_loopback_only() {
    let mut home = Home::new();
    let source = "[sources.heygen]\npreset = \"heygen\"\nsecrets = [{ env = \"ABSENT\" }]\n";
    let missing = |config: &Config| match &hmac(config, "heygen").1.secrets {
        Secrets::Missing(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let data = home.folder.path().join("data");
    assert!(missing(&home.good(source)).contains("`ABSENT` is empty or absent; `hookbox serve` makes one"));
    assert!(!data.exists(), "nothing is created without being asked");

    home.make_secrets = MakeSecrets::Yes;
    home.bad(&format!("{source}[server]\nx = 1"));
    assert!(!data.exists(), "nothing is created for a bad file");
    let public = format!("{source}[server]\nlisten = \"0.0.0.0:3000\"");
    assert!(missing(&home.good(&public)).ends_with("`ABSENT` is empty or absent"));
    assert!(!data.exists(), "nothing is created for a public listener");

    let made = |config: &Config| match &hmac(config, "heygen").1.secrets {
        Secrets::Generated { secret, path } => (secret.expose_secret().to_vec(), path.clone()),
        other => panic!("{other:?}"),
    };
    let (secret, path) = made(&home.good(source));
    assert_eq!(path, data.join("secrets/heygen"));
    assert!(secret.starts_with(b"whsec_"));
    home.make_secrets = MakeSecrets::No;
    assert_eq!(made(&home.good(source)).0, secret);
    assert!(matches!(hmac(&home.good(&public), "heygen").1.secrets, Secrets::Missing(_)));

    fs::write(&path, "short\n").unwrap();
    home.refuses(source, &["data/secrets/heygen", "delete that file"]);
}

#[test]
fn a_made_secret_fits_every_preset() {
    let mut home = Home::new();
    home.make_secrets = MakeSecrets::Yes;
    for name in presets::NAMES {
        let config = home.good(&format!("[sources.{name}]\npreset = \"{name}\"\nsecrets = [{{ env = \"ABSENT\" }}]"));
        let Secrets::Generated { secret, path } = &hmac(&config, name).1.secrets else { panic!("{name}") };
        let text = fs::read_to_string(path).unwrap();
        let coded = presets::find(name).unwrap().key.encoding == KeyEncoding::Base64;
        assert!(text.starts_with("whsec_"));
        assert_eq!(secret.expose_secret().len(), if coded { 32 } else { text.trim_end().len() });
    }
}

#[test]
fn what_needs_a_restart_is_named() {
    let home = Home::new();
    let old = home.good("");
    assert_eq!(old.restart_needed(&old), Vec::<&str>::new());
    let server = "[server]\nlisten = \"127.0.0.1:4000\"\nmax_body = \"2MiB\"\n";
    let new = home.good(&format!("{server}[store]\nurl = \"sqlite:x.db\"\nretention = \"60d\""));
    assert_eq!(old.restart_needed(&new), ["server.listen", "server.max_body", "store.url"]);
}
