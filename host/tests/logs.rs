//! The host's log tells the story: of attempts and dead letters, of plugins that say something, of
//! its own start and stop; as text and as JSON.

use std::io::Read;
use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::support::{Host, SOURCE, Site, agent, post, wait_for};

const AS_TOLD: &str = include_str!("guests/as-told.wat");

/// A host with one plugin, told to do this, and more of its section.
fn site(does: &str, section: &str) -> Site {
    let config = format!(
        "{SOURCE}[routes]\n\"a.b\" = \"told\"\n[plugins.told]\nconfig = {{ do = \"{does}\" }}\nbreaker = false\n{section}"
    );
    Site::new(&config, &[("told.wat", AS_TOLD.as_bytes())])
}

/// A host that logs as `HOOKBOX_LOG` says, with its plugin compiled.
fn start(site: &Site, filter: &str) -> Host {
    let host = Host::start_with(site, &[("HOOKBOX_LOG", filter)]).expect("the host starts");
    host.until_plugin("told", "loaded");
    host
}

/// The only delivery of an event.
fn delivery(host: &Host, event: &str) -> String {
    host.event(event)["deliveries"][0]["id"].as_str().unwrap().to_owned()
}

/// Waits for lines of the log that hold this text.
fn lines(site: &Site, text: &str) -> Vec<String> {
    wait_for(text, || {
        let found: Vec<String> =
            site.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect();
        (!found.is_empty()).then_some(found)
    })
}

fn says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

/// Finding C11.
#[test]
fn a_failed_attempt_and_a_dead_letter_say_why_and_what_comes_next() {
    let site = site("fail", "retry = { max_attempts = 2, initial = \"1ms\", max = \"1ms\" }\n");
    let host = start(&site, "info");
    let event = host.send("a.b", "order_1");
    let delivery = delivery(&host, &event);
    host.settled();
    let dead = &lines(&site, "dead letter")[0];
    let names =
        [&format!("event.id={event}")[..], &format!("delivery.id={delivery}"), "plugin.name=told"];
    says(dead, &names);
    says(dead, &["WARN", "delivery.attempt=2", "reason=\"as told\""]);
    let failed = lines(&site, "attempt failed");
    assert_eq!(failed.len(), 2, "{failed:?}");
    for (line, attempt) in failed.iter().zip(["delivery.attempt=1", "delivery.attempt=2"]) {
        says(line, &names);
        says(line, &["INFO", attempt, "outcome=\"retry\"", "reason=\"as told\""]);
        assert_eq!(line.contains("delivery.next_attempt=\"20"), attempt.ends_with('1'), "{line}");
    }
    assert!(!site.log().contains("attempt ok"));
}

#[test]
fn a_crash_is_a_failed_attempt_of_the_next_start_and_the_second_one_a_dead_letter() {
    let site = site("succeed", "");
    let deadly = || Host::start_with(&site, &[("HOOKBOX_FAIL", "dispatch.invoked:1")]).unwrap();
    let host = deadly();
    // It may die before it answers.
    let _ = host.post(r#"{"event_type":"a.b"}"#);
    host.wait();
    deadly().wait();
    assert!(lines(&site, "attempt failed").len() == 1 && !site.log().contains("dead letter"));
    let host = Host::start(&site);
    let line = &lines(&site, "dead letter")[0];
    let event = host.api("/api/v1/events")["items"][0]["id"].as_str().unwrap().to_owned();
    says(line, &["WARN", &format!("event.id={event}"), "plugin.name=told", "for the second time"]);
    assert_eq!(lines(&site, "outcome=\"crash\"").len(), 2);
}

/// Finding C11.
#[test]
fn at_debug_every_handled_event_has_a_line() {
    let site = site("succeed", "");
    let host = start(&site, "hookbox=debug");
    for about in ["order_1", "order_2"] {
        let event = host.send("a.b", about);
        let delivery = delivery(&host, &event);
        host.settled();
        let line = &lines(&site, &format!("event.id={event}"))[0];
        says(
            line,
            &["DEBUG", "attempt ok", &format!("delivery.id={delivery}"), "plugin.name=told"],
        );
        says(line, &["duration_ms=", "events.emitted=0", "delivery.attempt=1"]);
    }
}

/// Finding C11.
#[test]
fn what_a_plugin_logs_is_forwarded_with_its_name_if_its_section_says_so() {
    let site = site("said \\u001b[31mred\\nagain", "log = \"forward\"\n");
    let host = start(&site, "info");
    let event = host.send("a.b", "order_1");
    host.settled();
    let said = lines(&site, " plugin: said ");
    assert_eq!(said.len(), 16, "{said:?}");
    let delivery = delivery(&host, &event);
    says(&said[0], &["INFO", "said \\u{1b}[31mred\\nagain", "plugin.name=told"]);
    says(
        &said[0],
        &[&format!("event.id={event}"), &format!("delivery.id={delivery}"), "delivery.attempt=1"],
    );
    assert_eq!(host.plugin("told")["log"], "forward");
    // It takes effect without a restart, like everything in a plugin's section.
    site.put_config(&format!(
        "{SOURCE}[routes]\n\"a.b\" = \"told\"\n[plugins.told]\nconfig = {{ do = \"said no more\" }}\n"
    ));
    wait_for("the new configuration", || (host.plugin("told")["log"] == "store").then_some(()));
    host.send("a.b", "order_2");
    host.settled();
    host.stop();
    assert!(!site.log().contains("said no more"), "stored only");
}

#[test]
fn a_plugin_that_logs_without_end_forwards_so_much_and_the_rest_is_counted() {
    const EVENTS: usize = 40;
    let site = site("said", "log = \"forward\"\n");
    let host = start(&site, "info");
    for number in 0..EVENTS {
        host.send("a.b", number);
    }
    host.settled();
    host.stop();
    let log = site.log();
    let forwarded = log.lines().filter(|line| line.contains(" plugin: said")).count();
    let counted: usize = log
        .lines()
        .filter_map(|line| {
            line.split_once("the plugin logged ")?.1.split_once(" more lines in 10 s")
        })
        .map(|(lines, _)| lines.replace(',', "").parse::<usize>().unwrap())
        .sum();
    assert_eq!(forwarded + counted, 16 * EVENTS, "every line is written or counted");
    assert!(counted > 0 && forwarded >= 200, "{forwarded} forwarded, {counted} counted");
}

#[test]
fn lines_have_no_long_digests() {
    let site = site("fail", "retry = { max_attempts = 1 }\n");
    let host = start(&site, "info");
    host.send("a.b", "order_1");
    host.settled();
    site.put_plugin("told.wat", include_bytes!("guests/ok.wat"));
    lines(&site, "plugin.previous=");
    let log = site.log();
    let longest = log.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
    assert!(longest.is_some_and(|length| length < 32), "{log}");
}

/// Finding C41.
#[test]
fn a_target_that_logs_nothing_is_warned_of_whatever_the_filter() {
    let site = site("succeed", "");
    let _host = start(&site, "hookbox::dispach=debug");
    let warned = lines(&site, "HOOKBOX_LOG");
    assert_eq!(warned.len(), 1, "{warned:?}");
    says(
        &warned[0],
        &["WARN", "nothing logs as `hookbox::dispach`", "did you mean `hookbox::dispatch`?"],
    );
}

/// A host whose streams are one, as in a container.
struct Container {
    child: Child,
    merged: std::fs::File,
}

impl Container {
    fn start(site: &Site, env: &[(&str, &str)]) -> Self {
        let path = site.path("merged.log");
        let file = std::fs::File::create(&path).unwrap();
        let mut command = site.command(&["serve", "--log-format", "json"]);
        command.envs(env.iter().copied()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        Self { child, merged: std::fs::File::open(path).unwrap() }
    }

    /// Everything so far. The last line may not be whole yet.
    fn lines(&mut self) -> Vec<Value> {
        use std::io::Seek;
        let mut text = String::new();
        self.merged.rewind().unwrap();
        self.merged.read_to_string(&mut text).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    fn line(&mut self, message: &str) -> Value {
        wait_for(message, || self.lines().into_iter().find(|line| line["message"] == message))
    }

    fn end(&mut self) -> (Option<i32>, Vec<Value>) {
        let status = wait_for("the host to end", || self.child.try_wait().unwrap());
        (status.code(), self.lines())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finding C30.
#[test]
fn a_host_that_logs_json_writes_nothing_else_from_started_to_stopped() {
    let site = site("succeed", "log = \"forward\"\n");
    let mut host = Container::start(&site, &[]);
    let started = host.line("started");
    assert_eq!(
        (&started["level"], &started["version"]),
        (&json!("INFO"), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(
        (&started["plugins"], &started["sources"]),
        (&json!(["told"]), &json!(["test"])),
        "{started}"
    );
    assert!(started["config.path"].as_str().unwrap().ends_with("config.toml"), "{started}");
    let public = started["server.listen"].as_str().unwrap().parse().unwrap();
    assert!(started["server.admin"].as_str().unwrap().starts_with("127.0.0.1:"), "{started}");
    host.line("plugin loaded");
    let posted = post(&agent(), public, r#"{"event_type":"a.b"}"#).unwrap();
    assert_eq!(posted.0, 200, "{posted:?}");
    let said = host.line("succeed");
    assert_eq!(
        (&said["target"], &said["plugin.name"]),
        (&json!("plugin"), &json!("told")),
        "{said}"
    );
    site.put_config("# another\n");
    let taken = host.line("configuration taken");
    assert_eq!(taken["config.restart_needed"], json!([]), "{taken}");
    site.put_config("tree_events = 77\n");
    wait_for("what needs a restart", || {
        let lines = host.lines();
        lines
            .into_iter()
            .find(|line| line["config.restart_needed"] == json!(["server.tree_events"]))
    });
    Command::new("kill").args(["-TERM", &host.child.id().to_string()]).status().unwrap();
    let (code, lines) = host.end();
    assert_eq!((code, &lines.last().unwrap()["message"]), (Some(0), &json!("stopped")));
    assert!(
        lines.iter().all(|line| line["timestamp"].is_string() && line["target"].is_string()),
        "{lines:?}"
    );
}

#[test]
fn a_doubtful_route_is_said_at_the_start_and_after_a_change() {
    let routed = |source| format!("{SOURCE}[routes]\n\"{source}:a.b\" = \"told\"\n");
    let site = Site::new(&routed("stripe"), &[("told.wat", AS_TOLD.as_bytes())]);
    let host = start(&site, "info");
    assert_eq!(lines(&site, "there is no source `stripe`").len(), 1);
    site.put_config(&routed("github"));
    lines(&site, "there is no source `github`");
    host.stop();
}

/// Finding C30.
#[test]
fn a_start_that_fails_is_a_line_of_json_too() {
    let site = site("succeed", "");
    site.put_config("admim = \"127.0.0.1:0\"\nkeep_alive = \"1\"\n");
    for env in [&[][..], &[("HOOKBOX_LOG", "off")]] {
        let (code, lines) = Container::start(&site, env).end();
        assert_eq!((code, lines.len()), (Some(2), 1), "{lines:?}");
        assert_eq!(
            (&lines[0]["level"], &lines[0]["message"]),
            (&json!("ERROR"), &json!("hookbox does not run"))
        );
        let problems = lines[0]["problems"].as_array().unwrap();
        assert_eq!((problems.len(), &problems[0]["line"]), (2, &json!(4)), "{lines:?}");
        assert!(
            problems[0]["help"].as_str().unwrap().contains("did you mean `admin`?"),
            "{lines:?}"
        );
        assert!(lines[0]["error"].as_str().unwrap().contains("config.toml:4:1"), "{lines:?}");
    }
    let (code, lines) = Container::start(&site, &[("HOOKBOX_LOG", "debugg")]).end();
    assert_eq!((code, lines.len()), (Some(2), 1), "{lines:?}");
    assert!(lines[0]["error"].as_str().unwrap().contains("did you mean `debug`?"), "{lines:?}");
    // A store that cannot be opened.
    site.put_config("");
    std::fs::create_dir_all(site.path("data/hookbox.db")).unwrap();
    let (code, lines) = Container::start(&site, &[]).end();
    let last = lines.last().unwrap();
    assert_eq!((code, &last["message"]), (Some(1), &json!("hookbox does not run")), "{lines:?}");
}

#[test]
fn a_text_log_begins_with_started_and_ends_with_stopped() {
    let site = site("succeed", "");
    let host = start(&site, "info");
    says(
        &lines(&site, " started ")[0],
        &["INFO", "version=", "server.listen=127.0.0.1:", "plugins=[\"told\"]"],
    );
    host.stop();
    assert!(site.log().trim_end().ends_with("stopped"), "{}", site.log());
}

/// Runs itself once more, as the program that panics.
#[test]
fn a_panic_is_a_line_of_json_as_well() {
    const PANICS: &str = "HOOKBOX_TEST_PANICS";
    if std::env::var_os(PANICS).is_some() {
        hookbox::telemetry::panics_as_json();
        panic!("for \"the\" test");
    }
    let mut program = Command::new(std::env::current_exe().unwrap());
    let name = "logs::a_panic_is_a_line_of_json_as_well";
    let output = program.args(["--exact", name, "--nocapture"]).env(PANICS, "1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{said}"));
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["message"], &line["reason"]), (&json!("panic"), &json!("for \"the\" test")));
    assert!(line["location"].as_str().unwrap().contains("logs.rs:"), "{line}");
}
