//! The host's side: starts the child, feeds it, waits for it no longer than allowed, and says why
//! it failed.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::confined::{Confinement, REFUSED};
use super::temp_file::TempFile;
use crate::sandbox::LoadError;
use crate::{tasks, text};

/// The most of the child's stderr that is kept, in bytes.
const MAX_STDERR_BYTES: usize = 4 << 10;

/// Limits of compiling one file.
#[derive(Debug, Clone, Copy)]
pub struct CompileLimits {
    /// The limits that the child sets for itself.
    pub confinement: Confinement,
    /// From its start to its end, in milliseconds; then it is killed.
    pub wall_ms: u64,
}

impl Default for CompileLimits {
    /// Several times what the largest runtimes take: 25 s and 500 MB for a JavaScript engine, on a
    /// slow machine.
    fn default() -> Self {
        let confinement = Confinement {
            cpu_s: 120,
            memory_bytes: 2 << 30,
            code_bytes: 512 << 20,
            in_background: true,
        };
        // The lowest priority gets little of a busy machine.
        Self { confinement, wall_ms: 1_800_000 }
    }
}

/// How a process says that it is out of memory: when Rust cannot allocate, when the kernel refuses
/// a mapping, and when a buffer cannot grow.
const OUT_OF_MEMORY: [&str; 3] =
    ["memory allocation of ", "Cannot allocate memory", "out of memory"];

/// A child that does not outlive its owner.
struct ChildGuard(Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        // Both fail only if the child has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Compiles a file into `output`.
pub(super) async fn compile(
    program: &Path,
    limits: CompileLimits,
    file: &[u8],
    output: TempFile,
) -> Result<TempFile, LoadError> {
    let command = command(program, limits.confinement);
    // Starting a program takes too long for the async workers.
    let started =
        tasks::blocking(move || start(command, &output).map(|child| (child, output))).await;
    let not_started =
        |error: io::Error| LoadError::Compiler(format!("could not be started: {error}"));
    let (mut child, output) = started.map_err(not_started)?;
    let (stdin, stderr) = pipes(&mut child.0).map_err(not_started)?;
    let said =
        tokio::time::timeout(Duration::from_millis(limits.wall_ms), talk(stdin, stderr, file))
            .await;
    // It has ended, or must end now. If it has, this does not change its status.
    let ended = tasks::blocking(move || child.0.kill().and_then(|()| child.0.wait())).await;
    let status = ended.map_err(not_started)?;
    let Ok(said) = said else {
        let limit_s = limits.wall_ms.div_ceil(1_000);
        let cpu_s = limits.confinement.cpu_s;
        return Err(LoadError::Compiler(format!(
            "did not finish within {limit_s} s, in which it got less than the {cpu_s} s of CPU time that it may use: the \
             machine is busy"
        )));
    };
    match status.code() {
        Some(0) => Ok(output),
        Some(code) if code == i32::from(REFUSED) => Err(LoadError::Refused(lines(&output.text()))),
        _ => Err(LoadError::Compiler(explain(status, &said, limits.confinement))),
    }
}

fn command(program: &Path, confinement: Confinement) -> Command {
    let Confinement { cpu_s, memory_bytes, code_bytes, in_background } = confinement;
    // One core stays free for requests.
    let threads = tasks::cores().saturating_sub(usize::from(in_background)).max(1);
    let mut command = Command::new(program);
    command
        .arg0("hookbox")
        .arg("compile")
        .args([cpu_s, memory_bytes, code_bytes].map(|limit| limit.to_string()))
        .args(in_background.then_some("--background"))
        // The host's environment may hold secrets.
        .env_clear()
        .env("RAYON_NUM_THREADS", threads.to_string())
        // The allocator reserves address space as it needs it, so that the limit is one of use.
        .env("MIMALLOC_ARENA_RESERVE", "64MiB")
        // A ctrl-c goes to the host, which ends its children itself.
        .process_group(0)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(mut command: Command, output: &TempFile) -> io::Result<ChildGuard> {
    command.stdout(output.stdio()?).spawn().map(ChildGuard)
}

fn pipes(child: &mut Child) -> io::Result<(Sender, Receiver)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let gone = || io::Error::other("a pipe is missing");
    let stdin = Sender::from_owned_fd(OwnedFd::from(stdin.ok_or_else(gone)?))?;
    Ok((stdin, Receiver::from_owned_fd(OwnedFd::from(stderr.ok_or_else(gone)?))?))
}

/// Writes the file to the child until it ends; returns the beginning of its stderr.
async fn talk(mut stdin: Sender, mut stderr: Receiver, file: &[u8]) -> Vec<u8> {
    let feed = async move {
        // A child that ends before it has read everything reports why in another way.
        let _ = stdin.write_all(file).await;
    };
    let listen = async {
        let (mut said, mut buffer) = (Vec::new(), [0; 1 << 10]);
        while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..count]);
            // Read on without keeping it, or the child would wait for a full pipe.
            said.truncate(MAX_STDERR_BYTES);
        }
        said
    };
    tokio::join!(feed, listen).1
}

/// Why the child ended without an answer, as the rest of a sentence after "the compiler".
fn explain(status: ExitStatus, said: &[u8], limits: Confinement) -> String {
    let said = String::from_utf8_lossy(said);
    // The message of a panic is followed by advice on debugging.
    let last =
        said.lines().rfind(|line| !line.is_empty() && !line.starts_with("note: ")).map(text::error);
    let mib = |bytes: u64| bytes >> 20;
    if OUT_OF_MEMORY.iter().any(|words| said.contains(words)) {
        return format!(
            "ran out of memory: it may use {} MiB for a file",
            mib(limits.memory_bytes)
        );
    }
    match status.signal() {
        Some(signal) if signal == Signal::XCPU.as_raw() => {
            format!("ran out of time: it may use {} s of CPU time for a file", limits.cpu_s)
        }
        Some(signal) if signal == Signal::XFSZ.as_raw() => {
            format!("made more than {} MiB of machine code", mib(limits.code_bytes))
        }
        // The host's own kill after its time limit does not come here.
        Some(signal) if signal == Signal::KILL.as_raw() => {
            "was killed, by hand or because the machine is out of memory".to_owned()
        }
        Some(signal) => {
            format!(
                "crashed with signal {signal}{}",
                last.map_or(String::new(), |line| format!(": {line}"))
            )
        }
        None => format!("failed: {}", last.unwrap_or_else(|| status.to_string())),
    }
}

/// A reason of several lines, with control characters escaped.
fn lines(reason: &str) -> String {
    reason.lines().map(text::error).collect::<Vec<_>>().join("\n")
}
