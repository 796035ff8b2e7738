//! How problems are told: all at once, with their place, within bounds, and never with a secret.

use std::fs;
use std::path::Path;

use hookbox::config::{Config, MakeSecrets};
use proptest::prelude::*;

use super::home::{ACME, Home};

/// Twelve mistakes of different kinds; each is told at its line, with what would be right.
const FULL_OF_PROBLEMS: &str = r#"[server]
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
"plugins/audt:order.**" = "audit"
"order.vid*" = "audit"
avatar_video.success = "audit"

[plugins.audit]
timeout = "0s"
concurrency = 4096
instance = "warm"
retry = { max_attempts = 0, jitter = "ful" }

[plugin.video-orders]
timeout = "1s"
"#;

/// The line, the beginning of the message, and a part of the help of each.
const EXPECTED: [(usize, &str, &str); 20] = [
    (2, "`server.listen` is \"localhost:3000\"", "such as \"127.0.0.1:3000\""),
    (3, "`server.max_body` is \"1GiB\", out of bounds", "from 1KiB to 64MiB"),
    (4, "`server.plugin_dir` is not a key", "did you mean `plugins_dir`?"),
    (5, "`server.admin_tokens` is a string, but must be a table", "sha256 = "),
    (
        8,
        "`store.url` holds a password, and a secret is never written here",
        "url = { env = \"DATABASE_URL\" }",
    ),
    (9, "`store.retention` is \"30 days\", which is not a duration", "from 1h to 3650d"),
    (12, "`sources.heygen.preset` is the unknown preset \"heygem\"", "did you mean `heygen`?"),
    (15, "`sources.acme` does not say how its requests are verified", "scheme = \"hmac-sha256\""),
    (15, "`sources.acme` does not say where the event type is found", "{ header = \"X-Event\" }"),
    (16, "`sources.acme.secrets` holds a literal value", "{ env = \"NAME\" }"),
    (
        19,
        "`routes.\"avatar_video.*\"` names the unknown plugin `video-order`",
        "did you mean `video-orders`?",
    ),
    (
        20,
        "`routes.\"plugins/audt:order.**\"` names the unknown source `plugins/audt`",
        "did you mean `audit`?",
    ),
    (21, "`routes.\"order.vid*\"` has a star within a segment", "`video.*` for one"),
    (22, "`routes.avatar_video` is a table", "\"avatar_video.success\" = "),
    (25, "`plugins.audit.timeout` is \"0s\", out of bounds", "from 10ms to 15m"),
    (26, "`plugins.audit.concurrency` is 4096, out of bounds", "from 1 to 256"),
    (27, "`plugins.audit.instance` is \"warm\"", "it can be \"fresh\", \"reuse\""),
    (28, "`plugins.audit.retry.max_attempts` is 0, out of bounds", "from 1 to 1000"),
    (28, "`plugins.audit.retry.jitter` is \"ful\"", "did you mean `full`?"),
    (30, "`plugin` is not a key", "did you mean `plugins`?"),
];

#[test]
fn every_problem_is_reported_at_once_with_its_line_and_its_fix() {
    let problems = Home::new().bad(FULL_OF_PROBLEMS);
    let got: Vec<_> =
        problems.iter().map(|problem| (problem.line, &problem.message, &problem.help)).collect();
    assert_eq!(got.len(), EXPECTED.len(), "{problems}");
    for ((line, message, help), got) in EXPECTED.into_iter().zip(got) {
        assert!(
            got.0 == line && got.1.starts_with(message) && got.2.contains(help),
            "expected {line}: {message} ({help}), got {got:?}"
        );
    }
    for shown in
        [problems.render(false), problems.render(true), problems.summary(), format!("{problems:?}")]
    {
        assert!(
            !shown.contains("0123456789abcdef") && !shown.contains("hunter2"),
            "a secret is shown: {shown}"
        );
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
    assert!(
        problems.summary().starts_with(&format!("{}:3:3: `server.max_bdy`", home.path().display()))
    );
}

#[test]
fn a_syntax_error_is_a_problem_with_its_line() {
    let problems = Home::new().bad("[server]\nlisten = \n");
    assert_eq!(problems.len(), 1, "{problems}");
    assert_eq!(problems.iter().next().map(|problem| problem.line), Some(2), "{problems}");
    for literal in
        ["[\"whsec_0123456789abcdef]", "[whsec_0123456789abcdef]", "whsec_0123456789abcdef"]
    {
        let problems = Home::new().bad(&format!("secrets = {literal}\n"));
        for shown in [problems.render(false), problems.summary()] {
            assert!(!shown.contains("0123456789"), "a secret is shown: {shown}");
        }
    }
    let twice = Home::new().bad("[server]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
    assert_eq!(twice.iter().next().map(|problem| problem.line), Some(3), "{twice}");
}

#[test]
fn a_plugin_named_by_its_file_is_told_to_leave_the_ending_out() {
    let home = Home::new();
    home.refuses(
        "[routes]\n\"a\" = \"audit.wasm\"\n",
        &["named without the ending of its file: \"audit\""],
    );
    home.refuses(
        "[routes]\n\"a\" = \"audti.wat\"\n",
        &["did you mean `audit`?", "without the ending"],
    );
}

#[test]
fn a_key_that_is_there_twice_names_both_lines_and_a_pattern_the_list() {
    let text = "[routes]\n\"a.*\" = \"video-orders\"\n\"a.*\" = \"audit\"\n";
    let right = "\"a.*\" = [\"video-orders\", \"audit\"]";
    Home::new().refuses(text, &["`routes.\"a.*\"` is there twice, in lines 2 and 3", right]);
    Home::new().refuses(
        "[routes]\navatar_video.* = \"audit\"\n",
        &["put the pattern in quotes: \"avatar_video.*\""],
    );
}

#[test]
fn a_path_in_place_of_a_stores_address_is_shown_and_what_may_carry_a_password_is_not() {
    let shown = |url: &str| Home::new().bad(&format!("[store]\nurl = \"{url}\"\n")).render(false);
    let path = shown("data/hookbox.db");
    assert!(
        path.contains("url = \"data/hookbox.db\"")
            && path.contains("did you mean \"sqlite:data/hookbox.db\"?"),
        "{path}"
    );
    for url in ["mysql://user:hunter2@db/x", "hunter2@db", "file:x?key=hunter2"] {
        assert!(!shown(url).contains("hunter2"), "{url}");
    }
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
fn a_large_file_that_is_no_toml_is_told_within_bounds() {
    let problems = Home::new().bad(&"a b\n".repeat(100_000));
    assert_eq!(problems.len(), 101);
}

#[test]
fn a_file_full_of_problems_is_told_within_bounds() {
    let text: String = (0..50_000).map(|number| format!("a{number} = 1\n")).collect();
    let problems = Home::new().bad(&text);
    assert_eq!(problems.len(), 101);
    assert!(problems.summary().ends_with("there are 49900 more problems (put these right first)"));
}

proptest! {
    /// Whatever is taken out of the reference or put into it: it is read or refused, and a refusal
    /// can be shown.
    #[test]
    fn a_damaged_file_is_never_a_panic(from in 0usize..8_000, length in 0usize..40, put in "[\\PC\n]{0,6}") {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let reference = fs::read_to_string(root.join("config.toml")).unwrap();
        let mut text: Vec<char> = reference.replace("# ", "").chars().collect();
        let from = from.min(text.len());
        let to = (from + length).min(text.len());
        text.splice(from..to, put.chars());
        let text: String = text.into_iter().collect();
        let partial = Home::new().partial(&text);
        prop_assert!(partial.source_names().count() <= 256);
        if let Err(problems) = Home::new().parse(&text) {
            prop_assert!(problems.len() > 0 && !problems.render(false).is_empty());
            prop_assert!(problems.summary().lines().count() >= problems.len());
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_a_clear_problem() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| {
        Config::load(&folder.path().join(name), MakeSecrets::No).unwrap_err().summary()
    };
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
        "[plugins.audit.limits]\nx = 1",
        "[plugins.audit]\nhttp = [{ host = \"a.example.com\", x = 1 }]",
        "[plugins.audit]\nhttp = [{ host = \"a.example.com\", headers = { A = { env = \"A\", x = 1 } } }]",
        &format!("{ACME}x = 1"),
        &format!("{ACME}[sources.acme.id]\nheader = \"X-Id\"\nx = 1"),
        &ACME.replace("header =", "x = 1, header ="),
        &ACME.replace("header =", "timestamp = { header = \"X-T\", x = 1 }, header ="),
        &ACME.replace("{ env =", "{ x = 1, env ="),
    ] {
        home.refuses(text, &["x` is not a key of hookbox"]);
    }
}
