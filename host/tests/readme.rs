//! Every command the README shows, run in its order on a copy of the repository's files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Host, Site, wait_for};

/// The binary that `cargo run --release --` stands for here, and the cargo for everything else.
const CARGO: &str = "#!/bin/sh
if [ \"$1 $2 $3\" = 'run --release --' ]; then
  shift 3
  exec \"$HOOKBOX\" \"$@\"
fi
exec \"$CARGO\" \"$@\"
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn every_command_of_the_readme_works() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = blocks(&readme);
    let ports = free_ports();
    let move_ports = |text: &str| {
        text.replace(":3000", &format!(":{}", ports[0])).replace(":3001", &format!(":{}", ports[1]))
    };
    let site =
        repositorys_files(&move_ports(&fs::read_to_string(root().join("config.toml")).unwrap()));
    assert_eq!(
        blocks[0].trim(),
        "cargo run --release -- serve",
        "the first command starts the host"
    );
    let host = Host::start(&site);
    for block in &blocks[1..] {
        if let Some(missing) = missing(block) {
            println!("SKIPPED, {missing}:\n{block}");
            continue;
        }
        let before = generation(&host);
        let ran = run(&site, &move_ports(block));
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{block}\n{said}\n{}", String::from_utf8_lossy(&ran.stderr));
        if block.contains("events \"$ID\"") {
            assert!(
                said.contains("\"currency\": \"USD\""),
                "the event that is shown has the new currency: {said}"
            );
        }
        host.none_in(&["ready", "leased"]);
        if block.contains("config.toml") {
            wait_for("the change to be taken up", || (generation(&host) > before).then_some(()));
        }
    }
    let ready = host.api("/api/v1/events?subject=order_2&type=order.videos_ready");
    assert_eq!(ready["items"].as_array().unwrap().len(), 1, "the workflow has ended: {ready}");
    let events = host.api("/api/v1/events?subject=order_5");
    if missing("openssl").is_none() {
        let items = events["items"].as_array().unwrap();
        assert_eq!(items.len(), 2, "the event sent by hand and its child: {events}");
        assert!(
            items.iter().all(|event| event["datacontenttype"] == "application/json"),
            "{events}"
        );
    }
    let dollars = host.api("/api/v1/events?subject=order_4&type=order.video_ready");
    assert_eq!(dollars["items"].as_array().unwrap().len(), 1, "{dollars}");
}

/// A copy of the repository's plugins and interfaces, with this configuration and [`CARGO`].
fn repositorys_files(config: &str) -> Site {
    let site = Site::new("", &[]);
    fs::remove_dir(site.path("plugins")).unwrap();
    copy(&root().join("plugins"), &site.path("plugins"));
    copy(&root().join("wit"), &site.path("wit"));
    fs::write(site.path("config.toml"), config).unwrap();
    with_cargo(&site);
    site
}

/// Puts [`CARGO`] into a site, for [`run`].
pub(crate) fn with_cargo(site: &Site) {
    fs::create_dir(site.path("bin")).unwrap();
    fs::write(site.path("bin/cargo"), CARGO).unwrap();
    fs::set_permissions(site.path("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs commands as a reader of the README does.
pub(crate) fn run(site: &Site, commands: &str) -> Output {
    let path = format!("{}:{}", site.path("bin").display(), std::env::var("PATH").unwrap());
    Command::new("sh")
        .args(["-euc", commands])
        .current_dir(site.path("."))
        .env("PATH", path)
        .env("HOOKBOX", env!("CARGO_BIN_EXE_hookbox"))
        .env("CARGO", env!("CARGO"))
        .env("XDG_CACHE_HOME", site.path("users-cache"))
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("HOOKBOX_CONFIG")
        .env_remove("HOOKBOX_ADMIN")
        .output()
        .unwrap()
}

/// Which configuration runs.
fn generation(host: &Host) -> u64 {
    host.api("/readyz")["generation"].as_u64().unwrap()
}

/// The `sh` blocks, in order.
pub(crate) fn blocks(readme: &str) -> Vec<String> {
    let blocks: Vec<String> = readme
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect();
    assert!(blocks.len() > 5, "the README shows commands");
    blocks
}

/// The requirement of a block that this machine lacks.
fn missing(block: &str) -> Option<&'static str> {
    let lacks = |program: &str| Command::new(program).arg("--version").output().is_err();
    if block.contains("openssl") && lacks("openssl") {
        return Some("there is no openssl");
    }
    if block.contains("curl") && lacks("curl") {
        return Some("there is no curl");
    }
    if block.contains("--lang rust") {
        let installed =
            Command::new("rustup").args(["target", "list", "--installed"]).output().ok()?;
        if !String::from_utf8_lossy(&installed.stdout).contains("wasm32-wasip2") {
            return Some("the target wasm32-wasip2 is not installed (`cargo xtask test` does it)");
        }
    }
    None
}

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// A folder with what is in it, links followed, but nothing that was built or installed there.
fn copy(from: &Path, to: &Path) {
    const MADE: [&str; 4] = ["target", "node_modules", ".venv", ".zig-cache"];
    fs::create_dir(to).unwrap();
    let entries = fs::read_dir(from).unwrap().map(Result::unwrap);
    for entry in entries.filter(|entry| !MADE.iter().any(|made| entry.file_name() == *made)) {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
