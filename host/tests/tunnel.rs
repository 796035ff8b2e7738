//! Tunnels by stand-ins for the programs that make them, and events of another host.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::{API_KEY, HeyGen, Host, ROUTE, SOURCE, Site, agent, guest, wait_for};

/// An executable that stands in for a program.
fn program(site: &Site, name: &str, script: &str) {
    let folder = site.path("bin");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// `hookbox tunnel` with nothing but the stand-ins in its path.
fn tunnel(site: &Site, host: &Host, arguments: &[&str]) -> Command {
    let to = host.public.to_string();
    let mut command = site.command(&[&["tunnel", "--to", &to], arguments].concat());
    command.env("PATH", site.path("bin")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Its first line.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn interrupt(child: &Child) {
    signal(child, "-INT");
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

#[test]
fn a_tunnel_is_made_by_the_first_program_that_is_there_and_ends_with_its_command() {
    let heygen = HeyGen::start();
    let config = format!(
        "[sources.heygen]\npreset = \"heygen\"\napi_url = \"{}\"\napi_key = {{ file = \"api.key\" }}\n",
        heygen.url
    );
    let site = Site::new(&config, &[]);
    site.put("api.key", API_KEY);
    let host = Host::start(&site);
    let none = tunnel(&site, &host, &[]).output().unwrap();
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(none.status.code() == Some(1) && said.contains("cloudflared, ngrok, ssh"), "{said}");
    let ssh = "echo '** see https://localhost.run/docs **'\necho $$ > ssh.pid\necho $* > ssh.args\n\
               echo 'ab.lhr.life tunneled with tls termination, https://ab.lhr.life'\n\
               while :; do read line < ssh.wait; done";
    assert!(Command::new("mkfifo").arg(site.path("ssh.wait")).status().unwrap().success());
    program(&site, "ssh", ssh);
    let mut child = tunnel(&site, &host, &[]).spawn().unwrap();
    assert_eq!(first_line(&mut child), "https://ab.lhr.life");
    let arguments = fs::read_to_string(site.path("ssh.args")).unwrap();
    assert!(arguments.contains(&format!("-R 80:{} ", host.public)), "{arguments}");
    let pid = fs::read_to_string(site.path("ssh.pid")).unwrap().trim().to_owned();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    wait_for("the program to end", || (!is_alive(&pid)).then_some(()));
    // A tunnel that ends without an address tells why.
    program(&site, "cloudflared", "echo 'ERR no network' >&2\nexit 1");
    let failed = tunnel(&site, &host, &[]).output().unwrap();
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(
        said.contains("cloudflared ended without an address") && said.contains("no network"),
        "{said}"
    );
}

#[test]
fn a_tunnel_registers_its_address_and_removes_it_at_the_end() {
    let heygen = HeyGen::start();
    let config = format!(
        "[sources.heygen]\npreset = \"heygen\"\napi_url = \"{}\"\napi_key = {{ file = \"api.key\" }}\n",
        heygen.url
    );
    let site = Site::new(&config, &[]);
    site.put("api.key", API_KEY);
    let host = Host::start(&site);
    heygen.takes_any_address();
    program(
        &site,
        "ngrok",
        "echo 'lvl=info url=https://ab12.ngrok-free.app'\nwhile :; do read line < wait; done",
    );
    assert!(Command::new("mkfifo").arg(site.path("wait")).status().unwrap().success());
    let mut child = tunnel(&site, &host, &["--register", "heygen"]).spawn().unwrap();
    assert_eq!(first_line(&mut child), "https://ab12.ngrok-free.app");
    wait_for("the registration", || {
        let kept = fs::read_to_string(site.path("data/secrets/heygen.registered")).ok()?;
        kept.contains("https://ab12.ngrok-free.app/webhook/heygen").then_some(())
    });
    assert_eq!(heygen.endpoints(), ["ep_1"]);
    interrupt(&child);
    let ended = child.wait().unwrap();
    assert_eq!((ended.code(), heygen.endpoints().len()), (Some(0), 0));
    assert!(!site.path("data/secrets/heygen.registered").exists());
    let absent = tunnel(&site, &host, &["--register", "shop"]).output().unwrap();
    assert_eq!(absent.status.code(), Some(2));
}

#[test]
fn a_terminal_that_is_closed_ends_the_tunnel_its_programs_and_the_registration() {
    let heygen = HeyGen::start();
    let config = format!(
        "[sources.heygen]\npreset = \"heygen\"\napi_url = \"{}\"\napi_key = {{ file = \"api.key\" }}\n",
        heygen.url
    );
    let site = Site::new(&config, &[]);
    site.put("api.key", API_KEY);
    let host = Host::start(&site);
    heygen.takes_any_address();
    // A wrapper, as package managers install them: the program itself is its child.
    let inner = "while :; do read line < wait; done";
    program(
        &site,
        "cloudflared",
        &format!(
            "({inner}) & echo $! > inner.pid\n\
             echo 'ERR Post \"https://api.trycloudflare.com/tunnel\": context deadline exceeded' >&2\n\
             echo 'INF |  https://a-b-c.trycloudflare.com  |' >&2\n{inner}"
        ),
    );
    assert!(Command::new("mkfifo").arg(site.path("wait")).status().unwrap().success());
    let mut child = tunnel(&site, &host, &["--register", "heygen"]).spawn().unwrap();
    assert_eq!(first_line(&mut child), "https://a-b-c.trycloudflare.com");
    wait_for("the registration", || (heygen.endpoints() == ["ep_1"]).then_some(()));
    let file = site.path("data/secrets/heygen.registered");
    wait_for("its file", || file.exists().then_some(()));
    let pid = fs::read_to_string(site.path("inner.pid")).unwrap().trim().to_owned();
    assert!(is_alive(&pid));
    // Nobody reads what it prints any more.
    drop((child.stdout.take(), child.stderr.take()));
    signal(&child, "-HUP");
    child.wait().unwrap();
    assert!(heygen.endpoints().is_empty() && !file.exists());
    wait_for("the wrapped program to end", || (!is_alive(&pid)).then_some(()));
}

#[test]
fn a_tunnel_that_was_started_to_outlive_its_terminal_does() {
    let site = Site::new("", &[]);
    program(
        &site,
        "ngrok",
        "echo 'url=https://ab12.ngrok-free.app'\nwhile :; do read line < wait; done",
    );
    assert!(Command::new("mkfifo").arg(site.path("wait")).status().unwrap().success());
    let mut command = Command::new("/bin/sh");
    let ignoring = "trap '' HUP; exec \"$0\" \"$@\"";
    command.args(["-c", ignoring, env!("CARGO_BIN_EXE_hookbox"), "tunnel", "--to", "127.0.0.1:9"]);
    site.prepare(&mut command);
    command.env("PATH", site.path("bin")).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    assert_eq!(first_line(&mut child), "https://ab12.ngrok-free.app");
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    assert_eq!(u64::from_str_radix(ignored.trim(), 16).unwrap() & 1, 1, "{status}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn events_of_another_host_are_posted_here_and_verified() {
    let there = Site::of_worker(&guest("ok"), "");
    let here = Site::new(&format!("{SOURCE}{ROUTE}"), &[("worker.wat", &guest("ok"))]);
    let (far, near) = (Host::start(&there), Host::start(&here));
    for n in 0..3 {
        let data =
            json!({ "event_type": "step.one", "event_data": { "callback_id": n.to_string() } });
        far.provide(&data.to_string());
    }
    let to = near.public.to_string();
    let listen = |last: &str, count: &str| {
        let from = ["listen", "--from", &far.admin_url, "--to", &to];
        here.run(&[&from[..], &["--last", last, "--count", count]].concat())
    };
    let said = listen("2", "2").said();
    assert_eq!(said.lines().filter(|line| line.contains("200 OK (ok)")).count(), 2, "{said}");
    assert_eq!(near.api("/api/v1/stats")["events"], 2);
    listen("3", "3").said();
    assert_eq!(near.api("/api/v1/stats")["events"], 3, "what was there is a duplicate");
    let wrong = here.run(&["listen", "--from", "http://127.0.0.1:1", "--to", &to]);
    assert!(wrong.code == 1 && wrong.err.contains("no answer from"), "{wrong:?}");
}

/// Sources of the other host that take everything, and the same ones here, as presets.
const THERE: &str = r#"
[sources.sns]
type = { fixed = "aws-sns.notification" }
verify = { scheme = "none" }
[sources.asana]
type = { json = "/action" }
split = "/events"
verify = { scheme = "none" }
[sources.fb]
type = { request = "/object" }
split = "/entry"
verify = { scheme = "none" }
[sources.hub]
type = { fixed = "docker-hub.push" }
verify = { scheme = "none" }
"#;
const HERE: &str = r#"
[sources.sns]
preset = "aws-sns"
params = { topic_arn = "arn:aws:sns:us-east-1:1:t" }
[sources.asana]
preset = "asana"
secrets = [{ env = "TEST_SECRET" }]
[sources.fb]
preset = "facebook"
secrets = [{ env = "TEST_SECRET" }]
params = { verify_token = "a-token" }
[sources.hub]
preset = "docker-hub"
secrets = [{ env = "TEST_SECRET" }]
"#;

#[test]
fn an_item_is_posted_in_its_list_and_a_source_that_cannot_be_signed_is_left_out() {
    let (there, here) = (Site::new(THERE, &[]), Site::new(HERE, &[]));
    let (far, near) = (Host::start(&there), Host::start(&here));
    for (source, body) in [
        ("sns", r#"{"Type":"Notification"}"#),
        ("asana", r#"{"events":[{"action":"changed","n":1.50},{"action":"added"}]}"#),
        ("fb", r#"{"object":"page","entry":[{"id":"1","time":7}]}"#),
        ("hub", r#"{"push_data":{"pushed_at":1}}"#),
        ("sns", r#"{"Type":"Other"}"#),
    ] {
        let url = format!("{}/webhook/{source}", far.public_url);
        let sent = agent().post(&url).content_type("application/json").send(body).unwrap();
        assert_eq!(sent.status(), 200);
    }
    let to = near.public.to_string();
    let arguments = ["listen", "--from", &far.admin_url, "--to", &to, "--last", "6"];
    let ran = here.run(&[&arguments[..], &["--count", "4"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.out.matches("200 OK (ok)").count(), 4, "{ran:?}");
    let told = ran.err.matches("events of `sns` are not taken").count();
    assert_eq!(told, 1, "once, and the others go on: {ran:?}");
    let events = near.api("/api/v1/events");
    let kinds: Vec<_> = events["items"].as_array().unwrap().iter().map(|it| &it["type"]).collect();
    assert_eq!(kinds, ["docker-hub.push", "page", "added", "changed"]);
    let changed = events["items"][3]["id"].as_str().unwrap();
    let body = format!("{}/api/v1/events/{changed}/body", near.admin_url);
    let body = agent().get(body).call().unwrap().into_body().read_to_string().unwrap();
    assert_eq!(body, r#"{"action":"changed","n":1.50}"#, "its bytes are kept");
}

/// One more than the stream of the other host sends after one scan, and a few.
const MISSED: usize = 1_003;

#[test]
fn listening_takes_each_event_once_though_the_other_host_was_gone_meanwhile() {
    let there = Site::of_worker(&guest("ok"), "");
    let here = Site::new(&format!("{SOURCE}{ROUTE}"), &[("worker.wat", &guest("ok"))]);
    let (far, near) = (Host::start(&there), Host::start(&here));
    there.keep_admin_port(far.admin.port());
    let count = (MISSED + 1).to_string();
    let to = near.public.to_string();
    far.send("step.one", "before");
    let arguments = ["listen", "--from", &far.admin_url, "--to", &to, "--last", "1"];
    let mut command = here.command(&[&arguments[..], &["--count", &count]].concat());
    let said = fs::File::create(here.path("said")).unwrap();
    let mut listening = Ended(command.stdout(said).spawn().unwrap());
    let signal = |name: &str, child: &Child| {
        let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    wait_for("the first event", || (near.api("/api/v1/stats")["events"] == 1).then_some(()));
    signal("-STOP", &listening.0);
    far.stop();
    let far = Host::start(&there);
    let missed = MISSED.to_string();
    let url = far.public_url.as_str();
    there.run(&["send", "test", "step.one", "--count", &missed, "--url", url]).said();
    signal("-CONT", &listening.0);
    let ended = wait_for("all of them", || listening.0.try_wait().unwrap());
    assert!(ended.success());
    let text = fs::read_to_string(here.path("said")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), MISSED + 1);
    assert!(lines.iter().all(|line| line.ends_with("200 OK (ok)")), "{text}");
    assert!(lines.is_sorted(), "in the order in which they came: {text}");
    let stored = near.api("/api/v1/stats")["events"].as_u64().unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), MISSED + 1, "each of them once");
}

/// A process that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
