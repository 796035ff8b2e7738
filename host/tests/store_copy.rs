//! `hookbox store copy`: a store moves from SQLite to Postgres, and its hosts go on there.

use std::process::Stdio;

use hookbox_tools::cluster::Cluster;
use serde_json::Value;

use crate::support::{Host, SOURCE, Site, guest, wait_for};

const COPY: [&str; 4] = ["store", "copy", "data/hookbox.db", "env:DATABASE_URL"];

/// A cluster with a database of its own; none if there is no Postgres, which is said.
fn cluster() -> Option<Cluster> {
    let started = Cluster::start(&["fsync=off"]);
    if started.is_none() {
        let required = hookbox::env::var("HOOKBOX_TEST_POSTGRES").is_some();
        assert!(!required, "there is no Postgres, and HOOKBOX_TEST_POSTGRES is set");
        println!("SKIPPED: there is no Postgres (`cargo xtask test` installs it)");
    }
    started
}

/// A site whose plugin keeps a value, and its host, which has handled an event and is stopped.
fn site_with_an_event() -> (Site, Value) {
    let site = Site::of_worker(&guest("kv"), "");
    let host = Host::start(&site);
    let id = host.send("step.one", "order_1");
    host.settled();
    let event = host.event(&id);
    host.stop();
    (site, event)
}

#[test]
fn a_store_that_was_copied_is_served_from_postgres() {
    let Some(cluster) = cluster() else { return };
    let (site, event) = site_with_an_event();
    let url = cluster.url("?sslmode=disable");
    let copy = |more: &[&str]| -> crate::support::Ran {
        let mut command = site.command(&[&COPY[..], more].concat());
        command.env("DATABASE_URL", &url).output().unwrap().into()
    };
    let looked = copy(&["--dry-run", "--json"]).json();
    assert_eq!((&looked["dry_run"], &looked["items"][0]["rows"]), (&true.into(), &1.into()));
    let copied = copy(&[]);
    assert!(copied.out.contains("postgres://127.0.0.1:"), "{copied:?}");
    assert!(copied.err.contains("start no host on data/hookbox.db any more"), "{copied:?}");
    assert!(!format!("{copied:?}").contains(hookbox_tools::cluster::PASSWORD), "{copied:?}");
    let again = copy(&[]);
    assert!(again.code == 1 && again.err.contains("holds a store already (events: 1"), "{again:?}");
    site.put_config(&format!(
        "data_dir = \"data\"\n[store]\nurl = {{ env = \"DATABASE_URL\" }}\n{SOURCE}\
         [routes]\n\"step.one\" = \"worker\"\n"
    ));
    let host = Host::start_with(&site, &[("DATABASE_URL", &url)]).expect("it starts");
    assert_eq!(host.event(event["id"].as_str().unwrap()), event);
    let next = host.send("step.one", "order_2");
    assert!(next.as_str() > event["id"].as_str().unwrap());
    host.settled();
    host.stop();
}

/// Has whoever writes a value wait for an hour, as soon as there is the table of values.
const SLOW_VALUES: &str = "
    CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$;
    CREATE FUNCTION public.add_wait() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF to_regclass('hookbox.kv') IS NOT NULL
            AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'waits') THEN
            CREATE TRIGGER waits BEFORE INSERT ON hookbox.kv
                FOR EACH ROW EXECUTE FUNCTION public.wait();
        END IF;
    END $$;
    CREATE EVENT TRIGGER adds_wait ON ddl_command_end EXECUTE FUNCTION public.add_wait()";

#[test]
fn a_copy_that_is_killed_leaves_the_database_as_it_was() {
    let Some(cluster) = cluster() else { return };
    let (site, _) = site_with_an_event();
    let url = cluster.url("?sslmode=disable");
    let copy = |more: &[&str]| {
        let mut command = site.command(&[&COPY[..], more].concat());
        command.env("DATABASE_URL", &url).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let has_schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'hookbox'";
    assert!(copy(&["--dry-run"]).status().unwrap().success());
    assert_eq!(cluster.sql(has_schema), "0");
    cluster.sql(SLOW_VALUES);
    let mut copying = copy(&[]).spawn().unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait_for("a value to be written", || (cluster.sql(waits) == "1").then_some(()));
    copying.kill().unwrap();
    copying.wait().unwrap();
    cluster.sql("DROP EVENT TRIGGER adds_wait");
    cluster
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    wait_for("the transaction to end", || (cluster.sql(waits) == "0").then_some(()));
    assert_eq!(cluster.sql(has_schema), "0");
    assert!(copy(&[]).status().unwrap().success());
    assert_eq!(cluster.sql("SELECT count(*) FROM hookbox.events"), "1");
}

#[test]
fn what_cannot_be_copied_is_said_before_anything_is_opened() {
    let site = Site::new(SOURCE, &[]);
    site.put("url", "not an address");
    for (from, to, hint) in [
        ("data/hookbox.db", "postgres://u:hunter2@h/d", "write env:NAME or file:PATH"),
        ("data/hookbox.db", "postgres://u@h/d?password=hunter2", "write env:NAME or file:PATH"),
        ("data/hookbox.db", "env:NOT_SET", "`NOT_SET` holds no address"),
        ("data/hookbox.db", "file:url", "the file url holds no address"),
        ("data/hookbox.db", "file:missing", "cannot read `missing`"),
        ("data/hookbox.db", "sqlite:other.db", "TO is not the address of a Postgres database"),
        ("postgres://u@h/d", "sqlite:other.db", "from SQLite to Postgres only"),
        ("sqlite:", "postgres://u@h/d", "FROM names no file"),
    ] {
        let ran = site.run(&["store", "copy", from, to]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{from} {to}: {ran:?}");
        assert!(ran.err.contains(hint) && !ran.err.contains("hunter2"), "{from} {to}: {ran:?}");
    }
    assert!(!site.path("data/hookbox.db").exists());
}
