//! The Postgres of the tests: one cluster for all that run at about the same time, and a database
//! for each case.
//!
//! The cluster lies in a folder below the machine's temporary one, so that each test process finds
//! it. It is made by the first that needs it. A guardian (a shell) stops it when no test process
//! has held the folder for some seconds, and removes it with all databases: to drop one costs a
//! checkpoint. The kernel lets go of what a process held that panicked or was killed. `fsync` is
//! off, which nothing here tests: what tests faults makes a cluster of its own (`own`).

use std::fs::{self, File};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::process::geteuid;
use tokio_postgres::{Client, NoTls};

use super::super::schema::MIGRATIONS;
use crate::{env, tasks};

/// Set by `cargo xtask test`, which installs Postgres: without it these tests fail then.
const REQUIRED: &str = "HOOKBOX_TEST_POSTGRES";

/// The password of every user.
pub(super) const PASSWORD: &str = "hunter2";

/// The user of the hosts, who owns the databases of the cases.
pub(super) const USER: &str = "hookbox";

/// Stops the clusters when nobody has held `users` for some seconds, and takes their files away.
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
    rm -rf "$data"
done
rm -f port
"#;

/// The cluster.
pub(super) struct TestCluster {
    pub(super) port: u16,
    pub(super) ca_file: PathBuf,
    template: String,
    /// Locked as long as this process lives.
    _users: File,
}

/// A database of one case. It goes with its cluster.
pub(super) struct TestDatabase {
    pub(super) name: String,
    pub(super) port: u16,
}

/// The cluster, which is started if it is not there; none if there is no Postgres.
pub(super) fn cluster() -> Option<&'static TestCluster> {
    static CLUSTER: OnceLock<Option<TestCluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| {
        let Some(programs) = programs() else {
            let why = "skipped: there is no Postgres (Debian's package `postgresql`)";
            assert!(env::var(REQUIRED).is_none(), "{why}");
            // Not caught by the test runner as a macro's output is.
            writeln!(std::io::stderr(), "{why}").expect("somebody reads");
            return None;
        };
        Some(start(&programs))
    });
    cluster.as_ref()
}

/// The folder of `initdb` and its like, of the newest version.
pub(super) fn programs() -> Option<PathBuf> {
    let is_whole = |folder: &PathBuf| {
        ["initdb", "pg_ctl", "pg_basebackup"].iter().all(|name| folder.join(name).exists())
    };
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let folder = |entry: std::io::Result<fs::DirEntry>| entry.ok().map(|it| it.path().join("bin"));
    let debian = versions.filter_map(folder).filter(is_whole).max();
    let path = env::var("PATH").unwrap_or_default();
    debian.or_else(|| path.to_string_lossy().split(':').map(PathBuf::from).find(is_whole))
}

/// The folder of all clusters of this copy of the repository. A name in the machine's temporary
/// folder is short enough for a socket.
pub(super) fn root() -> PathBuf {
    let (user, mut hasher) = (geteuid().as_raw(), DefaultHasher::new());
    env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
    let name = format!("hookbox-postgres-{user}-{:08x}", hasher.finish() as u32);
    let root = env::temp_dir().join(name);
    fs::create_dir_all(&root).expect("a folder can be made");
    let owner = fs::symlink_metadata(&root).expect("it is there").uid();
    assert_eq!(owner, geteuid().as_raw(), "`{}` is somebody else's", root.display());
    root
}

/// Runs a program of Postgres, as another user if this one is root, which it refuses.
pub(super) fn as_server(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

pub(super) fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().expect("the program starts");
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {text}");
}

/// A port that is free at this moment.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

/// Makes a folder that is the server's.
pub(super) fn make_folder(folder: &Path) {
    let mut make = Command::new("install");
    make.args(["-d", "-m", "700"]);
    if geteuid().is_root() {
        make.args(["-o", "postgres"]);
    }
    run(make.arg(folder));
}

/// Makes a data folder with its user, and a certificate for `localhost`.
pub(super) fn make_data(programs: &Path, data: &Path) {
    make_folder(data);
    let secret = data.with_extension("password");
    fs::write(&secret, PASSWORD).expect("a file");
    run(as_server(&programs.join("initdb"))
        .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
        .arg(format!("--pwfile={}", secret.display()))
        .arg("-D")
        .arg(data));
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let owner = fs::metadata(data).expect("it is there");
    for (name, text) in
        [("server.crt", key.cert.pem()), ("server.key", key.signing_key.serialize_pem())]
    {
        let path = data.join(name);
        fs::write(&path, text).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, mode).expect("its mode");
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("its owner");
    }
    fs::write(data.with_extension("ca.pem"), key.cert.pem()).expect("a file");
}

/// Starts a server on loopback and a socket in its data folder.
pub(super) fn start_server(programs: &Path, data: &Path, port: u16, settings: &[&str]) {
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

/// Finds the cluster or starts it, one process at a time.
fn start(programs: &Path) -> TestCluster {
    let root = root();
    let open = |name: &str| {
        let path = root.join(name);
        File::options().create(true).append(true).open(path).expect("a file of the cluster")
    };
    let users = open("users");
    users.lock_shared().expect("a lock");
    let lock = open("lock");
    lock.lock().expect("a lock");
    let (data, note) = (root.join("data"), root.join("port"));
    let running = fs::read_to_string(&note).ok().and_then(|port| port.parse().ok());
    let answers = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
    let port = running.filter(answers).unwrap_or_else(|| {
        // What is left of a cluster whose machine or guardian has died.
        let _ = fs::remove_dir_all(&data);
        make_data(programs, &data);
        let port = free_port();
        let fast = ["fsync=off", "full_page_writes=off", "max_connections=300", "ssl=on"];
        start_server(programs, &data, port, &fast);
        fs::write(&note, port.to_string()).expect("a file");
        port
    });
    guard(&root, programs);
    let template = on_thread(template(port));
    TestCluster { port, ca_file: data.with_extension("ca.pem"), template, _users: users }
}

fn guard(root: &Path, programs: &Path) {
    let user = if geteuid().is_root() { "runuser -u postgres --" } else { "" };
    let started = Command::new("setsid")
        .args(["--fork", "sh", "-c", GUARDIAN])
        .env("AS", user)
        .env("BIN", programs)
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("a shell starts");
    assert!(started.success(), "the guardian has started");
}

/// Makes the database that those of the cases are copied from: empty, with the schema of now.
async fn template(port: u16) -> String {
    let mut hasher = DefaultHasher::new();
    MIGRATIONS.hash(&mut hasher);
    let name = format!("template_{:016x}", hasher.finish());
    let admin = connect(port, "postgres", "postgres").await;
    let found = admin
        .query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name])
        .await
        .expect("a query");
    if found.is_some() {
        return name;
    }
    let user = format!(
        "DO $$ BEGIN CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}';
         EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    );
    admin.batch_execute(&user).await.expect("a user");
    for sql in [
        "DROP DATABASE IF EXISTS making".to_owned(),
        format!("CREATE DATABASE making OWNER {USER}"),
    ] {
        admin.batch_execute(&sql).await.expect("a database");
    }
    let making = connect(port, USER, "making").await;
    for sql in MIGRATIONS.iter().flat_map(|migration| migration.iter()) {
        making.batch_execute(sql).await.expect("the schema");
    }
    let version =
        format!("INSERT INTO hookbox.meta (version, min_host) VALUES ({}, 1)", MIGRATIONS.len());
    making.batch_execute(&version).await.expect("the version");
    drop(making);
    let ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
        WHERE datname = 'making'";
    admin.query(ended, &[]).await.expect("no connection is left");
    admin
        .batch_execute(&format!("ALTER DATABASE making RENAME TO {name}"))
        .await
        .expect("its name");
    name
}

/// A connection that is no host's.
pub(super) async fn connect(port: u16, user: &str, database: &str) -> Client {
    let address = format!("postgres://{user}:{PASSWORD}@127.0.0.1:{port}/{database}");
    let (client, connection) =
        tokio_postgres::connect(&address, NoTls).await.expect("the server lets this test in");
    tasks::spawn(async move {
        // The test sees it by its next query.
        let _ = connection.await;
    });
    client
}

/// Runs a future to its end from where none can be awaited.
fn on_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let run = move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime").block_on(work)
    };
    tasks::thread("rig", run).expect("a thread").join().expect("it does not panic")
}

impl TestCluster {
    /// A copy of the template.
    pub(super) async fn database(&self) -> TestDatabase {
        self.copy(&format!("TEMPLATE {}", self.template)).await
    }

    /// A database with nothing in it.
    pub(super) async fn empty_database(&self) -> TestDatabase {
        self.copy("TEMPLATE template0").await
    }

    async fn copy(&self, of: &str) -> TestDatabase {
        let name = format!("case_{:016x}", RandomState::new().build_hasher().finish());
        let admin = connect(self.port, "postgres", "postgres").await;
        let sql = format!("CREATE DATABASE {name} OWNER {USER} {of}");
        admin.batch_execute(&sql).await.expect("a database of its own");
        TestDatabase { name, port: self.port }
    }
}

impl TestDatabase {
    /// The address of a host.
    pub(super) fn url(&self) -> String {
        format!(
            "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{}?sslmode=disable",
            self.port, self.name
        )
    }

    /// A connection of the server's owner.
    pub(super) async fn admin(&self) -> Client {
        connect(self.port, "postgres", &self.name).await
    }
}
