//! Plugins that take long to compile, on a running host: it serves at once, the others do not wait,
//! and the next start has everything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Host, SOURCE, Site, guest, resident_kib, wait_for};

const CONFIG: &str = "[routes]\n\"step.small\" = \"small\"\n\"step.large\" = \"large\"\n";

/// The smallest plugin with 20,000 functions that nobody calls, which are compiled all the same:
/// some seconds of work.
fn large() -> Vec<u8> {
    let mut functions = String::new();
    for function in 0..20_000 {
        let steps = (0..20).fold(String::new(), |mut steps, step| {
            let _ = write!(
                steps,
                "(local.set {} (i32.mul (local.get {}) (i32.const {})))",
                step % 4,
                (step + 1) % 4,
                step
            );
            steps
        });
        let _ = write!(
            functions,
            "(func (param i32) (local i32 i32 i32) {steps} (drop (i32.const {function})))"
        );
    }
    let text = String::from_utf8(guest("ok")).unwrap();
    let end = text.rfind(')').unwrap();
    let text = format!("{} (core module {functions})\n)", &text[..end]);
    wat::parse_str(text).unwrap()
}

fn site() -> Site {
    Site::new(
        &format!("{SOURCE}{CONFIG}"),
        &[("small.wat", &guest("ok")), ("large.wasm", &large())],
    )
}

/// The files in the folder of compiled plugins.
fn kept(site: &Site) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(site.path("data/compiled")).unwrap();
    let is_code = |path: &PathBuf| {
        !["hookbox-draft", "plugin"].map(Some).contains(&path.extension().unwrap().to_str())
    };
    entries.map(|entry| entry.unwrap().path()).filter(is_code).collect()
}

#[test]
fn a_host_serves_while_it_compiles_and_the_next_one_has_everything_at_once() {
    let site = site();
    let host = Host::start_with(&site, &[]).expect("the host starts");
    let waiting = host.send("step.large", "first");
    host.until_plugin("small", "loaded");
    let before_kib = resident_kib(host.pid());
    host.until_done(&host.send("step.small", "second"));
    let digest = host.plugin("small")["digest"].clone();
    site.put_plugin("small.wat", &[&guest("ok")[..], b"\n;; another edition\n"].concat());
    wait_for("the changed small one", || (host.plugin("small")["digest"] != digest).then_some(()));
    host.until_done(&host.send("step.small", "third"));
    // All of that, and the large one is still at it.
    assert_eq!(host.plugin("large")["state"], "compiling");
    let event = host.event(&waiting);
    assert_eq!(event["deliveries"][0]["state"], "ready", "{event}");
    assert_eq!(event["deliveries"][0]["attempts"].as_array().unwrap().len(), 0, "{event}");
    assert_eq!(host.api("/readyz")["status"], "ready", "there is nothing to attend to");
    host.until_plugin("large", "loaded");
    host.until_done(&waiting);
    let after_kib = resident_kib(host.pid());
    assert!(
        after_kib < before_kib + 64 * 1024,
        "compiling is not this process's work: {before_kib}, {after_kib} KiB"
    );
    host.stop();
    site.put("host.log", "");
    let host = Host::start_with(&site, &[]).expect("the host starts");
    for name in ["small", "large"] {
        assert_eq!(host.plugin(name)["state"], "loaded", "since its first line");
    }
    host.until_done(&host.send("step.large", "fourth"));
    let log = site.log();
    assert_eq!(log.matches("plugin.compiled=\"before\"").count(), 2, "{log}");
    assert_eq!(log.matches("plugin.compiled=\"now\"").count(), 0, "{log}");
}

#[test]
fn a_newer_file_that_is_being_compiled_is_seen_and_said() {
    let small: &[(&str, &[u8])] = &[("small.wasm", &guest("ok"))];
    let site = Site::new(&format!("{SOURCE}[routes]\n\"step.small\" = \"small\"\n"), small);
    let host = Host::start(&site);
    let before = host.plugin("small");
    assert_eq!(
        (&before["state"], before["compiling_since"].is_null()),
        (&"loaded".into(), true),
        "{before}"
    );
    site.put_plugin("small.wasm", &large());
    let during = wait_for("the newer file to be compiled", || {
        let plugin = host.plugin("small");
        plugin["compiling_since"].is_string().then_some(plugin)
    });
    assert_eq!(
        (&during["state"], &during["digest"]),
        (&before["state"], &before["digest"]),
        "the older one runs"
    );
    let listed = site.ask(&host, &["plugins"]).said();
    assert!(listed.contains("a newer file is being compiled since 2"), "{listed}");
    let after = wait_for("the newer file to run", || {
        let plugin = host.plugin("small");
        (plugin["digest"] != before["digest"]).then_some(plugin)
    });
    assert!(after["compiling_since"].is_null(), "{after}");
    let log = site.log();
    assert!(log.contains("compiling a newer plugin file, the older one runs"), "{log}");
}

#[test]
fn compiled_code_that_was_tampered_with_is_made_again_and_never_taken_as_a_plugin() {
    let site = Site::new(
        &format!("{SOURCE}[routes]\n\"step.small\" = \"small\"\n"),
        &[("small.wat", &guest("ok"))],
    );
    Host::start(&site).kill();
    let [entry] = &kept(&site)[..] else { panic!("one plugin is kept") };
    let mut code = std::fs::read(entry).unwrap();
    site.put_plugin("copied.wasm", &code);
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(entry, code).unwrap();
    let host = Host::start(&site);
    host.until_done(&host.send("step.small", "first"));
    let copied = host.plugin("copied");
    assert_eq!(copied["state"], "failed", "{copied}");
    assert!(copied["error"].as_str().unwrap().contains("precompiled machine code"), "{copied}");
    let log = site.log();
    assert!(log.contains("it is not what was written"), "{log}");
    assert_eq!(log.matches("plugin.compiled=\"now\"").count(), 2, "at both starts: {log}");
}

/// The processes that compile for a host.
fn compilers(host: u32) -> Vec<String> {
    let output = Command::new("ps").args(["-o", "pid=", "--ppid", &host.to_string()]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_compiler_ends_with_a_host_that_is_killed() {
    let site = site();
    let host = Host::start_with(&site, &[]).expect("the host starts");
    let of_host = wait_for("a compiler", || {
        let found = compilers(host.pid());
        (host.plugin("large")["state"] == "compiling" && !found.is_empty()).then_some(found)
    });
    host.kill();
    wait_for("the compiler to end", || {
        let is_gone = |id: &String| !Path::new("/proc").join(id).exists();
        of_host.iter().all(is_gone).then_some(())
    });
    assert!(kept(&site).len() < 2, "it was still at work on the large one");
}
