//! The same pipeline on three hosts that share a Postgres, of which one is killed every two seconds
//! and started again. Senders try one host after the other.

use std::time::{Duration, Instant};

use super::books::Books;
use super::senders::Senders;
use super::standins::StandIns;
use super::{Copy, EXAMPLE, LIFE, agree, at_rest, planned, reported};
use super::{retry_the_quarantined, until_all_ended};
use crate::support::{Host, cluster, show_as_file};

/// How many hosts there are.
const HOSTS: usize = 3;

#[test]
fn every_order_ends_exactly_once_on_three_hosts_of_which_one_is_killed_every_two_seconds() {
    let Some(cluster) = cluster(&[]) else { return };
    let (stand_ins, ports) = StandIns::start(planned(30));
    let copies = [(); HOSTS].map(|()| {
        let copy = Copy::with_store(ports, "url = { file = \"url\" }");
        copy.site.put(&format!("{EXAMPLE}/url"), cluster.url("?sslmode=disable"));
        copy
    });
    let mut hosts: Vec<Option<Host>> = copies.iter().map(|copy| Some(copy.start())).collect();
    show_as_file(&cluster);
    let senders = Senders::start(&stand_ins, &copies.each_ref().map(|copy| copy.addresses));
    let kills = until_all_ended(&stand_ins, &senders, |kill, ended| {
        let started = Instant::now();
        retry_the_quarantined(hosts[(kill + 1) % HOSTS].as_ref().unwrap());
        while started.elapsed() < LIFE && !ended() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let victim = kill % HOSTS;
        hosts[victim].take().unwrap().kill();
        hosts[victim] = Some(copies[victim].start());
    });
    let host = hosts[0].as_ref().unwrap();
    at_rest(host);
    let journal = senders.stop();
    let reported = reported(host, &stand_ins);
    at_rest(host);
    hosts.into_iter().flatten().for_each(Host::stop);
    agree(&reported, &Books::Shared(&cluster), &stand_ins, &journal);
    assert!(kills > HOSTS, "hosts were killed");
}
