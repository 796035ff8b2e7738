//! The binary on Postgres: several hosts that share a server, each with a folder of its own.

use std::time::Duration;

use hookbox_tools::cluster::{Cluster, programs};

use crate::support::{Host, Site, cluster, shared_site};

mod commands;
mod faults;
mod load;
mod secrets;
mod shared;

/// Names of hosts.
const NAMES: [&str; 6] = ["east", "west", "north", "south", "hill", "lake"];

/// Folders of so many hosts that share a server, with these sections and plugins.
fn sites(cluster: &Cluster, count: usize, sections: &str, plugins: &[(&str, &[u8])]) -> Vec<Site> {
    NAMES[..count].iter().map(|name| shared_site(cluster, name, sections, plugins)).collect()
}

/// Two folders, and a host on each.
fn pair(cluster: &Cluster, sections: &str, plugins: &[(&str, &[u8])]) -> [(Site, Host); 2] {
    ["east", "west"].map(|name| {
        let site = shared_site(cluster, name, sections, plugins);
        let host = Host::start(&site);
        (site, host)
    })
}

/// Whether the long forms of the tests run, which `HOOKBOX_LONG_TESTS` asks for.
fn is_long() -> bool {
    std::env::var_os("HOOKBOX_LONG_TESTS").is_some()
}

/// Lets so much time pass for what has no state to wait for.
fn pass(time: Duration) {
    let started = std::time::Instant::now();
    while started.elapsed() < time {
        std::thread::park_timeout(time - started.elapsed());
    }
}

#[test]
fn without_postgres_these_tests_say_that_they_are_skipped() {
    assert_eq!(cluster(&[]).is_some(), programs().is_some());
}
