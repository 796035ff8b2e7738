//! The Postgres of the tests: one cluster for all that run at about the same time, and a database
//! for each case.
//!
//! The cluster is made by the first process that needs it, and each one after it finds it: see
//! [`hookbox_tools::cluster`], whose guardian ends it. Databases go with it: to drop one costs a
//! checkpoint. `fsync` is off, which nothing here tests: what tests faults makes a cluster of its
//! own.

use std::fs::{self, File};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hookbox_tools::cluster::{self, free_port, make_data, programs, start_server};
use tokio_postgres::{Client, NoTls};

use super::super::schema::{MIGRATIONS, VERSION, fingerprints};
use crate::{env, tasks};

pub(super) use hookbox_tools::cluster::PASSWORD;

/// Set by `cargo xtask test`, which installs Postgres: without it these tests fail then.
pub(super) const REQUIRED: &str = "HOOKBOX_TEST_POSTGRES";

/// The user of the hosts, who owns the databases of the cases.
pub(super) const USER: &str = "hookbox";

/// The cluster.
pub(super) struct TestCluster {
    pub(super) port: u16,
    pub(super) ca_file: PathBuf,
    template: String,
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

/// Gives the server a certificate for `localhost`.
fn certify(data: &Path) {
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

/// Finds the cluster or starts it, one process at a time.
fn start(programs: &Path) -> TestCluster {
    let root = cluster::folder(programs);
    let lock = File::options().create(true).append(true).open(root.join("lock"));
    let lock = lock.expect("a file of the cluster");
    lock.lock().expect("a lock");
    let (data, note) = (root.join("data"), root.join("port"));
    let running = fs::read_to_string(&note).ok().and_then(|port| port.parse().ok());
    let answers = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
    let port = running.filter(answers).unwrap_or_else(|| {
        // The rest of a cluster whose machine or guardian has died.
        let _ = fs::remove_dir_all(&data);
        make_data(programs, &data);
        certify(&data);
        let port = free_port();
        let fast = ["fsync=off", "full_page_writes=off", "max_connections=300", "ssl=on"];
        start_server(programs, &data, port, &fast);
        fs::write(&note, port.to_string()).expect("a file");
        port
    });
    let template = on_thread(template(port));
    TestCluster { port, ca_file: data.with_extension("ca.pem"), template }
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
    let version = "INSERT INTO hookbox.meta (version, min_host, made_of) VALUES ($1, 1, $2)";
    making.execute(version, &[&VERSION, &fingerprints()]).await.expect("the version");
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
