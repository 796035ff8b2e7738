//! Dead letters under `kill -9`: whoever gave up, and wherever the host died over it, one event
//! tells of each death.

use super::*;
use crate::support::wait_for;

/// `refuse` refuses everything. Deaths are told to `sink`.
const SECTIONS: &str =
    "[routes]\n\"step.one\" = \"refuse\"\n\"plugins/refuse:hookbox.dead\" = \"sink\"\n";

/// The points that a death passes, from the lease to the commit of what tells of it.
fn points() -> impl Iterator<Item = &'static str> {
    let road = hookbox::fail::POINTS.into_iter().skip_while(|point| *point != "store.batch_taken");
    road.filter(|point| !point.starts_with("ingest.") && *point != "store.retention")
}

fn site() -> Site {
    Site::new(
        &format!("{SOURCE}{SECTIONS}"),
        &[("refuse.wat", &guest("reject")), ("sink.wat", &guest("ok"))],
    )
}

/// Starts a host that is to die at its `passage`-th passage of a point, and kills it if it comes to
/// the end of what there is to do; says whether it died of itself.
fn dies_over_it(site: &Site, point: &str, passage: usize) -> bool {
    let plan = format!("{point}:{passage}");
    let Some(mut host) = Host::start_with(site, &[("HOOKBOX_FAIL", &plan)]) else { return true };
    let database = site.path("data/hookbox.db");
    let died = wait_for("a death, or a dead letter that is told of", || {
        let ended = host.ended().is_some();
        (ended || told(&database).is_ok_and(|(_, open)| open == 0)).then_some(ended)
    });
    host.kill();
    died
}

/// The deaths that are told of, and how many deliveries are open.
fn told(database: &Path) -> Result<(Vec<(i64, String)>, i64), rusqlite::Error> {
    let (_copy, store) = copy_of(database);
    let open = store.query_row(
        "SELECT count(*) FROM deliveries WHERE due_ms IS NOT NULL OR state < 3",
        [],
        |row| row.get(0),
    )?;
    let sql = "SELECT parent, body ->> '$.delivery' || ' ' || (body ->> '$.death') || ' ' || (body ->> '$.outcome')
                FROM events WHERE type = 'hookbox.dead' ORDER BY id";
    let mut statement = store.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((rows.collect::<Result<_, _>>()?, open))
}

/// The last host finishes; what was told of the only event's death.
fn told_at_last(site: &Site, outcomes: &[&str], at: &str) {
    let host = Host::start(site);
    let stats = host.settled();
    assert_eq!(stats["deliveries"]["dead"], 1, "{at}: {stats}");
    host.stop();
    let (told, _) = told(&site.path("data/hookbox.db")).unwrap();
    let [(parent, what)] = told.as_slice() else { panic!("{at}: {told:?}") };
    let expected = outcomes.iter().map(|outcome| format!("dlv_{parent:016x}_0 1 {outcome}"));
    assert!(expected.into_iter().any(|it| it == *what), "{at}: {what}");
}

/// Lets hosts die at each of the points, beside each other: an event has `crashes` behind it when
/// the one that is to give it up starts. Its death is told once, with one of these outcomes.
fn die_everywhere(crashes: &'static [&str], outcomes: &'static [&str]) {
    let at_point = |point: &'static str| {
        let mut died = 0;
        for passage in 1..=3 {
            let site = site();
            for (number, crash) in crashes.iter().enumerate() {
                let host = Host::start_with(&site, &[("HOOKBOX_FAIL", crash)]).unwrap();
                if number == 0 {
                    // Perhaps the host is faster to die of it than to answer.
                    let _ = host.post(&body("step.one", "order_1"));
                }
                host.wait();
            }
            died += usize::from(dies_over_it(&site, point, passage));
            told_at_last(&site, outcomes, &format!("{point}:{passage}"));
        }
        died
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            points().map(|point| (point, scope.spawn(move || at_point(point)))).collect();
        for (point, thread) in threads {
            assert!(thread.join().unwrap() > 0, "no host died at {point}");
        }
    });
}

#[test]
fn every_dead_letter_is_told_of_once_also_when_the_host_died_at_the_moment_of_giving_up() {
    // Whoever dies while it runs the delivery has killed two.
    die_everywhere(&["dispatch.leased:1"], &["reject", "crash"]);
}

#[test]
fn every_quarantined_delivery_is_told_of_once_also_when_the_host_died_while_it_told() {
    die_everywhere(&["dispatch.invoked:1", "dispatch.invoked:1"], &["crash"]);
}
