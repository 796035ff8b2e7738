//! `run --watch`: what is shown while files change.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{OK, REJECT, site};
use crate::support::{Site, wait_for};

const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":1}}"#;

/// How long a line is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run that goes on, and the lines of its two streams; killed when dropped.
struct Watching {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
}

impl Watching {
    fn start(site: &Site, arguments: &[&str]) -> Self {
        let mut child =
            site.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    /// Waits for a line of the report that begins like this, and returns it.
    #[track_caller]
    fn reports(&self, beginning: &str) -> String {
        wait_for_line(&self.out, beginning)
    }

    /// The same of what it says beside the report.
    #[track_caller]
    fn says(&self, beginning: &str) {
        wait_for_line(&self.err, beginning);
    }
}

/// The lines of a stream, as they come.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

#[track_caller]
fn wait_for_line(lines: &Receiver<String>, beginning: &str) -> String {
    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with(beginning) => return line,
            Ok(line) => said.push(line),
            Err(error) => panic!("{error}: `{beginning}` was not said, but {said:#?}"),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_change_is_run_garbage_is_waited_out_and_ctrl_c_ends_it() {
    let site = site();
    site.put("event.json", EVENT);
    let mut watching =
        Watching::start(&site, &["run", "plugins/fine.wat", "--event", "event.json", "--watch"]);
    watching.reports("ok");
    watching.says("waiting for a change of plugins/fine.wat or event.json; ctrl-c ends");
    site.put("plugins/fine.wat", REJECT);
    watching.says("plugins/fine.wat changed");
    watching.reports("reject: ");
    site.put("plugins/fine.wat", "garbage");
    watching.says("error: plugins/fine.wat is not taken: ");
    watching.says("nothing was run; waiting for a change of plugins/fine.wat or event.json");
    site.put("plugins/fine.wat", OK);
    watching.reports("ok");
    site.put("event.json", "{");
    watching.says("error: event.json: ");
    std::fs::remove_file(site.path("event.json")).unwrap();
    watching.says("error: failed to read event.json");
    site.put("event.json", EVENT);
    watching.reports("ok");
    let sent = Command::new("kill").args(["-INT", &watching.child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let ended = wait_for("the run to end", || watching.child.try_wait().unwrap());
    assert_eq!(ended.signal(), Some(2), "{ended:?}");
}

#[test]
fn a_run_in_json_is_one_line() {
    let site = site();
    site.put("event.json", EVENT);
    let watching = Watching::start(
        &site,
        &["run", "plugins/fine.wat", "--event", "event.json", "--watch", "--json"],
    );
    for _ in 0..2 {
        let report: serde_json::Value = serde_json::from_str(&watching.reports("{")).unwrap();
        assert_eq!(report["outcome"], "ok");
        watching.says("waiting");
        site.put("event.json", EVENT.replace("1}", "2222}"));
    }
}

#[test]
fn an_event_on_stdin_cannot_be_watched() {
    let site = site();
    let ran = site.run(&["run", "plugins/fine.wat", "--event", "-", "--watch"]);
    assert!(ran.code == 2 && ran.err.contains("--watch needs the event in a file"), "{ran:?}");
}
