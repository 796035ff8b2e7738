//! Fault injection for the tests: at named points the process kills itself, or an operation fails.
//!
//! `HOOKBOX_FAIL=name:count[:action]` (see `env::fail_plan`) arms a point: it acts when it is
//! passed for the `count`-th time. The actions:
//!
//! - `kill` (the default): the process kills itself with SIGKILL.
//! - `io`: the store's operation reports an I/O error.
//! - `full`: it reports a full disk.
//! - `write`: it reports that a write was refused, as on a read-only file system or with a used-up
//!   quota.
//!
//! `full` and `write` act from then on until the file that `HOOKBOX_FAIL_UNTIL` names exists.
//! Release builds contain none of this.

/// The points on the road, in the order in which an event passes them. The tests try each.
pub const POINTS: [&str; 12] = [
    "ingest.body_read",
    "ingest.verified",
    "store.batch_taken",
    "store.before_commit",
    "store.after_commit",
    "ingest.before_reply",
    "dispatch.leased",
    "dispatch.before_invoke",
    "dispatch.invoked",
    "store.settle_written",
    "store.settled",
    "store.retention",
];

/// The points of an approval, in the order in which it passes them.
pub const APPROVAL_POINTS: [&str; 3] = ["plugins.note_placed", "plugins.approved", "plugins.noted"];

/// The points of recording a step, in the order in which it passes them.
pub const RECORD_POINTS: [&str; 2] = ["store.record_written", "dispatch.recorded"];

/// The point before a checkpoint of a WAL that has become long.
pub const LOG_POINT: &str = "store.log_long";

/// The point at which an attempt is recorded as running.
pub const RUNNING_POINT: &str = "store.note_running";

/// The failure that an operation has to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Report an I/O error.
    Io,
    /// Report a full disk.
    Full,
    /// Report that a write was refused.
    Write,
}

pub use imp::{arm, point};

#[cfg(debug_assertions)]
mod imp {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::{APPROVAL_POINTS, Fault, LOG_POINT, POINTS, RECORD_POINTS, RUNNING_POINT};

    struct Armed {
        point: &'static str,
        left: AtomicI64,
        action: Option<Fault>,
        until: Option<PathBuf>,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Arms one point for the life of the process.
    pub fn arm(plan: &str, until: Option<PathBuf>) -> Result<(), String> {
        let mut parts = plan.split(':');
        let name = parts.next().unwrap_or_default();
        let others = [LOG_POINT, RUNNING_POINT];
        let mut points =
            POINTS.into_iter().chain(APPROVAL_POINTS).chain(RECORD_POINTS).chain(others);
        let point =
            points.find(|point| *point == name).ok_or_else(|| format!("no fail point `{name}`"))?;
        let left =
            parts.next().unwrap_or("1").parse().map_err(|_| format!("bad count in `{plan}`"))?;
        let action = match parts.next() {
            None | Some("kill") => None,
            Some("io") => Some(Fault::Io),
            Some("full") => Some(Fault::Full),
            Some("write") => Some(Fault::Write),
            Some(other) => return Err(format!("no fail action `{other}`")),
        };
        let armed = Armed { point, left: AtomicI64::new(left), action, until };
        ARMED.set(armed).map_err(|_| "a fail point is armed already".to_owned())
    }

    /// Passes a point. Returns the failure to report, if there is one.
    pub fn point(name: &'static str) -> Option<Fault> {
        let armed = ARMED.get().filter(|armed| armed.point == name)?;
        if armed.left.fetch_sub(1, Ordering::Relaxed) > 1 {
            return None;
        }
        match armed.action {
            None => kill(),
            Some(Fault::Io) => Some(Fault::Io),
            Some(fault @ (Fault::Full | Fault::Write)) => {
                let over = armed.until.as_ref().is_some_and(|file| file.exists());
                (!over).then_some(fault)
            }
        }
    }

    fn kill() -> ! {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // Not reached, because the signal ends the process.
        std::process::abort()
    }
}

#[cfg(not(debug_assertions))]
mod imp {
    use super::Fault;

    /// Release builds have no fail points.
    pub fn arm(plan: &str, _until: Option<std::path::PathBuf>) -> Result<(), String> {
        Err(format!("`{plan}`: this build has no fail points"))
    }

    /// Passes a point.
    #[inline(always)]
    pub fn point(_name: &'static str) -> Option<Fault> {
        None
    }
}
