//! Hosts that are stopped and started anew one after the other, as at an upgrade, and a schema that
//! grows beneath them.

use hookbox_tools::cluster::Cluster;

use super::super::load::{Fleet, Load, check};
use crate::support::cluster;

/// The next version of the schema, as a later host would make it: each table has one more column,
/// there is one more function, and hosts of now may stay. Tables that batches are using are waited
/// for, and if both are in each other's way, it is tried again.
const EXPAND: &str = "DO $expand$
DECLARE
    of regclass;
BEGIN
    PERFORM pg_advisory_xact_lock(7450001, 0);
    LOOP
        BEGIN
            FOR of IN SELECT c.oid FROM pg_class c
                WHERE c.relnamespace = 'hookbox'::regnamespace AND c.relkind IN ('r', 'p')
                    AND NOT c.relispartition ORDER BY c.oid
            LOOP
                EXECUTE format('ALTER TABLE %s ADD COLUMN region text NOT NULL DEFAULT %L',
                    of, 'here');
            END LOOP;
            EXIT;
        EXCEPTION WHEN deadlock_detected THEN
            NULL;
        END;
    END LOOP;
    CREATE FUNCTION hookbox.region_v2(of_event bigint) RETURNS text LANGUAGE sql STABLE AS
        'SELECT e.region FROM hookbox.events e WHERE e.id = of_event';
    UPDATE hookbox.meta SET version = version + 1;
END $expand$";

/// Hosts of now can no longer use it.
const CONTRACT: &str = "UPDATE hookbox.meta SET min_host = version";

/// Stops and starts each host once.
fn roll(fleet: &mut Fleet<'_>, load: &Load, cluster: &Cluster) {
    for number in 0..3 {
        load.after(30);
        fleet.leave(number);
        load.after(30);
        fleet.begin(number);
        load.check(cluster);
    }
}

#[test]
fn hosts_that_are_upgraded_one_by_one_on_a_schema_that_grows_lose_nothing_and_do_nothing_twice() {
    let Some(cluster) = cluster(&[]) else { return };
    let mut fleet = Fleet::start(&cluster, 3);
    let load = Load::start(&fleet, 3);
    roll(&mut fleet, &load, &cluster);
    cluster.sql(EXPAND);
    load.after(60);
    fleet.all_live();
    load.check(&cluster);
    // These start on the newer schema.
    roll(&mut fleet, &load, &cluster);
    fleet.leave(2);
    cluster.sql(CONTRACT);
    let said = fleet.refused(2);
    load.after(30);
    let journal = load.stop();
    let dead = fleet.finish();
    check(&cluster, &journal.acknowledged);
    println!(
        "{} acknowledged, {} requests refused and {} unanswered",
        journal.acknowledged.len(),
        journal.refused,
        journal.unanswered,
    );
    assert!(said.contains("has schema version 2"), "{said}");
    assert!(said.contains("this one has 1: start a newer hookbox"), "{said}");
    let crashed = cluster.sql("SELECT count(*) FROM books.attempts WHERE outcome = 7");
    assert_eq!((dead, &*crashed), (0, "0"), "no attempt was ended in the middle");
    let grown = cluster.sql("SELECT DISTINCT hookbox.region_v2(id) FROM hookbox.events");
    assert_eq!(grown, "here");
    fleet.stop();
}
