//! The commands that talk to a host, on hosts that share a Postgres.

use serde_json::Value;

use super::pair;
use crate::support::{Host, ROUTE, Ran, SOURCE, Site, cluster, guest, shared_site, wait_for};

/// `sum` adds to a number, `refuse` makes dead letters, and a join waits for what never comes.
const SECTIONS: &str = r#"
[routes]
"step.one" = "sum"
"step.two" = "refuse"
[joins.pairs]
on = ["step.one", "step.never"]
types = ["step.one", "step.never"]
key = "subject"
within = "1h"
emit = "pair.done"
[schedules.yearly]
cron = "0 0 1 1 *"
emit = "year.begins"
"#;

/// Lists that are the same from every host.
const LISTS: [&[&str]; 11] = [
    &["events"],
    &["events", "--type", "step.one", "--state", "done"],
    &["deliveries"],
    &["deliveries", "--state", "dead"],
    &["failures"],
    &["joins"],
    &["schedules"],
    &["kv"],
    &["kv", "sum"],
    &["operations"],
    &["audit"],
];

#[test]
fn every_list_of_the_commands_is_the_same_from_each_host() {
    let Some(cluster) = cluster(&[]) else { return };
    let files = [guest("add"), guest("reject")];
    let plugins = [("sum.wat", files[0].as_slice()), ("refuse.wat", files[1].as_slice())];
    let [(site, east), (west_site, west)] =
        pair(&cluster, &format!("{SOURCE}{SECTIONS}"), &plugins);
    let checked = site.run(&["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let send = ["send", "test", "step.one", "--set", "event_data.callback_id=a"];
    let sent = site.run(&[&send[..], &["--url", &east.public_url]].concat());
    assert!(sent.out.contains("accepted"), "{sent:?}");
    let emitted = site.ask(&west, &["emit", "step.two", "--subject", "b"]);
    assert_eq!(emitted.code, 0, "{emitted:?}");
    wait_for("both to be handled", || {
        ((east.count("done"), east.count("dead")) == (1, 1)).then_some(())
    });
    let json = |site: &crate::support::Site, host, list: &[&str]| -> Value {
        let ran = site.ask(host, &[list, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{list:?}: {ran:?}");
        ran.json()
    };
    let pages = LISTS.map(|list| {
        wait_for(&format!("one answer to {list:?}"), || {
            let of_east = json(&site, &east, list);
            (of_east == json(&west_site, &west, list)).then_some(of_east)
        })
    });
    let rows = pages.each_ref().map(|page| page["items"].as_array().map(Vec::len));
    assert_eq!(rows[..6], [2, 1, 3, 1, 1, 1].map(Some), "{rows:?}");
    // A dead letter of one host is retried at the other, by its id and by an operation.
    let id = pages[3]["items"][0]["id"].as_str().unwrap();
    west_site.ask(&west, &["deliveries", "retry", id]).said();
    wait_for("a second death", || {
        let delivery = json(&site, &east, &["deliveries", id]);
        (delivery["attempts"].as_array()?.len() == 2 && delivery["state"] == "dead").then_some(())
    });
    let said = site.ask(&east, &["stats"]).said();
    assert!(said.contains("refuse"), "{said}");
    let health = site.ask(&east, &["health"]);
    assert_eq!(health.code, 0, "{health:?}");
    wait_for("the size of the database", || {
        let size = east.metric("hookbox_store_size_bytes{file=\"db\"}")?;
        (size > f64::from(1 << 20)).then_some(())
    });
    let refused = site.run(&["backup", "copy.db"]);
    assert!(refused.code != 0 && refused.err.contains("pg_dump"), "{refused:?}");
}

#[test]
fn check_reads_what_is_approved_in_postgres() {
    let Some(cluster) = cluster(&[]) else { return };
    let modest = String::from_utf8(guest("ok")).unwrap();
    let site = shared_site(
        &cluster,
        "east",
        &format!("{SOURCE}{ROUTE}"),
        &[("worker.wat", modest.as_bytes())],
    );
    let before = site.run(&["check"]);
    assert!(before.code == 0 && before.err.is_empty(), "a database without a schema: {before:?}");
    let host = Host::start(&site);
    host.stop();
    let import = "(component (import \"hookbox:plugin/kv@0.1.0\" (instance))";
    site.put("plugins/worker.wat", modest.replacen("(component", import, 1));
    let ran = site.run(&["check"]);
    let warning = "warning: the newest file of `worker` asks for kv and waits";
    assert!(ran.code == 0 && ran.out.contains(warning), "{ran:?}");
    assert!(!ran.err.contains("cannot be told"), "{ran:?}");
    cluster.stop("fast");
    let gone = site.run(&["check"]);
    assert!(gone.code == 0 && gone.err.contains("no Postgres answers at "), "{gone:?}");
}

#[test]
fn a_list_that_postgres_does_not_answer_says_so_and_nothing_of_a_disk() {
    let Some(cluster) = cluster(&[]) else { return };
    let site =
        shared_site(&cluster, "east", &format!("{SOURCE}{ROUTE}"), &[("worker.wat", &guest("ok"))]);
    let host = Host::start(&site);
    cluster.stop("fast");
    let said = wait_for("the loss to be noticed", || {
        let ran = site.ask(&host, &["events"]);
        ran.err.contains("no Postgres answers").then_some(ran.err)
    });
    assert!(said.contains("the database is not reachable: "), "{said}");
    cluster.start_again(&[]);
    wait_for("an answer again", || (site.ask(&host, &["events"]).code == 0).then_some(()));
}

#[test]
fn a_schema_that_another_build_has_made_is_refused_by_hosts_copies_and_checks() {
    let Some(cluster) = cluster(&[]) else { return };
    let site =
        shared_site(&cluster, "east", &format!("{SOURCE}{ROUTE}"), &[("worker.wat", &guest("ok"))]);
    Host::start(&site).stop();
    let file = Site::of_worker(&guest("ok"), "");
    Host::start(&file).stop();
    let copy = || -> Ran {
        let copy = ["store", "copy", "data/hookbox.db", "env:DATABASE_URL"];
        let url = cluster.url("?sslmode=disable");
        file.command(&copy).env("DATABASE_URL", url).output().unwrap().into()
    };
    let (own, mut said) = (cluster.sql("SELECT made_of[1] FROM hookbox.meta"), String::new());
    for (sql, found) in [
        ("UPDATE hookbox.meta SET made_of = '{0123456789abcdef}'", "`0123456789abcdef`"),
        ("ALTER TABLE hookbox.meta DROP COLUMN made_of", "no fingerprint"),
    ] {
        cluster.sql(sql);
        assert!(Host::start_with(&site, &[]).is_none(), "it starts");
        let log = site.log();
        let copied = copy();
        let checked = site.run(&["check"]);
        assert!(copied.code == 1 && checked.code == 0, "{copied:?} {checked:?}");
        let why = format!("another build of hookbox ({found} in the place of fingerprint `{own}`)");
        for text in [&log[said.len()..], &copied.err, &checked.err] {
            assert!(text.contains(&why) && text.contains("`store.url`"), "{text}");
        }
        said = log;
    }
}
