//! Clients while the configuration is bad, absent, or not the host's own; and what the environment
//! says.

use std::fs;
use std::process::{Command, Stdio};

use super::site;
use crate::support::{Host, Ran, Site};

fn with_env(site: &Site, arguments: &[&str], env: &[(&str, &str)]) -> Ran {
    site.command(arguments).envs(env.iter().copied()).output().unwrap().into()
}

/// The address alone, as `server.admin` says it.
fn admin(host: &Host) -> String {
    host.admin.to_string()
}

/// The site's configuration with the addresses of a running host in it.
fn with_addresses(site: &Site, host: &Host) -> String {
    let public = host.public;
    let config = fs::read_to_string(site.path("config.toml")).unwrap();
    let config = config.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{public}\""), 1);
    config.replacen("admin = \"127.0.0.1:0\"", &format!("admin = \"{}\"", admin(host)), 1)
}

const CLIENTS: [&[&str]; 5] = [
    &["health"],
    &["events"],
    &["deliveries"],
    &["plugins"],
    &["send", "heygen", "avatar_video.success"],
];

#[test]
fn clients_work_while_the_configuration_has_problems_and_say_so() {
    let site = site();
    let host = Host::start(&site);
    let good = with_addresses(&site, &host);
    let unknown = good.replace("\"fine\"", "\"absent\"") + "[store]\nretention = \"30 days\"\n";
    for arguments in CLIENTS {
        site.put("config.toml", &unknown);
        let ran = site.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        let warning = "warning: config.toml has 2 problems; `hookbox check` shows them";
        assert!(
            ran.err.contains(warning) && !ran.out.contains("warning"),
            "{arguments:?}: {ran:?}"
        );
        // A duplicate key makes no TOML of it.
        site.put("config.toml", format!("{good}\"avatar_video.fail\" = \"fine\"\n"));
        let ran = site.run(arguments);
        assert!(
            ran.code == 0
                && ran.err.contains("config.toml has a problem; `hookbox check` shows it"),
            "{ran:?}"
        );
    }
}

#[test]
fn clients_work_while_a_routed_plugin_is_missing() {
    let site = site();
    let host = Host::start(&site);
    site.put("config.toml", with_addresses(&site, &host));
    fs::remove_file(site.path("plugins/fine.wat")).unwrap();
    for arguments in CLIENTS {
        let ran = site.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_mistake_in_the_source_itself_is_shown_and_nothing_is_sent() {
    let site = site();
    let config = fs::read_to_string(site.path("config.toml")).unwrap();
    site.put(
        "config.toml",
        config.replace("preset = \"heygen\"", "preset = \"heygem\"")
            + "[store]\nretention = \"x\"\n",
    );
    let ran = site.run(&["send", "heygen", "avatar_video.success"]);
    assert!(ran.code == 2 && ran.out.is_empty(), "{ran:?}");
    assert!(
        ran.err.contains("did you mean `heygen`?") && !ran.err.contains("store.retention"),
        "{ran:?}"
    );
    site.put(
        "config.toml",
        config.replacen("listen = \"127.0.0.1:0\"", "listen = \"nonsense\"", 1),
    );
    let ran = with_env(
        &site,
        &["send", "heygen", "avatar_video.success"],
        &[("HEYGEN_WEBHOOK_SECRET", "0123456789abcdef")],
    );
    assert!(ran.code == 2 && ran.err.contains("`server.listen` is \"nonsense\""), "{ran:?}");
}

#[test]
fn a_file_that_says_no_address_leads_to_the_usual_one_with_a_word_of_it() {
    let site = site();
    for text in ["this is no TOML", "[server]\nadmin = \"nowhere\"\n"] {
        site.put("config.toml", text);
        let ran = site.run(&["events"]);
        // Whether somebody answers there is not ours to know.
        let said = "it does not say where the host is, so 127.0.0.1:3001 is asked (`--admin URL` or HOOKBOX_ADMIN names";
        assert!(ran.err.contains(said), "{text}: {ran:?}");
    }
    site.put("config.toml", b"[server]\n# caf\xe9\n");
    let ran = site.run(&["events"]);
    assert!(
        ran.err.contains("config.toml has a problem")
            && ran.err.contains("127.0.0.1:3001 is asked"),
        "{ran:?}"
    );
}

#[test]
fn a_folder_without_a_configuration_is_told_how_the_host_is_named() {
    let site = site();
    fs::create_dir(site.path("elsewhere")).unwrap();
    for arguments in [&["events"][..], &["deliveries"], &["plugins"]] {
        let output = site.command(arguments).current_dir(site.path("elsewhere")).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        for part in [
            "there is no config.toml in this folder",
            "--config FILE",
            "HOOKBOX_CONFIG",
            "--admin URL",
            "HOOKBOX_ADMIN",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

#[test]
fn an_option_stands_above_a_variable_and_a_variable_above_the_file() {
    let site = site();
    let host = Host::start(&site);
    let nowhere = "127.9.9.9:9";
    site.put("other.toml", format!("[server]\nadmin = \"{nowhere}\"\n"));
    let code = |arguments: &[&str], env: &[(&str, &str)]| with_env(&site, arguments, env).code;
    assert_eq!(code(&["events"], &[("HOOKBOX_ADMIN", &admin(&host))]), 0, "the file says port 0");
    assert_eq!(code(&["events", "--admin", nowhere], &[("HOOKBOX_ADMIN", &admin(&host))]), 1);
    assert_eq!(code(&["events", "--admin", &admin(&host)], &[("HOOKBOX_ADMIN", nowhere)]), 0);
    assert_eq!(
        code(&["events", "--admin", &admin(&host)], &[("HOOKBOX_CONFIG", "missing.toml")]),
        0,
        "no file is needed"
    );
    site.put("good.toml", with_addresses(&site, &host));
    assert_eq!(code(&["events"], &[("HOOKBOX_CONFIG", "good.toml")]), 0);
    assert_eq!(code(&["events", "--config", "good.toml"], &[("HOOKBOX_CONFIG", "other.toml")]), 0);
    assert_eq!(code(&["events", "--config", "other.toml"], &[("HOOKBOX_CONFIG", "good.toml")]), 1);
    let elsewhere = with_env(&site, &["check"], &[("HOOKBOX_CONFIG", "absent.toml")]);
    assert!(elsewhere.code == 2 && elsewhere.err.contains("absent.toml"), "{elsewhere:?}");
}

#[test]
fn who_does_not_answer_is_named_with_what_said_so() {
    let site = site();
    site.put("config.toml", "[server]\nadmin = \"127.9.9.9:9\"\n");
    let ran = site.run(&["plugins"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for said in [
        "is `hookbox serve` running?",
        "`server.admin` of config.toml",
        "waits for a restart",
        "--admin URL",
    ] {
        assert!(ran.err.contains(said), "{said}: {ran:?}");
    }
    let ran = with_env(&site, &["plugins"], &[("HOOKBOX_ADMIN", "127.9.9.9:8")]);
    assert!(ran.code == 1 && ran.err.contains("The address is that of HOOKBOX_ADMIN"), "{ran:?}");
}

#[test]
fn an_address_that_does_not_speak_tls_is_told_so() {
    let site = site();
    let host = Host::start(&site);
    let ran = site.run(&["events", "--admin", &host.admin_url.replace("http:", "https:")]);
    assert!(
        ran.code == 1 && ran.err.contains("the admin listener speaks plain HTTP, so write http://"),
        "{ran:?}"
    );
    let url = host.public_url.replace("http:", "https:");
    let ran = site.run(&["send", "heygen", "avatar_video.success", "--url", &url]);
    assert!(ran.code == 1 && ran.err.contains("public listener speaks plain HTTP"), "{ran:?}");
    let ran = site.run(&["events", "--admin", "ftp://127.0.0.1:1"]);
    assert!(ran.code == 2 && ran.err.contains("neither http:// nor https://"), "{ran:?}");
}

#[test]
fn what_is_asked_wrongly_is_exit_code_2_and_what_is_not_there_1() {
    let site = site();
    let host = Host::start(&site);
    let event = "evt_0000000000000001";
    for (arguments, code, said) in [
        (&["events", "--state", "ded"][..], 2, "did you mean `dead`?"),
        (&["deliveries", "--state", "ded"], 2, "did you mean `dead`?"),
        (&["deliveries", "retry", "--state", "done"], 2, "retry takes"),
        (&["events", "--since", "yesterday"], 2, "`2h`, `3d`"),
        (&["deliveries", "--until", "yesterday"], 2, "`2h`, `3d`"),
        (&["events", "--cursor", "x"], 2, "next_cursor"),
        (&["events", "evt_1"], 2, "`evt_1` is not an event id"),
        (
            &["events", "dlv_0000000000000001_0"],
            2,
            "`hookbox deliveries dlv_0000000000000001_0` shows",
        ),
        (&["events", "replay", "evt_1"], 2, "not an event id"),
        (&["deliveries", "dlv_1"], 2, "not a delivery id"),
        (&["deliveries", event], 2, "`hookbox events evt_0000000000000001` shows"),
        (&["deliveries", "retry", "dlv_1"], 2, "not a delivery id"),
        (&["events", event], 1, event),
        (&["deliveries", "dlv_0000000000000001_0"], 1, "evt_0000000000000001"),
        (&["plugins", "fin"], 1, "did you mean `fine`?"),
    ] {
        let ran = site.run(&[arguments, &["--admin", &host.admin_url]].concat());
        assert!(
            ran.code == code && ran.err.contains(said) && ran.out.is_empty(),
            "{arguments:?}: {ran:?}"
        );
    }
}

#[test]
fn rows_go_to_stdout_and_remarks_to_stderr() {
    let site = site();
    let host = Host::start(&site);
    let count =
        ["send", "heygen", "avatar_video.success", "--count", "3", "--url", &host.public_url];
    assert_eq!(site.run(&count).code, 0);
    for listing in ["events", "deliveries"] {
        let ran = site.run(&[listing, "--limit", "1", "--admin", &host.admin_url]);
        assert!(ran.code == 0 && ran.err.starts_with("there is more: --cursor "), "{ran:?}");
        assert_eq!(ran.out.lines().count(), 2, "the names of the columns and a row: {ran:?}");
    }
}

#[test]
fn a_closed_stderr_is_no_panic() {
    let site = site();
    site.put("config.toml", "[server]\nlisten = \"a\"\nadmin = \"b\"\nx = 1\n");
    for arguments in [&["check"][..], &["events"], &["evnts"], &["serve"], &["send", "a", "b"]] {
        let mut child =
            site.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(1 | 2)), "{arguments:?}: {code:?}");
    }
    let both = Command::new("sh")
        .args(["-c", "\"$0\" check 2>&1 | head -1", env!("CARGO_BIN_EXE_hookbox")])
        .current_dir(site.path("."))
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&both.stdout).contains("panicked"), "{both:?}");
}

#[test]
fn a_type_that_is_likely_a_mistake_is_remarked_and_sent() {
    let site = site();
    let host = Host::start(&site);
    let send = |kind: &str| site.run(&["send", "heygen", kind, "--url", &host.public_url]);
    let mistyped = send("avatar_video.sucess");
    assert!(mistyped.code == 0 && mistyped.out.contains("accepted"), "{mistyped:?}");
    for said in [
        "warning: `avatar_video.sucess` is not among the types",
        "did you mean `avatar_video.success`?",
    ] {
        assert!(mistyped.err.contains(said), "{said}: {mistyped:?}");
    }
    assert!(
        mistyped.err.contains("no route of config.toml takes `avatar_video.sucess` from `heygen`"),
        "{mistyped:?}"
    );
    let known = send("video_translate.success");
    assert!(
        !known.err.contains("is not among") && known.err.contains("no route of config.toml"),
        "{known:?}"
    );
    assert_eq!(send("avatar_video.success").err, "");
}

#[test]
fn a_plugin_shows_the_settings_that_are_in_force() {
    let site = site();
    let config = fs::read_to_string(site.path("config.toml")).unwrap();
    let more = "[plugins.fine]\ntimeout = \"3s\"\nconcurrency = 5\ninstance = \"reuse\"\nlimits = { emitted = 7 }\n";
    site.put("config.toml", format!("{config}{more}"));
    let host = Host::start(&site);
    let json = site.run(&["plugins", "fine", "--json", "--admin", &host.admin_url]).json();
    assert_eq!(
        (&json["limits"]["timeout_ms"], &json["concurrency"]),
        (&3000.into(), &5.into()),
        "{json}"
    );
    assert_eq!(
        (&json["limits"]["emitted"], &json["retry"]["max_attempts"]),
        (&7.into(), &8.into()),
        "{json}"
    );
    let ran = site.run(&["plugins", "fine", "--admin", &host.admin_url]);
    let words: Vec<Vec<&str>> =
        ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        "timeout 3 s",
        "memory 64.0 MiB",
        "concurrency 5 on this host",
        "instance reuse",
        "limits.emitted 7",
        "retry.max_attempts 8",
    ] {
        assert!(words.contains(&line.split(' ').collect()), "{line} is not in\n{}", ran.out);
    }
    let own = |key: &str| words.iter().find(|line| line.first() == Some(&key));
    let timeout = own("plugins.fine.timeout").unwrap_or_else(|| panic!("{}", ran.out));
    assert!(timeout[1].contains("3s") && timeout[2] == "line", "{timeout:?}");
    assert!(own("plugins.fine.memory").is_some(), "the defaults too: {}", ran.out);
    assert!(!ran.out.contains("plugins.refuses"), "{}", ran.out);
}
