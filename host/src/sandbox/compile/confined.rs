//! The child's side: limits first, then a file from stdin, then its machine code to stdout.
//!
//! A hostile file can do no more to a compiler than this process lets it. Beside a host it has the
//! lowest priority, an empty environment, nothing open but three standard files, and is killed
//! first when memory runs out. It ends with its host, also with one that is killed.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

use crate::sandbox::engine;
use crate::sandbox::load::precompile;
use crate::sandbox::{LoadError, MAX_FILE_BYTES};
use crate::tasks;

/// The exit code for a file that is no plugin: stdout has the reason instead of code.
pub(super) const REFUSED: u8 = 3;

/// The lowest priority there is.
const NICE: i32 = 19;

/// The limits that the child sets for itself.
#[derive(Debug, Clone, Copy)]
pub struct Confinement {
    /// CPU time of all its threads, in seconds.
    pub cpu_s: u64,
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Machine code that it writes, in bytes.
    pub code_bytes: u64,
    /// Whether it has the lowest priority, and leaves a core free: beside a host that serves.
    pub in_background: bool,
}

/// The command `hookbox compile`.
pub fn compile_stdin(confinement: Confinement) -> ExitCode {
    match confine(confinement).and_then(|()| end_with_host()).and_then(|()| answer()) {
        Ok(code) => code,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn confine(confinement: Confinement) -> io::Result<()> {
    // SIGXCPU says what ran out; SIGKILL follows a second later.
    let limits = [
        (Resource::Core, 0, 0),
        (Resource::Cpu, confinement.cpu_s, confinement.cpu_s + 1),
        (Resource::As, confinement.memory_bytes, confinement.memory_bytes),
        (Resource::Fsize, confinement.code_bytes, confinement.code_bytes),
    ];
    for (resource, current, maximum) in limits {
        let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit =
            Rlimit { current: Some(current.min(allowed)), maximum: Some(maximum.min(allowed)) };
        setrlimit(resource, limit)?;
    }
    if confinement.in_background {
        setpriority_process(None, NICE)?;
    }
    // Only Linux has this file; elsewhere the limits must do.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Ends this process when the host does, which reads stderr for as long as it lives.
fn end_with_host() -> io::Result<()> {
    let wait = || {
        let stderr = io::stderr();
        // It is only told of a reader that has gone.
        let gone = poll(&mut [PollFd::new(&stderr, PollFlags::empty())], None);
        if gone.is_ok_and(|count| count > 0) {
            std::process::exit(1);
        }
    };
    tasks::thread("host-gone", wait).map(drop)
}

fn answer() -> io::Result<ExitCode> {
    let mut file = Vec::new();
    // One byte more than is allowed, so that a file that is too long is seen to be.
    io::stdin().lock().take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut file)?;
    let engine = engine::compiling().map_err(|error| io::Error::other(format!("{error:#}")))?;
    let (answer, code) = match precompile(&engine, &file) {
        Ok(code) => (code, ExitCode::SUCCESS),
        Err(refused) => (LoadError::to_string(&refused).into_bytes(), ExitCode::from(REFUSED)),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&answer)?;
    stdout.flush()?;
    Ok(code)
}
