//! Commands that need no host: usage, `check`, and refusals before anything is asked.

use serde_json::{Value, json};

use super::site;
use crate::support::{SOURCE, Site};

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_would_be_right() {
    let site = site();
    for (arguments, hint) in [
        (vec![], "Usage:"),
        (vec!["evnts"], "'events'"),
        (vec!["events", "--jsn"], "'--json'"),
        (vec!["events", "--limit", "0"], "--limit"),
        (vec!["events", "evt_0000000000000001", "replay", "evt_0000000000000001"], "replay"),
        (vec!["send", "heygen"], "<TYPE>"),
        (vec!["send", "heygen", "t", "--set", "novalue"], "PATH=VALUE"),
        (vec!["send", "heygen", "t", "--count", "0"], "--count"),
        (vec!["send", "heygen", "t", "--rate", "0"], "--rate"),
        (vec!["send", "heygn", "avatar_video.success"], "did you mean `heygen`?"),
        (vec!["send", "heygen", "t", "--data", "missing.json"], "missing.json"),
        (vec!["send", "heygen", "t", "--url", "ftp://x"], "http://"),
        (vec!["send", "heygen", "t"], "HEYGEN_WEBHOOK_SECRET"),
        (vec!["deliveries", "retry"], "--state dead"),
        (
            vec!["deliveries", "retry", "dlv_0000000000000001_0", "--state", "dead"],
            "cannot be used with",
        ),
        (vec!["test", "plugins/fine.wat"], "`hookbox test DIR --plugin plugins/fine.wat`"),
        (vec!["plugins", "approve"], "<NAME>"),
        (vec!["events", "--config", "missing.toml"], "missing.toml"),
        (vec!["serve", "--config", "missing.toml"], "missing.toml"),
        (vec!["run", "x.wasm"], "--event"),
        (vec!["test"], "<DIR>"),
    ] {
        let ran = site.run(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains(hint) && ran.out.is_empty(), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn help_has_examples_for_every_command() {
    let site = site();
    for command in [
        "",
        "serve",
        "check",
        "send",
        "bench",
        "run",
        "new",
        "test",
        "events",
        "deliveries",
        "plugins",
        "health",
    ] {
        let arguments: Vec<&str> =
            [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let ran = site.run(&arguments);
        assert!(
            ran.code == 0 && ran.out.contains("Examples:") && ran.err.is_empty(),
            "{arguments:?}: {ran:?}"
        );
    }
    assert_eq!(site.run(&["--version"]).out.trim(), concat!("hookbox ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_host_that_is_not_there_is_exit_code_1() {
    let site = site();
    // Nothing listens on the discard port of a loopback address that is not the usual one.
    let nowhere = ["--admin", "127.9.9.9:9"];
    for arguments in [
        &["events"][..],
        &["deliveries", "--state", "dead"],
        &["plugins", "fine"],
        &["events", "tail"],
        &["health"],
        &["health", "--live"],
    ] {
        let ran = site.run(&[arguments, &nowhere].concat());
        assert_eq!(ran.code, 1, "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("is `hookbox serve` running?"), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn the_address_of_a_page_is_printed_and_a_token_is_made_without_a_host() {
    let site = site();
    let host = ["--admin", "127.9.9.9:9"];
    assert_eq!(site.run(&[&["open"][..], &host].concat()).out, "http://127.9.9.9:9/\n");
    let thing = site.run(&[&["open", "order 1&2"][..], &host].concat());
    assert_eq!(thing.out, "http://127.9.9.9:9/find?q=order%201%262\n");
    let made = site.run(&["token", "new", "jo", "--role", "operator", "--json"]);
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let (token, hash) = (made["token"].as_str().unwrap(), made["sha256"].as_str().unwrap());
    assert!(token.starts_with("hbx_") && token.len() == 47 && hash.len() == 64, "{made}");
    let line = format!("{{ name = \"jo\", role = \"operator\", sha256 = \"{hash}\" }}");
    assert_eq!(made["line"], line.as_str());
    for (arguments, says) in [
        (["token", "new", "Jo", "--role", "viewer"].as_slice(), "a-z"),
        (&["token", "new", "jo", "--role", "send", "--payloads"], "reads nothing"),
    ] {
        let ran = site.run(arguments);
        assert!(ran.code == 2 && ran.err.contains(says), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn check_finds_nothing_wrong_with_what_is_right_and_creates_nothing() {
    let site = site();
    let set = site
        .command(&["check", "--strict"])
        .env("HEYGEN_WEBHOOK_SECRET", "0123456789abcdef")
        .output()
        .unwrap();
    assert!(
        set.status.success()
            && String::from_utf8(set.stdout).unwrap().ends_with("no problem found\n")
    );
    let ran = site.run(&["check"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    for said in [
        "/webhook/heygen",
        "avatar_video.success  → fine",
        "fine     handler@0.1.0",
        "no problem found, but 1 warning",
    ] {
        assert!(ran.out.contains(said), "{said}: {ran:?}");
    }
    assert!(!ran.out.contains('\u{1b}'), "no colour where there is no terminal");
    assert!(!site.path("data").exists());
}

#[test]
fn check_reports_the_problems_of_the_configuration_and_of_the_plugins_at_once() {
    let site = site();
    site.put(
        "config.toml",
        "[server]\nlisten = \"nonsense\"\nadmim = \"127.0.0.1:0\"\n\n[routes]\n\"a\" = \"fin\"\n",
    );
    site.put("plugins/broken.wasm", b"\0asm garbage");
    let ran = site.run(&["check"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    for said in [
        "config.toml:2",
        "config.toml:3",
        "config.toml:6",
        "did you mean `admin`",
        "`fine`",
        "plugin `broken`",
    ] {
        assert!(ran.err.contains(said), "{said} is not in\n{}", ran.err);
    }
    assert!(!ran.err.contains('\u{1b}'), "no colour where there is no terminal");
}

#[test]
fn check_says_what_makes_a_duplicate_of_each_source() {
    let site = site();
    let own = "secrets = [{ env = \"OWN_SECRET\" }]\ntype = { fixed = \"x\" }\n\
               verify = { scheme = \"hmac-sha256\", header = \"X-Signature\" }\n";
    let preset = |name: &str| {
        format!("[sources.{name}]\npreset = \"{name}\"\nsecrets = [{{ env = \"OWN_SECRET\" }}]\n")
    };
    let (heygen, github, gitea) = (preset("heygen"), preset("github"), preset("gitea"));
    site.put(
        "config.toml",
        format!(
            "{heygen}{github}{gitea}[sources.own]\n{own}[sources.chosen]\n{own}dedupe = \"body\"\n"
        ),
    );
    let ran = site.run(&["check"]);
    for said in [
        "/webhook/heygen  dedupe: id, body  ",
        "/webhook/github  dedupe: id        ",
        "/webhook/own     dedupe: body      ",
        "note: source `own` signs neither an id nor a time",
        "note: source `gitea` goes by the body beside other keys",
    ] {
        assert!(ran.code == 0 && ran.out.contains(said), "{said}: {ran:?}");
    }
    assert!(!ran.out.contains("note: source `chosen`"), "it was chosen: {ran:?}");
    assert!(!ran.out.contains("note: source `heygen`"), "its bodies differ: {ran:?}");
}

#[test]
fn check_warns_of_a_source_that_anyone_may_use() {
    let site = site();
    site.put(
        "config.toml",
        "[sources.open]\nverify = { scheme = \"none\" }\ntype = { fixed = \"x\" }\n[routes]\n\"x\" = \"fine\"\n",
    );
    let ran = site.run(&["check"]);
    assert!(
        ran.code == 0 && ran.out.contains("warning: source `open` has scheme `none`"),
        "{ran:?}"
    );
}

#[test]
fn check_warns_of_what_is_named_and_not_set_and_strict_takes_that_for_a_problem() {
    let site = site();
    let rule = "[plugins.fine]\nhttp = [{ host = \"a.example.com\", headers = { X-Key = { env = \"NO_SUCH_KEY\" } } }]";
    let source = "[sources.s]\npreset = \"github\"\nsecrets = [{ env = \"NO_SUCH_SECRET\" }]";
    for (listen, instead) in
        [("0.0.0.0", "Every post is refused with 503"), ("127.0.0.1", "`hookbox serve` makes one")]
    {
        site.put("config.toml", format!("[server]\nlisten = \"{listen}:0\"\n{source}\n{rule}\n"));
        let ran = site.run(&["check"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        for said in [
            "warning: source `s`: it has no secret yet. Looked for: variable `NO_SUCH_SECRET`",
            instead,
        ] {
            assert!(ran.out.contains(said), "{said}: {ran:?}");
        }
        assert!(
            ran.out.contains(
                "warning: plugin `fine`: the header `x-key` of its rule for a.example.com"
            ),
            "{ran:?}"
        );
        let strict = site.run(&["check", "--strict"]);
        assert_eq!((strict.code, strict.err.as_str()), (2, "error: 3 warnings\n"), "{strict:?}");
    }
}

#[test]
fn check_warns_of_a_postgres_that_does_not_answer() {
    let site = site();
    let store = "[store]\nurl = \"postgres://u@127.0.0.1:1/x\"\n";
    site.put("config.toml", format!("[server]\nlisten = \"127.0.0.1:0\"\n{store}"));
    let ran = site.run(&["check"]);
    let warning = "warning: which plugin files would be held cannot be told: no Postgres answers at 127.0.0.1:1";
    assert!(ran.code == 0 && ran.err.contains(warning), "{ran:?}");
    assert_eq!(site.run(&["check", "--strict"]).code, 2);
}

#[test]
fn a_compiled_plugin_that_run_has_kept_is_not_compiled_again_by_check() {
    let site = site();
    let ran = site.run_with(&["run", "plugins/fine.wat", "--event", "-", "--type", "t"], "{}");
    assert_eq!(ran.code, 0, "{ran:?}");
    let kept = |site: &Site| std::fs::read_dir(site.path("users-cache/hookbox")).unwrap().count();
    assert_eq!(kept(&site), 1);
    site.put("config.toml", "[plugins.fine]\n");
    std::fs::remove_file(site.path("plugins/refuses.wat")).unwrap();
    // A reader that compiles nothing needs no folder for temporary files.
    let check = || site.command(&["check"]).env("TMPDIR", site.path("absent")).output().unwrap();
    let found = check();
    assert!(String::from_utf8_lossy(&found.stdout).contains("fine  handler@0.1.0"), "{found:?}");
    std::fs::remove_dir_all(site.path("users-cache")).unwrap();
    let anew = check();
    assert!(
        String::from_utf8_lossy(&anew.stderr).contains("could not be given a temporary file"),
        "{anew:?}"
    );
    assert!(
        !site.path("users-cache").exists() && !site.path("data").exists(),
        "check creates nothing"
    );
}

#[test]
fn the_form_of_log_lines_is_an_option_of_serve() {
    let site = site();
    assert_eq!(
        site.run(&["--log-format", "json", "check"]).code,
        0,
        "a script may have it for any command"
    );
    let ran = site.run(&["events", "--log-format", "json"]);
    assert!(ran.code == 2 && ran.err.contains("--log-format"), "{ran:?}");
    let ran = site.run(&["serve", "--log-format", "xml"]);
    assert!(ran.code == 2 && ran.err.contains("[possible values: text, json]"), "{ran:?}");
}

#[test]
fn paths_in_messages_go_no_way_back() {
    let site = site();
    std::fs::create_dir(site.path("etc")).unwrap();
    site.put("etc/config.toml", "[server]\nplugins_dir = \"../etc/../absent\"\n");
    let ran = site.run(&["check", "--config", "etc/../etc/config.toml"]);
    let folder = site.path("absent").display().to_string();
    assert!(
        ran.code == 2 && ran.err.contains(&format!("the plugins folder {folder} cannot be read")),
        "{ran:?}"
    );
}

#[test]
fn a_long_message_is_broken_at_blanks_only() {
    let site = site();
    site.put("config.toml", "[routes]\n\"plugins/absent:order.paid\" = \"fine\"\n");
    let ran = site.run(&["check"]);
    assert!(ran.code == 2 && ran.err.contains("`plugins/NAME`"), "{ran:?}");
}

#[test]
fn a_log_filter_that_is_none_is_refused() {
    let site = site();
    let output = site.command(&["check"]).env("HOOKBOX_LOG", "=,=").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("HOOKBOX_LOG"), "{output:?}");
}

/// Finding C41.
#[test]
fn a_mistyped_level_is_refused_with_the_one_that_is_meant() {
    let site = site();
    let output = site.command(&["events"]).env("HOOKBOX_LOG", "debugg").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && said.contains("did you mean `debug`?"),
        "{output:?}"
    );
}

#[test]
fn a_probe_says_on_one_line_what_the_host_says_and_exits_so() {
    let site = site();
    let state = |name: &str, problems: Value| json!({ "status": name, "generation": 0, "problems": problems });
    let missing = json!([{ "part": "plugin", "name": "audit", "detail": "it is missing" }]);
    let full = json!([{ "part": "store", "name": null, "detail": "the disk is full" }]);
    for (status, answer, code, line) in [
        ("200 OK", state("ready", json!([])), 0, "ready\n"),
        ("200 OK", state("degraded", missing), 0, "degraded; plugin audit: it is missing\n"),
        (
            "503 Service Unavailable",
            state("unavailable", full),
            1,
            "unavailable; store: the disk is full\n",
        ),
    ] {
        let admin = super::pretender::prober(status, answer.clone());
        // A configuration that is bad is no reason to call a host dead that says where it is.
        site.put("config.toml", "nonsense");
        let ran = site.run(&["health", "--ready", "--admin", &admin]);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (code, line, ""), "{ran:?}");
        let ran = site.run(&["health", "--json", "--admin", &admin]);
        assert_eq!((ran.code, ran.json()), (code, answer));
    }
    let admin = super::pretender::prober(
        "421 Misdirected Request",
        json!({ "status": 421, "detail": "not here" }),
    );
    let ran = site.run(&["health", "--admin", &admin]);
    assert!(ran.code == 1 && ran.err.contains("not here"), "{ran:?}");
    let ran = site.run(&["health", "--live", "--ready"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[test]
fn a_shell_gets_what_it_needs_to_complete_commands() {
    let site = site();
    for (shell, part) in
        [("bash", "complete -F"), ("zsh", "#compdef hookbox"), ("fish", "complete -c hookbox")]
    {
        let ran = site.run(&["completions", shell]);
        assert!(
            ran.code == 0 && ran.out.contains(part) && ran.out.contains("deliveries"),
            "{ran:?}"
        );
    }
    let ran = site.run(&["completions", "cmd"]);
    assert!(ran.code == 2 && ran.err.contains("possible values"), "{ran:?}");
}

#[test]
fn a_type_that_only_a_join_takes_is_sent_without_a_warning() {
    let join = "[joins.both]\nkey = \"subject\"\ntypes = [\"step.one\", \"step.two\"]\nwithin = \"1h\"\nemit = \"step.both\"\n";
    let site = Site::new(&format!("{SOURCE}{join}"), &[]);
    // Nothing listens on the discard port of a loopback address that is not the usual one.
    let send = |kind| site.run(&["send", "test", kind, "--url", "http://127.9.9.9:9"]).err;
    let (taken, not) = (send("step.one"), send("step.three"));
    assert!(!taken.contains("no route") && taken.contains("127.9.9.9"), "{taken}");
    assert!(not.contains("so no plugin will run"), "{not}");
}
