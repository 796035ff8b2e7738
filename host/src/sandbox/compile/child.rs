//! The host's side: starts the child, feeds it, waits for it no longer than allowed, and puts its end into words.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::code::Draft;
use super::confined::{Confinement, REFUSED};
use crate::sandbox::load::link::LoadError;
use crate::{tasks, text};

/// What is kept of the child's stderr, in bytes.
const MAX_STDERR_BYTES: usize = 4 << 10;

/// What compiling one file may take.
#[derive(Debug, Clone, Copy)]
pub struct CompileLimits {
    /// What the child keeps to by itself.
    pub confinement: Confinement,
    /// From its start to its end, in milliseconds; then it is killed.
    pub wall_ms: u64,
}

impl Default for CompileLimits {
    /// Several times what the largest runtimes take: 25 s and 500 MB for a JavaScript engine, on a slow machine.
    fn default() -> Self {
        let confinement = Confinement { cpu_s: 120, memory_bytes: 2 << 30, code_bytes: 512 << 20 };
        Self { confinement, wall_ms: 300_000 }
    }
}

/// How a process says that there is no memory: when Rust cannot allocate, when the kernel refuses a mapping, and when
/// something is read for which there is no room.
const OUT_OF_MEMORY: [&str; 3] = ["memory allocation of ", "Cannot allocate memory", "out of memory"];

/// A child that does not outlive its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Compiles a file into `draft`.
pub(super) async fn compile(
    program: &Path,
    limits: CompileLimits,
    file: &[u8],
    draft: Draft,
) -> Result<Draft, LoadError> {
    let command = command(program, limits.confinement);
    // Starting a program takes long enough to be kept away from the async workers.
    let started = tasks::blocking(move || start(command, &draft).map(|running| (running, draft))).await;
    let not_started = |error: io::Error| LoadError::Compiler(format!("could not be started: {error}"));
    let (mut running, draft) = started.map_err(not_started)?;
    let (stdin, stderr) = pipes(&mut running.0).map_err(not_started)?;
    let said = tokio::time::timeout(Duration::from_millis(limits.wall_ms), talk(stdin, stderr, file)).await;
    // It has ended, or is to end now. If it had, its status is not changed by this.
    let ended = tasks::blocking(move || running.0.kill().and_then(|()| running.0.wait())).await;
    let status = ended.map_err(not_started)?;
    let Ok(said) = said else {
        let limit_s = limits.wall_ms.div_ceil(1_000);
        return Err(LoadError::Compiler(format!("did not come to an end with it within {limit_s} s")));
    };
    match status.code() {
        Some(0) => Ok(draft),
        Some(code) if code == i32::from(REFUSED) => Err(LoadError::Refused(lines(&draft.text()))),
        _ => Err(LoadError::Compiler(explain(status, &said, limits.confinement))),
    }
}

fn command(program: &Path, confinement: Confinement) -> Command {
    let Confinement { cpu_s, memory_bytes, code_bytes } = confinement;
    let mut command = Command::new(program);
    command
        .arg0("hookbox")
        .arg("compile")
        .args([cpu_s, memory_bytes, code_bytes].map(|limit| limit.to_string()))
        // What is not there cannot be taken: the host's environment may hold secrets.
        .env_clear()
        // One core is left to what is served meanwhile.
        .env("RAYON_NUM_THREADS", tasks::cores().saturating_sub(1).max(1).to_string())
        // The allocator takes address space as it needs it, not a GiB at once, so that the limit is one of use.
        .env("MIMALLOC_ARENA_RESERVE", "64MiB")
        // A ctrl-c is for the host, which ends its children itself.
        .process_group(0)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(mut command: Command, draft: &Draft) -> io::Result<Running> {
    command.stdout(draft.stdio()?).spawn().map(Running)
}

fn pipes(child: &mut Child) -> io::Result<(Sender, Receiver)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let gone = || io::Error::other("a pipe is missing");
    let stdin = Sender::from_owned_fd(OwnedFd::from(stdin.ok_or_else(gone)?))?;
    Ok((stdin, Receiver::from_owned_fd(OwnedFd::from(stderr.ok_or_else(gone)?))?))
}

/// Feeds the child and listens until it ends; returns the beginning of what it had to say.
async fn talk(mut stdin: Sender, mut stderr: Receiver, file: &[u8]) -> Vec<u8> {
    let feed = async move {
        // One that ends without having read everything says why in another way.
        let _ = stdin.write_all(file).await;
    };
    let listen = async {
        let (mut said, mut buffer) = (Vec::new(), [0; 1 << 10]);
        while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..count]);
            said.truncate(MAX_STDERR_BYTES);
        }
        said
    };
    tokio::join!(feed, listen).1
}

/// Why it ended without an answer, as the rest of a sentence that begins with "the compiler".
fn explain(status: ExitStatus, said: &[u8], limits: Confinement) -> String {
    let said = String::from_utf8_lossy(said);
    // After a panic's message comes advice for who debugs it.
    let last = said.lines().rfind(|line| !line.is_empty() && !line.starts_with("note: ")).map(text::error);
    let mib = |bytes: u64| bytes >> 20;
    if OUT_OF_MEMORY.iter().any(|words| said.contains(words)) {
        return format!("ran out of memory on it: it has {} MiB for a file", mib(limits.memory_bytes));
    }
    match status.signal() {
        Some(signal) if signal == Signal::XCPU.as_raw() => {
            format!("ran out of time on it: it has {} s of processor time for a file", limits.cpu_s)
        }
        Some(signal) if signal == Signal::XFSZ.as_raw() => {
            format!("made more than {} MiB of machine code of it", mib(limits.code_bytes))
        }
        Some(signal) if signal == Signal::KILL.as_raw() => {
            "was killed while it worked on it, by hand or because the machine has no memory left".to_owned()
        }
        Some(signal) => {
            format!("crashed on it, with signal {signal}{}", last.map_or(String::new(), |line| format!(": {line}")))
        }
        None => format!("failed: {}", last.unwrap_or_else(|| status.to_string())),
    }
}

/// A reason of several lines, without anything that acts on a reader.
fn lines(reason: &str) -> String {
    reason.lines().map(text::error).collect::<Vec<_>>().join("\n")
}
