//! What a process takes, as Linux counts it.

use std::path::Path;
use std::time::Duration;

use crate::run::Result;

/// Memory that is resident, in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let status = read(Path::new(&format!("/proc/{pid}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<f64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.map(|kib| kib / 1024.0).ok_or(format!("process {pid} has no VmRSS: {status}"))
}

/// Processor time of the threads it has.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut total_ns = 0;
    for thread in threads {
        let path = thread.map_err(|error| format!("{folder}: {error}"))?.path().join("schedstat");
        let text = read(&path)?;
        let ns: Option<u64> = text.split(' ').next().and_then(|ns| ns.parse().ok());
        total_ns += ns.ok_or(format!("{}: {text}", path.display()))?;
    }
    Ok(Duration::from_nanos(total_ns))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
