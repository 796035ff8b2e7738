//! The priority of threads. Linux is told; elsewhere threads are as they are.
//!
//! Threads and child processes inherit the priority of the thread that starts them.

/// By how much, in steps of nice(2): of a core that both want, such a thread gets a tenth.
#[cfg(target_os = "linux")]
const LOWER: i32 = 10;

/// Gives the thread that calls it a lower priority. Where that is refused (by a filter of system calls) it goes on as before.
pub(super) fn lower_priority() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(LOWER);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::tasks::{runtime, yielding_runtime};

    #[test]
    fn the_threads_of_a_yielding_runtime_have_a_lower_priority_and_no_others_do() {
        let nice = getpriority_process(None).unwrap();
        let usual = runtime("usual", 1).unwrap();
        let yielding = yielding_runtime("yielding", 1).unwrap();
        let of =
            |runtime: &Runtime| runtime.block_on(runtime.spawn(async { getpriority_process(None).unwrap() })).unwrap();
        assert_eq!(of(&yielding), (nice + LOWER).min(19));
        assert_eq!(of(&usual), nice);
    }
}
