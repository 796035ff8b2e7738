//! What the kernel is told of threads: who comes first, where, and for how long at a time. Linux is told; elsewhere
//! threads are as they are.
//!
//! Threads and child processes take after the thread that starts them. Where a wish is refused (by a filter of system calls,
//! by an older kernel) they go on as before.

#[cfg(target_os = "linux")]
use std::sync::LazyLock;

#[cfg(target_os = "linux")]
use rustix::process::{getpriority_process, nice};
#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// By how much, in steps of nice(2): of a core that both want, such a thread gets a tenth.
#[cfg(target_os = "linux")]
const GIVE_WAY: i32 = 10;

/// The shortest turn (the kernel calls it a slice) that Linux grants, in nanoseconds.
#[cfg(target_os = "linux")]
const SHORTEST_TURN_NS: u64 = 100_000;

/// Gives the thread that calls it a lower priority, and all cores but one.
pub(super) fn give_way() {
    #[cfg(target_os = "linux")]
    let _ = nice(GIVE_WAY);
    leave_a_core();
}

/// Keeps the thread that calls it off one core, if the host may use several.
///
/// A priority decides who goes on of two that want a core, not who is sent to which. Who takes all of a core and changes it
/// now and then drives the others about, and each time some of them wait.
pub fn leave_a_core() {
    #[cfg(target_os = "linux")]
    if let Some(others) = &*ALL_CORES_BUT_ONE {
        let _ = sched_setaffinity(None, others);
    }
}

/// Those of the first that asks, but the first of them: the same ones for all threads, whoever started them.
#[cfg(target_os = "linux")]
static ALL_CORES_BUT_ONE: LazyLock<Option<CpuSet>> = LazyLock::new(|| {
    let mut cores = sched_getaffinity(None).ok().filter(|cores| cores.count() > 1)?;
    cores.unset((0..CpuSet::MAX_CPU).find(|core| cores.is_set(*core))?);
    Some(cores)
});

/// Gives the thread that calls it, and all that it starts from then on, the shortest turns; since Linux 6.12.
///
/// A thread keeps its core to the end of its turn, whoever is woken there. The usual ones last a millisecond and more, and
/// that long somebody would wait who has something to do for some microseconds.
pub fn take_short_turns() {
    #[cfg(target_os = "linux")]
    if let Ok(nice) = getpriority_process(None) {
        let mut wish = libc::sched_attr {
            size: size_of::<libc::sched_attr>() as u32,
            sched_policy: 0,
            sched_flags: libc::SCHED_FLAG_KEEP_POLICY as u64,
            sched_nice: nice,
            sched_priority: 0,
            sched_runtime: SHORTEST_TURN_NS,
            sched_deadline: 0,
            sched_period: 0,
        };
        // SAFETY: the kernel reads no more of the structure than its `size`, and writes at most that field.
        #[expect(unsafe_code, reason = "no library offers sched_setattr(2)")]
        let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw mut wish, 0) };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tokio::runtime::Runtime;

    use super::*;
    use crate::tasks::{runtime, yielding_runtime};

    #[test]
    fn the_threads_of_a_yielding_runtime_have_a_lower_priority_and_a_core_less_and_no_others_do() {
        let standing = || {
            let cores = sched_getaffinity(None).unwrap().count();
            (getpriority_process(None).unwrap(), cores)
        };
        let (nice, cores) = standing();
        let usual = runtime("usual", 1).unwrap();
        let yielding = yielding_runtime("gives-way", 1).unwrap();
        let of = |runtime: &Runtime| runtime.block_on(runtime.spawn(async move { standing() })).unwrap();
        assert_eq!(of(&yielding), ((nice + GIVE_WAY).min(19), (cores - 1).max(1)));
        assert_eq!(of(&usual), (nice, cores));
    }
}
