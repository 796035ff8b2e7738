//! Facts of the system about this process, under the names that every Prometheus client uses.

use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::clock;

/// Sets the gauges of this moment, for a process that started at this Unix time, in milliseconds. A
/// system that does not tell something leaves its gauge out.
pub(super) fn measure(started_ms: i64) {
    metrics::gauge!("process_start_time_seconds").set(started_ms as f64 / 1e3);
    metrics::gauge!("process_cpu_seconds_total").set(clock::process_cpu().as_secs_f64());
    if let Some(kib) = fs::read_to_string("/proc/self/status").ok().and_then(|it| resident_kib(&it))
    {
        metrics::gauge!("process_resident_memory_bytes").set(kib as f64 * 1024.0);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Less the one that the listing itself has open.
        metrics::gauge!("process_open_fds").set(open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        metrics::gauge!("process_max_fds").set(most as f64);
    }
}

/// The resident memory in the text of `/proc/PID/status`.
fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_memory_is_read_from_its_line() {
        let status = "VmHWM:\t  900 kB\nVmRSS:\t   12345 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(resident_kib(status), Some(12_345));
        assert_eq!(resident_kib("VmRSS: many\n"), None);
    }
}
