//! PgBouncer between a host and its server, which lends connections for one transaction at a time.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use hookbox_tools::cluster::{free_port, programs};

use super::rig::{PASSWORD, REQUIRED, USER};
use crate::env;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pooler of one case.
pub(super) struct PgBouncer {
    port: u16,
    folder: tempfile::TempDir,
    child: Mutex<Option<Child>>,
}

impl PgBouncer {
    /// A pooler of so many connections before the server at this port; none if there is no
    /// PgBouncer, which is said.
    pub(super) fn start(server: u16, connections: u32) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            let why = "skipped: there is no PgBouncer (Debian's package `pgbouncer`)";
            assert!(env::var(REQUIRED).is_none(), "{why}");
            println!("{why}");
            return None;
        }
        programs()?;
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a folder"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), mode).expect("its mode");
        let users = folder.path().join("users.txt");
        let user = |name: &str| format!("\"{name}\" \"{PASSWORD}\"\n");
        fs::write(&users, user(USER) + &user("postgres")).expect("a file");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {connections}\nmax_client_conn = 60\nserver_login_retry = 1\n",
            users.display(),
        );
        fs::write(folder.path().join("pgbouncer.ini"), text).expect("a file");
        let started = Self { port, folder, child: Mutex::default() };
        started.run();
        Some(started)
    }

    /// Runs it, and waits until it listens.
    pub(super) fn run(&self) {
        let mut command = Command::new(PROGRAM);
        if fs::metadata("/proc/self").expect("a process has itself").uid() == 0 {
            command.args(["-u", "postgres"]);
        }
        let log = fs::File::create(self.log()).expect("a file");
        command.arg(self.folder.path().join("pgbouncer.ini"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("it starts");
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = child.try_wait().expect("it is a child");
            assert_eq!(ended, None, "{}", fs::read_to_string(self.log()).unwrap_or_default());
            std::thread::yield_now();
        }
        *self.child.lock().expect("nobody panics") = Some(child);
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Ends it, with its connections.
    pub(super) fn end(&self) {
        if let Some(mut child) = self.child.lock().expect("nobody panics").take() {
            child.kill().expect("it is a child");
            child.wait().expect("it ends");
        }
    }

    /// The port on which it listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The address of a host that goes through it.
    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.end();
    }
}
