//! The server is killed and restarted.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use hookbox_tools::cluster::Cluster;

use super::super::load::{Fleet, Load, check, in_a_lane};
use super::super::{is_long, pass};
use crate::support::{agent, cluster, post, wait_for};

/// The processes whose parent is this one.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_child = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name in parentheses come the state and the parent.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    ids.filter(is_child).collect()
}

/// Kills the server, whose other processes end when they see it.
fn kill(cluster: &Cluster) {
    let postmaster = cluster.postmaster();
    let others = children(postmaster);
    assert!(!others.is_empty(), "a server has several processes");
    let killed = std::process::Command::new("kill").args(["-9", &postmaster.to_string()]).status();
    assert!(killed.unwrap().success());
    for id in others {
        wait_for("the server's processes to end", || {
            (!fs::exists(format!("/proc/{id}")).unwrap()).then_some(())
        });
    }
}

#[test]
fn a_server_that_is_killed_or_restarted_under_load_costs_503s_and_no_event_and_no_host() {
    let Some(cluster) = cluster(&[]) else { return };
    let rounds = if is_long() { 100 } else { 6 };
    let mut fleet = Fleet::start(&cluster, 3);
    let (load, pids) = (Load::start(&fleet, 3), fleet.pids());
    for round in 0..rounds {
        load.after(30);
        match round % 3 {
            0 => kill(&cluster),
            1 => cluster.stop("fast"),
            _ => cluster.stop("immediate"),
        }
        if round < 3 {
            let (status, said) =
                post(&agent(), fleet.host(round).public, &in_a_lane("meanwhile")).unwrap();
            assert_eq!(status, 503, "{said}");
            let (ready, said) = fleet.host(round).api_status("GET", "/readyz", None);
            assert_eq!(ready, 503, "{said}");
        }
        cluster.start_again(&[]);
        load.after(1);
        if !is_long() || round % 20 == 0 {
            load.check(&cluster);
        }
    }
    let journal = load.stop();
    fleet.all_live();
    fleet.until_ready();
    assert_eq!(fleet.pids(), pids);
    let dead = fleet.finish();
    check(&cluster, &journal.acknowledged);
    println!(
        "{} acknowledged, {} requests refused and {} unanswered",
        journal.acknowledged.len(),
        journal.refused,
        journal.unanswered,
    );
    assert_eq!(dead, 0, "nothing is condemned because the server was away");
    assert!(journal.refused > 0, "the server was away");
    fleet.stop();
}

#[test]
fn a_server_that_is_away_for_longer_than_a_host_may_be_costs_no_host_its_work() {
    let Some(cluster) = cluster(&[]) else { return };
    let mut fleet = Fleet::start(&cluster, 2);
    let (load, runs) = (Load::start(&fleet, 2), [fleet.run(0), fleet.run(1)]);
    load.after(30);
    cluster.stop("fast");
    // The time after which others take a host for dead.
    pass(Duration::from_secs(16));
    cluster.start_again(&[]);
    load.after(30);
    let journal = load.stop();
    fleet.all_live();
    fleet.until_ready();
    let dead = fleet.finish();
    check(&cluster, &journal.acknowledged);
    assert_eq!(dead, 0);
    let after: HashSet<_> = [fleet.run(0), fleet.run(1)].into();
    assert_eq!(after, runs.into(), "no host was taken for dead");
    fleet.stop();
}
