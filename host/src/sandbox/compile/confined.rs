//! The child's side: limits first, then a file from stdin, then its machine code to stdout.
//!
//! What the file's maker could do to a compiler ends here: in a process of the lowest priority, with an empty
//! environment, that has nothing open but its three standard files and is the first to go when memory runs out.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};

use crate::sandbox::engine;
use crate::sandbox::load::link::{self, LoadError};

/// The exit code that says: the file is no plugin, and stdout has the reason instead of code.
pub(super) const REFUSED: u8 = 3;

/// The lowest priority there is.
const NICE: i32 = 19;

/// What the child allows itself.
#[derive(Debug, Clone, Copy)]
pub struct Confinement {
    /// Processor time of all its threads, in seconds.
    pub cpu_s: u64,
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Machine code that it writes, in bytes.
    pub code_bytes: u64,
}

/// What `hookbox compile` does.
pub fn compile_stdin(confinement: Confinement) -> ExitCode {
    match confine(confinement).and_then(|()| answer()) {
        Ok(code) => code,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn confine(confinement: Confinement) -> io::Result<()> {
    // A second after the signal that says what ran out comes the one that just kills.
    let limits = [
        (Resource::Core, 0, 0),
        (Resource::Cpu, confinement.cpu_s, confinement.cpu_s + 1),
        (Resource::As, confinement.memory_bytes, confinement.memory_bytes),
        (Resource::Fsize, confinement.code_bytes, confinement.code_bytes),
    ];
    for (resource, current, maximum) in limits {
        let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(current.min(allowed)), maximum: Some(maximum.min(allowed)) };
        setrlimit(resource, limit)?;
    }
    setpriority_process(None, NICE)?;
    // Where there is such a file; elsewhere the limits have to do.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

fn answer() -> io::Result<ExitCode> {
    let mut file = Vec::new();
    io::stdin().lock().take(link::MAX_FILE_BYTES as u64 + 1).read_to_end(&mut file)?;
    let engine = engine::compiling().map_err(|error| io::Error::other(format!("{error:#}")))?;
    let (answer, code) = match link::precompile(&engine, &file) {
        Ok(code) => (code, ExitCode::SUCCESS),
        Err(refused) => (LoadError::to_string(&refused).into_bytes(), ExitCode::from(REFUSED)),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&answer)?;
    stdout.flush()?;
    Ok(code)
}
