//! A control group that bounds the memory of a host: made for it, and gone with it. Version 1 or 2,
//! whichever is mounted; it takes root, and a kernel that lets it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hookbox_tools::Result;

/// Where version 1 has its memory controller, and version 2 everything.
const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

/// How long the kernel may take to see that nobody is in it any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// A group; removed when dropped, by when nobody may be in it.
#[derive(Debug)]
pub(super) struct Group {
    folder: PathBuf,
    /// Where deaths are counted.
    deaths: &'static str,
}

impl Group {
    /// A group with that much memory, in MiB.
    pub(super) fn new(memory_mib: u64) -> Result<Self> {
        let v1 = Path::new(V1).join("memory.limit_in_bytes").exists();
        let (parent, limit, deaths) = match v1 {
            true => (V1, "memory.limit_in_bytes", "memory.oom_control"),
            false => (V2, "memory.max", "memory.events"),
        };
        let folder = Path::new(parent).join(format!("hookbox-bench-{}", std::process::id()));
        std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let group = Self { folder, deaths };
        let limit = group.folder.join(limit);
        let set = std::fs::write(&limit, (memory_mib << 20).to_string());
        set.map_err(|error| format!("{}: {error}", limit.display()))?;
        Ok(group)
    }

    /// The file that takes processes.
    pub(super) fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Processes that were killed because memory ran out.
    pub(super) fn oom_kills(&self) -> Result<u64> {
        let path = self.folder.join(self.deaths);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        count(&text).ok_or_else(|| format!("{} counts no deaths: {text}", path.display()))
    }
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

impl Drop for Group {
    fn drop(&mut self) {
        let started = Instant::now();
        while let Err(error) = std::fs::remove_dir(&self.folder) {
            if started.elapsed() > PATIENCE {
                eprintln!("{}: {error}", self.folder.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_read_from_both_versions() {
        assert_eq!(count("oom_kill_disable 0\nunder_oom 0\noom_kill 34\n"), Some(34));
        assert_eq!(count("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(count("low 0\n"), None);
    }
}
