//! Clusters of one test, for what cannot be shared.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use super::rig::{
    PASSWORD, as_server, free_port, make_data, make_folder, programs, root, run, start_server,
};

/// A cluster that ends when this is dropped; the guardian ends it if the process is killed.
pub(super) struct OwnCluster {
    programs: PathBuf,
    data: PathBuf,
    pub(super) port: u16,
}

impl OwnCluster {
    /// A new cluster.
    pub(super) fn start(settings: &[&str]) -> Self {
        let (programs, data) = (programs().expect("asked for before"), folder());
        make_data(&programs, &data);
        Self::serve(programs, data, settings)
    }

    /// A standby of this cluster, which follows it.
    pub(super) fn standby(&self) -> Self {
        let data = folder();
        make_folder(&data);
        run(as_server(&self.programs.join("pg_basebackup"))
            .arg("-D")
            .arg(&data)
            .args(["-R", "--no-sync", "--checkpoint=fast", "-d"])
            .arg(format!(
                "postgres://postgres:{PASSWORD}@127.0.0.1:{}/postgres?sslmode=disable",
                self.port
            )));
        Self::serve(self.programs.clone(), data, &["hot_standby=on", "max_connections=12"])
    }

    fn serve(programs: PathBuf, data: PathBuf, settings: &[&str]) -> Self {
        let port = free_port();
        start_server(&programs, &data, port, settings);
        Self { programs, data, port }
    }

    /// Stops the server: `immediate` as a crash does, `fast` in order.
    pub(super) fn stop(&self, how: &str) {
        run(as_server(&self.programs.join("pg_ctl"))
            .args(["-w", "-m", how, "stop", "-D"])
            .arg(&self.data));
    }

    /// Starts the server that was stopped.
    pub(super) fn start_again(&self, settings: &[&str]) {
        start_server(&self.programs, &self.data, self.port, settings);
    }

    /// The address of a host, as the owner of the server.
    pub(super) fn url(&self, more: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/postgres{more}", self.port)
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        let stopped = as_server(&self.programs.join("pg_ctl"))
            .args(["-m", "immediate", "stop", "-D"])
            .arg(&self.data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let removed = std::fs::remove_dir_all(&self.data);
        if !std::thread::panicking() {
            assert!(stopped.expect("pg_ctl starts").success(), "the cluster has ended");
            removed.expect("its folder is gone");
        }
    }
}

/// A folder that nobody has.
fn folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("own-{}-{number}", std::process::id());
    let data: &Path = &root().join(name);
    data.to_owned()
}
