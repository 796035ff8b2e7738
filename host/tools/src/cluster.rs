//! Postgres servers of tests and benchmarks: made by `initdb`, on loopback, and run by another user
//! if this one is root, which Postgres refuses.
//!
//! They lie in a folder below the machine's temporary one. A guardian (a shell) stops them when no
//! process has held the folder for some seconds, and removes them: the kernel lets go of what a
//! process held that panicked or was killed.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The password of every user.
pub const PASSWORD: &str = "hunter2";

/// Stops the clusters when nobody has held `users` for some seconds, and takes their files away.
/// This may last minutes. So whoever needs a cluster meanwhile gets a new one, and a guardian,
/// because the lock of this one is free before the folder is.
const GUARDIAN: &str = r#"
exec 9>>guardian 8>>users
flock -n 9 || exit 0
idle=0
while [ $idle -lt 3 ]; do
    sleep 4
    if flock -n -x 8; then
        idle=$((idle + 1))
        [ $idle -lt 3 ] && flock -u 8
    else
        idle=0
    fi
done
for data in data own-*; do
    if [ -f "$data/postmaster.pid" ]; then $AS "$BIN/pg_ctl" -D "$data" -m immediate stop; fi
    [ -e "$data" ] && mv "$data" "gone-$$-$data"
done
rm -f port
exec 9>&- 8>&-
rm -rf gone-*
"#;

/// The folder of `initdb` and its like, of the newest version; none if there is no Postgres.
pub fn programs() -> Option<PathBuf> {
    let is_whole = |folder: &PathBuf| {
        ["initdb", "pg_ctl", "pg_basebackup"].iter().all(|name| folder.join(name).exists())
    };
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let folder = |entry: std::io::Result<fs::DirEntry>| entry.ok().map(|it| it.path().join("bin"));
    let debian = versions.filter_map(folder).filter(is_whole).max();
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian.or_else(|| path.to_string_lossy().split(':').map(PathBuf::from).find(is_whole))
}

/// The user of this process.
fn user() -> u32 {
    fs::metadata("/proc/self").expect("a process has itself").uid()
}

/// The folder of all clusters of this copy of the repository, which is guarded as long as this
/// process lives. A name in the machine's temporary folder is short enough for a socket.
///
/// # Panics
///
/// If it cannot be made, or is somebody else's.
pub fn folder(programs: &Path) -> PathBuf {
    static USERS: OnceLock<File> = OnceLock::new();
    let mut hasher = DefaultHasher::new();
    env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
    let name = format!("hookbox-postgres-{}-{:08x}", user(), hasher.finish() as u32);
    let root = std::env::temp_dir().join(name);
    fs::create_dir_all(&root).expect("a folder can be made");
    let owner = fs::symlink_metadata(&root).expect("it is there").uid();
    assert_eq!(owner, user(), "`{}` is somebody else's", root.display());
    USERS.get_or_init(|| {
        let path = root.join("users");
        let users = File::options().create(true).append(true).open(path).expect("a file");
        users.lock_shared().expect("a lock");
        guard(&root, programs);
        users
    });
    root
}

fn guard(root: &Path, programs: &Path) {
    let started = Command::new("setsid")
        .args(["--fork", "sh", "-c", GUARDIAN])
        .env("AS", if user() == 0 { "runuser -u postgres --" } else { "" })
        .env("BIN", programs)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("a shell starts");
    assert!(started.success(), "the guardian has started");
}

/// Runs a program of Postgres, as another user if this one is root.
pub fn as_server(program: &Path) -> Command {
    if user() != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

/// Runs a command to its end.
///
/// # Panics
///
/// If it does not start, or fails; with its words.
pub fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().expect("the program starts");
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {text}");
}

/// A port that is free at this moment.
///
/// # Panics
///
/// If there is none.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

/// Makes a folder that is the server's.
///
/// # Panics
///
/// If it cannot be made.
pub fn make_folder(folder: &Path) {
    let mut make = Command::new("install");
    make.args(["-d", "-m", "700"]);
    if user() == 0 {
        make.args(["-o", "postgres"]);
    }
    run(make.arg(folder));
}

/// Makes a data folder with its first user, `postgres`.
///
/// # Panics
///
/// If it cannot be made.
pub fn make_data(programs: &Path, data: &Path) {
    make_folder(data);
    let secret = data.with_extension("password");
    fs::write(&secret, PASSWORD).expect("a file");
    run(as_server(&programs.join("initdb"))
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
        .arg(format!("--pwfile={}", secret.display()))
        .arg("-D")
        .arg(data));
}

/// Starts a server on loopback and a socket in its data folder, and waits for it.
///
/// # Panics
///
/// If it does not start; with its log.
pub fn start_server(programs: &Path, data: &Path, port: u16, settings: &[&str]) {
    let mut options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={}",
        data.display()
    );
    for setting in settings {
        options = format!("{options} -c {setting}");
    }
    let log = data.join("log");
    let done = as_server(&programs.join("pg_ctl"))
        .args(["-w", "-t", "60", "start", "-D"])
        .arg(data)
        .args(["-o", &options, "-l"])
        .arg(&log)
        // The server would keep the pipes of this process open.
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("pg_ctl starts");
    let said = || fs::read_to_string(&log).unwrap_or_default();
    assert!(done.success(), "the server does not start: {}", said());
}

/// A cluster that ends when this is dropped; the guardian ends it if the process is killed.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    data: PathBuf,
    /// The port of the server, on loopback.
    pub port: u16,
}

impl Cluster {
    /// A new cluster with these settings (`name=value`); none if there is no Postgres.
    pub fn start(settings: &[&str]) -> Option<Self> {
        let programs = programs()?;
        let data = new_folder(&programs);
        make_data(&programs, &data);
        Some(Self::serve(programs, data, settings))
    }

    /// Starts a server in a data folder that was made before.
    pub fn serve(programs: PathBuf, data: PathBuf, settings: &[&str]) -> Self {
        let port = free_port();
        start_server(&programs, &data, port, settings);
        Self { programs, data, port }
    }

    /// A standby of this cluster, which follows it.
    pub fn standby(&self, settings: &[&str]) -> Self {
        let data = new_folder(&self.programs);
        make_folder(&data);
        run(as_server(&self.programs.join("pg_basebackup"))
            .arg("-D")
            .arg(&data)
            .args(["-R", "--no-sync", "--checkpoint=fast", "-d"])
            .arg(self.url("?sslmode=disable")));
        Self::serve(self.programs.clone(), data, settings)
    }

    /// Stops the server: `immediate` as a crash does, `fast` in order.
    pub fn stop(&self, how: &str) {
        run(self.control().args(["-w", "-m", how, "stop"]));
    }

    /// Starts the server that was stopped.
    pub fn start_again(&self, settings: &[&str]) {
        start_server(&self.programs, &self.data, self.port, settings);
    }

    /// Makes a primary of a standby.
    pub fn promote(&self) {
        run(self.control().args(["-w", "promote"]));
    }

    /// `pg_ctl` with this cluster's data folder.
    fn control(&self) -> Command {
        let mut command = as_server(&self.programs.join("pg_ctl"));
        command.arg("-D").arg(&self.data);
        command
    }

    /// The process id of the server.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn postmaster(&self) -> u32 {
        let text = fs::read_to_string(self.data.join("postmaster.pid")).expect("it runs");
        text.lines().next().and_then(|line| line.parse().ok()).expect("its first line is its id")
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The address of a client, as the owner of the server.
    pub fn url(&self, more: &str) -> String {
        self.url_of("postgres", more)
    }

    /// The same for a database of this name.
    pub fn url_of(&self, database: &str, more: &str) -> String {
        format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/{database}{more}", self.port)
    }

    /// Runs SQL as the owner of the server, and returns the rows, columns separated by `|`.
    ///
    /// # Panics
    ///
    /// If it fails; with the server's words.
    pub fn sql(&self, sql: &str) -> String {
        let done = Command::new(self.programs.join("psql"))
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(self.url("?sslmode=disable"))
            .stdin(Stdio::null())
            .output()
            .expect("psql starts");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{sql}: {said}");
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let quietly =
            |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let runs = quietly(self.control().arg("status"));
        let stopped = quietly(self.control().args(["-m", "immediate", "stop"]));
        let removed = fs::remove_dir_all(&self.data);
        if !std::thread::panicking() {
            let has_ended = |status: std::process::ExitStatus| status.success();
            // A test may have ended it itself.
            if runs.expect("pg_ctl starts").success() {
                assert!(stopped.is_ok_and(has_ended), "the cluster has ended");
            }
            removed.expect("its folder is gone");
        }
    }
}

/// A folder that nobody has.
pub fn new_folder(programs: &Path) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    folder(programs).join(format!("own-{}-{number}", std::process::id()))
}
