//! Resources that a process takes, as Linux counts them.

use std::path::Path;
use std::time::Duration;

use hookbox_tools::Result;

/// In which the kernel tells processor time, on every architecture.
const TICKS_PER_SECOND: u32 = 100;

/// Memory that is resident, in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let status = read(Path::new(&format!("/proc/{pid}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<f64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.map(|kib| kib / 1024.0).ok_or(format!("process {pid} has no VmRSS: {status}"))
}

/// Processor time, of the threads that have ended as well.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    cpu_of(&format!("/proc/{pid}/stat"))
}

/// Processor time of this thread.
pub(super) fn thread_cpu() -> Result<Duration> {
    cpu_of("/proc/thread-self/stat")
}

fn cpu_of(path: &str) -> Result<Duration> {
    let stat = read(Path::new(path))?;
    // Behind the name, which may hold anything: user and system time are the 12th and 13th.
    let behind = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: Vec<u64> =
        behind.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    let [user, system] = ticks[..] else { return Err(format!("{path} has no times: {stat}")) };
    Ok(Duration::from_secs(user + system) / TICKS_PER_SECOND)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
