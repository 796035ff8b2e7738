//! The laws that this store keeps, and what only a server can get wrong, on a real Postgres.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::OnceCell;

use self::pooler::PgBouncer;
use self::rig::{TestCluster, TestDatabase};
use super::{Postgres, PostgresOpenError, PostgresOptions};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::conformance::policies::{PolicyHarness, TestPolicies};
use crate::store::conformance::tree::BUDGET;
use crate::store::conformance::{Disk, START_MS, StoreHarness};

/// Makes a test of each law that this store keeps. The others ask for traits that it does not have
/// yet: see `docs/design/postgres.md`.
macro_rules! postgres_laws {
    ($($verb:ident { $($law:ident)+ })+) => {
        postgres_laws! { one_postgres: $($verb { $($law)+ })+ }
    };
    ($harness:ident: $($verb:ident { $($law:ident)+ })+) => {
        $(mod $verb {
            $(#[tokio::test]
            async fn $law() {
                let Some(harness) = crate::store::postgres::tests::$harness() else { return };
                crate::store::conformance::$verb::$law(harness).await;
            })+
        })+
    };
}

mod chores;
mod clocks;
mod copied;
mod cuts;
mod dead_hosts;
mod dead_rows;
mod erasures;
mod failover;
mod faults;
mod horizon;
mod hosts;
mod interleaved;
mod key_locks;
mod keys;
mod late_commits;
mod listed;
mod listening;
mod lost_tail;
mod opening;
mod operating;
mod pooled;
mod pooler;
mod proxy;
mod reading;
mod rejoined;
mod rig;
mod secrets;
mod servers;
mod shared;
mod time_limits;
mod vals;
mod values;

/// A database, and a host on it that is killed and started again.
pub(super) struct OnePostgres {
    cluster: &'static TestCluster,
    database: OnceCell<TestDatabase>,
    folder: TempDir,
    clock: Clock,
    policies: Arc<TestPolicies>,
    /// Between host and server, if the case asks for it.
    pooler: Option<PgBouncer>,
}

/// A database of its own; none if there is no Postgres, which is said.
fn one_postgres() -> Option<OnePostgres> {
    let cluster = rig::cluster()?;
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual(START_MS);
    let (database, policies) = (OnceCell::new(), Arc::default());
    Some(OnePostgres { cluster, database, folder, clock, policies, pooler: None })
}

/// The same behind a pooler that has so few connections that hosts often wait for one.
fn one_pooled() -> Option<OnePostgres> {
    let case = one_postgres()?;
    let pooler = Some(PgBouncer::start(case.cluster.port, 2)?);
    Some(OnePostgres { pooler, ..case })
}

impl OnePostgres {
    async fn database(&self) -> &TestDatabase {
        self.database.get_or_init(|| self.cluster.database()).await
    }

    /// How the host opens it.
    async fn options(&self) -> PostgresOptions {
        let database = self.database().await;
        let url = match &self.pooler {
            Some(pooler) => pooler.url(&database.name),
            None => database.url(),
        };
        PostgresOptions {
            url: url.into(),
            ca_file: None,
            needs_standby: false,
            tail_bytes: 32 << 20,
            pooler: None,
            folder: self.folder.path().to_owned(),
            host_name: "one".to_owned(),
            clock: self.clock.clone(),
            host_timeout: std::time::Duration::from_secs(15),
            // A law that counts what the dispatcher is told has no poll in between.
            poll_every: listening::NEVER,
            orphans_every: std::time::Duration::from_secs(60),
            snapshot_bound: std::time::Duration::from_secs(300),
            max_waiting_appends: 4_096,
            tree: BUDGET,
            policies: self.policies.clone(),
        }
    }

    /// Opens the store once the host before has let go of its folder.
    async fn open_postgres(&self) -> Postgres {
        loop {
            match Postgres::open(self.options().await).await {
                Err(PostgresOpenError::InUse(_)) => tokio::task::yield_now().await,
                opened => return opened.expect("it opens"),
            }
        }
    }
}

impl PolicyHarness for OnePostgres {
    fn policies(&self) -> &Arc<TestPolicies> {
        &self.policies
    }
}

impl StoreHarness for OnePostgres {
    type Store = dyn Store;

    fn clock(&self) -> &Clock {
        &self.clock
    }

    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.open_postgres().await)
    }

    fn set_disk(&self, _: Disk) {
        unreachable!("the disk is the server's");
    }
}

#[test]
fn without_postgres_its_tests_say_that_they_are_skipped() {
    assert_eq!(one_postgres().is_some(), hookbox_tools::cluster::programs().is_some());
}

postgres_laws! {
    append {
        what_was_appended_is_there_after_a_crash
        a_repeated_dedupe_key_creates_nothing_and_names_the_first_event
        either_of_two_keys_makes_a_duplicate
        a_key_of_one_source_means_nothing_to_another
        a_key_that_an_event_has_twice_is_one_key
        a_key_is_known_however_many_events_came_after_it
        of_a_thousand_concurrent_appends_of_one_key_one_creates_an_event
        an_append_whose_caller_has_gone_is_kept
        a_delayed_event_waits_it_is_due
        a_delay_beyond_all_time_is_no_lease
        of_the_delays_of_an_event_and_of_a_route_the_longer_one_counts
        ids_grow_when_the_clock_steps_back
    }
    on_insert {
        a_delivery_with_a_free_permit_is_leased_on_insert
        without_a_free_permit_a_delivery_is_ready_and_its_plugin_is_notified
        a_delayed_delivery_is_not_leased_on_insert_and_its_plugin_is_notified
        an_emitted_event_is_leased_on_insert
        a_lease_on_insert_that_is_settled_frees_its_permit
        a_duplicate_takes_no_permit
        what_was_leased_on_insert_is_taken_up_after_a_crash
    }
    lease {
        a_delivery_is_leased_to_one_worker_at_a_time
        a_lease_holds_the_whole_event
        never_are_more_leased_than_there_are_permits
        what_is_due_first_is_leased_first
        a_queue_leases_its_own_plugins_deliveries_only
        next_due_tells_when_to_ask_again
        a_body_that_is_larger_than_a_call_leases_is_leased_alone
        leases_whose_caller_has_gone_are_given_back
        leases_that_were_answered_to_nobody_are_given_back
        a_leased_delivery_shows_no_due_time
    }
    settle {
        a_lease_is_settled_at_most_once
        what_a_settlement_emits_is_there_once_after_a_crash
        a_retry_waits_its_time
        a_dead_letter_is_not_leased
        a_lease_given_back_does_not_spend_the_attempt
        a_lease_given_back_leaves_no_record_in_the_way
        a_lease_given_back_for_later_waits
        a_permit_is_free_again_when_the_settlement_is_durable
        a_retry_beyond_all_time_is_no_lease
        every_attempt_is_recorded_under_its_number
        a_spent_attempt_without_a_record_is_counted
    }
    recover {
        a_crash_does_not_count_the_attempt_and_makes_the_delivery_due_again
        a_settlement_from_before_the_crash_is_lost
        a_zombie_cannot_settle_the_lease_that_replaced_its_own
        a_delivery_that_was_running_in_two_crashes_is_quarantined
        what_was_held_and_not_running_is_due_again_without_a_crash
        an_attempt_that_has_its_verdict_is_running_no_more
        what_was_not_running_stays_in_the_quarantine_queue
        what_was_running_in_a_crash_is_leased_from_a_queue_of_its_own
        the_quarantine_queue_leases_named_plugins_only
        what_is_settled_leaves_the_quarantine_queue
        what_is_given_back_stays_in_the_quarantine_queue
        what_nobody_held_is_not_touched
        a_store_that_was_closed_has_nothing_to_recover
    }
    counts {
        counts_are_there_after_a_crash
        duplicates_are_counted
        a_duplicate_is_counted_on_the_event_that_it_repeats
    }
    traces {
        the_span_that_made_an_event_is_there_after_a_crash_and_comes_with_the_lease
        the_span_of_an_emitted_event_learns_its_id_when_it_is_stored
    }
}
