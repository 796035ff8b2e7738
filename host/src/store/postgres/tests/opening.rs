//! Messages of a host that cannot use a database, and the opening of one that it can use.

use std::net::TcpListener;

use hookbox_tools::cluster::{Cluster, PASSWORD};

use super::super::schema::fingerprints;
use super::rig::{USER, connect};
use super::*;
use crate::event::{Attributes, NewEvent};
use crate::store::{Count, Health, Queue};
use crate::tasks;

/// Opens the address and returns the reason why not.
async fn refused(case: &OnePostgres, url: String) -> PostgresOpenError {
    let options = PostgresOptions { url: url.into(), ..case.options().await };
    let opened = Postgres::open(options).await;
    let error = opened.expect_err("it cannot be opened");
    let shown = error.to_string();
    assert!(!shown.contains(PASSWORD), "the password is no business of logs: {shown}");
    error
}

#[track_caller]
fn says(error: &PostgresOpenError, parts: &[&str]) {
    let shown = error.to_string();
    for part in parts {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn an_address_that_is_none_says_how_one_reads() {
    let Some(case) = one_postgres() else { return };
    for (url, what) in [
        ("postgres://hookbox:hunter2@", "names no host"),
        ("mysql://a/b", "is no address"),
        ("postgres://127.0.0.1/a", "names no user"),
        ("postgres://u:p@127.0.0.1", "names no database"),
        ("postgres://u:p@h/d?sslmode=perhaps", "sslmode"),
    ] {
        let error = refused(&case, url.to_owned()).await;
        assert!(matches!(error, PostgresOpenError::Address(_)), "{url}: {error}");
        says(&error, &[what, "postgres://USER:PASSWORD@HOST:PORT/DATABASE"]);
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_named() {
    let Some(case) = one_postgres() else { return };
    let right = case.database().await.url();
    for (url, user) in [
        (right.replace(&format!(":{PASSWORD}@"), ":wrong@"), USER),
        (right.replace(&format!("{USER}:"), "nobody:"), "nobody"),
    ] {
        let error = refused(&case, url).await;
        assert!(matches!(error, PostgresOpenError::Login { .. }), "{error}");
        says(&error, &[&format!("user `{user}`"), "pg_hba.conf"]);
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let error = refused(&case, database.url().replace(&database.name, "elsewhere")).await;
    assert!(matches!(error, PostgresOpenError::NoDatabase { .. }), "{error}");
    says(&error, &["no database `elsewhere`", "createdb elsewhere"]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    let Some(case) = one_postgres() else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&case, format!("postgres://u:{PASSWORD}@127.0.0.1:{port}/d")).await;
    assert!(matches!(error, PostgresOpenError::Unreachable { .. }), "{error}");
    says(&error, &[&format!("127.0.0.1:{port}"), "refused"]);
}

#[tokio::test]
async fn a_schema_of_somebody_else_is_left_alone() {
    let Some(case) = one_postgres() else { return };
    for sql in
        ["CREATE SCHEMA hookbox", "CREATE SCHEMA hookbox; CREATE TABLE hookbox.meta (theirs text)"]
    {
        let database = case.cluster.empty_database().await;
        let owner = connect(database.port, USER, &database.name).await;
        owner.batch_execute(sql).await.unwrap();
        let error = refused(&case, database.url()).await;
        assert!(matches!(error, PostgresOpenError::Foreign(_)), "{error}");
        says(&error, &[&database.name, "schema `hookbox`"]);
        let made = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE nspname = 'hookbox' AND relname = 'open'";
        assert_eq!(owner.query_one(made, &[]).await.unwrap().get::<_, i64>(0), 0);
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_unless_it_says_that_this_host_can_use_it() {
    let Some(case) = one_postgres() else { return };
    let admin = case.database().await.admin().await;
    admin.batch_execute("UPDATE hookbox.meta SET version = 99, min_host = 98").await.unwrap();
    let error = refused(&case, case.database().await.url()).await;
    assert!(matches!(error, PostgresOpenError::Newer { found: 99, .. }), "{error}");
    says(&error, &["schema version 99", "version 98 or later", "newer hookbox"]);
    admin.batch_execute("UPDATE hookbox.meta SET min_host = 1").await.unwrap();
    case.open_postgres().await.close().await.unwrap();
    let version = admin.query_one("SELECT version FROM hookbox.meta", &[]).await.unwrap();
    assert_eq!(version.get::<_, i32>(0), 99, "an older host takes nothing back");
}

#[tokio::test]
async fn a_schema_that_another_build_has_made_otherwise_is_refused_by_whoever_opens_it() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let admin = database.admin().await;
    let own = &fingerprints()[0];
    let later = format!("UPDATE hookbox.meta SET version = 2, made_of = '{{{own},f00d}}'");
    admin.batch_execute(&later).await.unwrap();
    case.open_postgres().await.close().await.unwrap();
    for (sql, found) in [
        ("UPDATE hookbox.meta SET made_of = '{0123456789abcdef,f00d}'", "`0123456789abcdef`"),
        ("UPDATE hookbox.meta SET made_of = '{}'", "no fingerprint"),
        ("ALTER TABLE hookbox.meta DROP COLUMN made_of", "no fingerprint"),
    ] {
        admin.batch_execute(sql).await.unwrap();
        let error = refused(&case, database.url()).await;
        assert!(matches!(error, PostgresOpenError::OtherBuild { version: 1, .. }), "{error}");
        let place = format!("database `{}`", database.name);
        says(&error, &[&place, found, own, "another build", "store.url", "DROP SCHEMA hookbox"]);
        let peeked = Postgres::peek_approvals(&database.url().into(), None, None).await;
        assert_eq!(peeked.unwrap_err(), error.to_string());
    }
}

#[tokio::test]
async fn missing_rights_are_named_with_what_grants_them() {
    let Some(case) = one_postgres() else { return };
    let database = case.cluster.empty_database().await;
    let admin = database.admin().await;
    let taken = format!("ALTER DATABASE {} OWNER TO postgres", database.name);
    admin.batch_execute(&taken).await.unwrap();
    let error = refused(&case, database.url()).await;
    assert!(matches!(error, PostgresOpenError::Rights { .. }), "{error}");
    says(&error, &[&format!("GRANT CREATE ON DATABASE {}", database.name), USER]);
}

#[tokio::test]
async fn a_database_that_is_read_only_is_refused() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let sql = format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name);
    database.admin().await.batch_execute(&sql).await.unwrap();
    let error = refused(&case, database.url()).await;
    assert!(matches!(error, PostgresOpenError::ReadOnly(_)), "{error}");
    says(&error, &["primary", "target_session_attrs=read-write"]);
}

#[tokio::test]
async fn a_certificate_is_checked_by_authority_and_name() {
    let Some(case) = one_postgres() else { return };
    let database = case.database().await;
    let required = database.url().replace("sslmode=disable", "sslmode=require");
    let by_name = required.replace("127.0.0.1", "localhost");
    let error = refused(&case, by_name.clone()).await;
    assert!(matches!(error, PostgresOpenError::Tls { .. }), "{error}");
    says(&error, &["store.ca_file", "UnknownIssuer"]);
    let trusting = async |url: &str| PostgresOptions {
        url: url.into(),
        ca_file: Some(case.cluster.ca_file.clone()),
        ..case.options().await
    };
    let error = Postgres::open(trusting(&required).await).await.unwrap_err();
    assert!(matches!(error, PostgresOpenError::Tls { .. }), "{error}");
    says(&error, &["not valid for name"]);
    let store = Postgres::open(trusting(&by_name).await).await.unwrap();
    let admin = database.admin().await;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
        WHERE s.ssl AND a.datname = current_database()";
    assert_eq!(admin.query_one(encrypted, &[]).await.unwrap().get::<_, i64>(0), 6);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_a_replica_and_one_without_connections_say_so() {
    let Some(case) = one_postgres() else { return };
    let few = ["max_connections=12", "superuser_reserved_connections=0", "wal_level=replica"];
    let cluster = Cluster::start(&few).expect("it is there");
    let error = refused(&case, cluster.url("?sslmode=require")).await;
    assert!(matches!(error, PostgresOpenError::NoTls(_)), "{error}");
    says(&error, &["ssl = on", "sslmode=disable"]);

    let standby = cluster.standby(&["hot_standby=on", "max_connections=12"]);
    let error = refused(&case, standby.url("")).await;
    assert!(matches!(error, PostgresOpenError::ReadOnly(_)), "{error}");
    says(&error, &["replica"]);

    let mut taken = Vec::new();
    let error = loop {
        let address = cluster.url("?sslmode=disable");
        match tokio_postgres::connect(&address, tokio_postgres::NoTls).await {
            Ok((client, connection)) => taken.push((client, tasks::spawn(connection))),
            Err(_) => break refused(&case, address).await,
        }
    };
    assert!(matches!(error, PostgresOpenError::Connections(_)), "{error}");
    says(&error, &["max_connections"]);
}

#[tokio::test]
async fn two_hosts_in_one_folder_are_refused() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let error = Postgres::open(case.options().await).await.unwrap_err();
    assert!(matches!(error, PostgresOpenError::InUse(_)), "{error}");
    store.close().await.unwrap();
    // The folder is free although the closed store is still there.
    case.open_postgres().await;
}

#[tokio::test]
async fn twenty_hosts_that_start_at_once_on_an_empty_database_make_one_schema() {
    let Some(case) = one_postgres() else { return };
    let database = case.cluster.empty_database().await;
    let mut starting = Vec::new();
    let mut folders = Vec::new();
    for number in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let options = PostgresOptions {
            url: database.url().into(),
            folder: folder.path().to_owned(),
            host_name: format!("host {number}"),
            ..case.options().await
        };
        folders.push(folder);
        starting.push(tasks::spawn(Postgres::open(options)));
    }
    let mut slots = Vec::new();
    let mut hosts = Vec::new();
    for host in starting {
        let host = host.await.unwrap().unwrap();
        slots.push(host.shared.run().slot);
        hosts.push(host);
    }
    slots.sort_unstable();
    assert_eq!(slots, (0..20).collect::<Vec<_>>());
    for host in &hosts {
        host.append(NewEvent::from(Attributes {
            source: "acme".into(),
            kind: "order.paid".to_owned(),
            subject: None,
            content_type: None,
            time_ms: START_MS,
            body: bytes::Bytes::new(),
        }))
        .await
        .unwrap();
    }
    assert_eq!(hosts[0].stats().await.unwrap().events, 20);
}
