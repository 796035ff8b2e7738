//! Output on a terminal: commands are run by `script`, which gives them one.

use std::process::{Command, Stdio};

use super::site;
use crate::support::{Host, Site, wait_for};

/// The output of a command on a terminal so wide; `None` where there is no `script` of util-linux.
fn shown(site: &Site, columns: u16, env: &[(&str, &str)], command: &str) -> Option<String> {
    answered(site, columns, env, command, "")
}

/// The same for a command that asks, and gets this answer.
fn answered(
    site: &Site,
    columns: u16,
    env: &[(&str, &str)],
    command: &str,
    answer: &str,
) -> Option<String> {
    let help = Command::new("script").arg("--help").output().ok()?;
    if !String::from_utf8_lossy(&help.stdout).contains("--return") {
        println!("SKIPPED: there is no `script` of util-linux");
        return None;
    }
    let line = format!("stty cols {columns}; \"$HOOKBOX\" {command}");
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(site.path("."));
    script.env("HOOKBOX", env!("CARGO_BIN_EXE_hookbox")).env("TERM", "xterm");
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "HOOKBOX_ADMIN", "HOOKBOX_CONFIG"] {
        script.env_remove(variable);
    }
    let typed = site.path("typed");
    std::fs::write(&typed, answer).unwrap();
    script.stdin(std::fs::File::open(&typed).unwrap());
    let output = script.envs(env.iter().copied()).output().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().replace('\r', ""))
}

#[test]
fn a_table_fits_the_terminal_and_is_whole_in_a_pipe() {
    let site = site();
    let host = Host::start(&site);
    let subject = "order_".to_owned() + &"0123456789".repeat(20);
    let set = format!("event_data.callback_id={subject}");
    assert_eq!(
        site.run(&[
            "send",
            "heygen",
            "avatar_video.success",
            "--set",
            &set,
            "--url",
            &host.public_url
        ])
        .code,
        0
    );
    let command = format!("events --admin {}", host.admin_url);
    let Some(shown) = shown(&site, 90, &[("NO_COLOR", "1")], &command) else { return };
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.chars().count() <= 90), "{shown}");
    assert!(lines[1].contains('…') && lines[1].contains("evt_"), "{shown}");
    let piped = site.run(&["events", "--admin", &host.admin_url]);
    assert!(piped.out.contains(&subject), "{piped:?}");
}

#[test]
fn colour_is_for_terminals_that_have_it() {
    let site = site();
    let check = |env: &[(&str, &str)]| {
        shown(&site, 100, env, "check").map(|shown| shown.contains('\u{1b}'))
    };
    for (env, expected) in [
        (&[][..], true),
        (&[("TERM", "dumb")], false),
        (&[("NO_COLOR", "1")], false),
        (&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], true),
    ] {
        let Some(coloured) = check(env) else { return };
        assert_eq!(coloured, expected, "{env:?}");
    }
    let forced = site.command(&["check"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(forced.stdout.contains(&0x1b), "{forced:?}");
}

#[test]
fn a_change_of_many_is_asked_about_and_made_only_after_a_yes() {
    let site = site();
    let host = Host::start(&site);
    for number in 0..2 {
        let set = format!("event_data.callback_id=order_{number}");
        let sent =
            ["send", "heygen", "avatar_video.fail", "--set", &set, "--url", &host.public_url];
        assert_eq!(site.run(&sent).code, 0);
    }
    wait_for("dead letters", || (host.count("dead") == 2).then_some(()));
    let retry = format!("deliveries retry --state dead --admin {}", host.admin_url);
    // Nobody can be asked in a pipe.
    let piped = site.ask(&host, &["deliveries", "retry", "--state", "dead"]);
    let refused = "2 would be retried, and nobody can be asked here: add --yes";
    assert!(piped.code == 2 && piped.err.contains(refused) && piped.out.is_empty(), "{piped:?}");
    let ask = |command: &str, answer| answered(&site, 200, &[("NO_COLOR", "1")], command, answer);
    for no in ["n\n", "\n", ""] {
        let Some(shown) = ask(&retry, no) else { return };
        for part in ["2 would be retried\n", "order_0", "order_1", "retry them? [y/N]"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(shown.contains("nothing was changed"), "{shown}");
    }
    let attempts = || {
        let listed = host.api("/api/v1/deliveries");
        let rows = listed["items"].as_array().unwrap();
        rows.iter().map(|row| row["attempts"][0]["number"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((host.count("dead"), attempts()), (2, 2));
    let first = ask(&format!("{retry} --first"), "n\n").unwrap();
    assert!(first.contains("2 would be retried, as of 2"), "{first}");
    assert!(first.contains("nothing was changed"), "{first}");
    let planned = host.api("/api/v1/operations")["items"][0]["state"].clone();
    assert_eq!(planned, "cancelled", "nothing is left that could be started");
    let put_away = ask(&retry.replace("retry", "discard"), "y\n").unwrap();
    assert!(put_away.contains("discard them? [y/N]"), "{put_away}");
    assert!(put_away.contains("2 discarded"), "{put_away}");
    assert_eq!(host.count("discarded"), 2);
    // Where nothing matches there is nothing to ask.
    let none = ask(&retry, "").unwrap();
    assert!(none.contains("0 retried") && !none.contains("[y/N]"), "{none}");
}

#[test]
fn what_tail_shows_has_names_and_stands_in_columns() {
    use std::io::{BufRead, BufReader};
    let site = site();
    let host = Host::start(&site);
    let arguments = ["events", "tail", "--admin", &host.admin_url];
    let mut child =
        site.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let head = lines.next().unwrap();
    assert!(head.starts_with("TIME  ") && head.ends_with("DELIVERIES"), "{head}");
    for (kind, subject) in
        [("avatar_video.success", "short"), ("avatar_video.fail", "rather_longer_than_that")]
    {
        let set = format!("event_data.callback_id={subject}");
        assert_eq!(
            site.run(&["send", "heygen", kind, "--set", &set, "--url", &host.public_url]).code,
            0
        );
        let row = lines.next().unwrap();
        for (name, cell) in [("SOURCE", "heygen"), ("TYPE", kind), ("SUBJECT", subject)] {
            assert_eq!(head.find(name), row.find(cell), "{name}:\n{head}\n{row}");
        }
    }
    child.kill().unwrap();
    wait_for("the tail to end", || child.try_wait().unwrap());
}
