//! Resources that a process takes, as Linux counts them.

use std::path::Path;
use std::time::Duration;

use hookbox_tools::Result;

/// In which the kernel tells CPU time, on every architecture.
const TICKS_PER_SECOND: u32 = 100;

/// Memory that is resident, in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let status = read(Path::new(&format!("/proc/{pid}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<f64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.map(|kib| kib / 1024.0).ok_or(format!("process {pid} has no VmRSS: {status}"))
}

/// CPU time, of the threads that have ended as well.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    cpu_of(&format!("/proc/{pid}/stat"))
}

/// CPU time of this thread.
pub(super) fn thread_cpu() -> Result<Duration> {
    cpu_of("/proc/thread-self/stat")
}

/// CPU time of a process and of all that it has started, also of those that have ended.
pub(super) fn family_cpu(pid: u32) -> Result<Duration> {
    let fail = |error: std::io::Error| format!("/proc: {error}");
    let mut all = times(&format!("/proc/{pid}/stat"))?.iter().sum::<u64>();
    for entry in std::fs::read_dir("/proc").map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let Some(child) = name.to_str().filter(|name| name.parse::<u32>().is_ok()) else {
            continue;
        };
        // A child that ends meanwhile is counted by its parent.
        let Ok(stat) = read(Path::new(&format!("/proc/{child}/stat"))) else { continue };
        let behind = stat.rsplit(") ").next().unwrap_or_default();
        if behind.split(' ').nth(1).and_then(|parent| parent.parse().ok()) == Some(pid) {
            all += own(&times_of(&stat)?);
        }
    }
    Ok(Duration::from_secs(all) / TICKS_PER_SECOND)
}

fn cpu_of(path: &str) -> Result<Duration> {
    Ok(Duration::from_secs(own(&times(path)?)) / TICKS_PER_SECOND)
}

/// User and system time of the process alone.
fn own(times: &[u64; 4]) -> u64 {
    times[0] + times[1]
}

fn times(path: &str) -> Result<[u64; 4]> {
    times_of(&read(Path::new(path))?)
}

/// User and system time of a process, and of those of its children that have ended, in ticks.
fn times_of(stat: &str) -> Result<[u64; 4]> {
    // Behind the name, which may hold anything: the times begin with the 12th field.
    let behind = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: Vec<u64> =
        behind.split(' ').skip(11).take(4).filter_map(|ticks| ticks.parse().ok()).collect();
    ticks.try_into().map_err(|_| format!("no times: {stat}"))
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
