//! Hosts are killed.

use std::time::{Duration, Instant};

use super::super::is_long;
use super::super::load::{Ack, Fleet, Load, check, p99};
use crate::support::{cluster, wait_for};

/// A host that is away: its number, its run, and how many deliveries that held.
struct Away(usize, i64, usize);

/// Starts a host again once others have taken over its work; whether it did, and if so how much.
fn come_back(fleet: &mut Fleet<'_>, away: &mut Option<Away>) -> usize {
    let Some(Away(number, run, held)) = *away else { return 0 };
    if !fleet.is_taken_over(run) {
        return 0;
    }
    fleet.begin(number);
    *away = None;
    held
}

/// Prints how the acknowledgements of hosts were that were not killed, beside those of the time
/// before the first kill. `killed` has the hosts and the times.
fn tell_of_others(acks: &[Ack], killed: &[(usize, Instant)]) {
    let took = |of: &dyn Fn(&Ack) -> bool| -> Vec<Duration> {
        acks.iter().filter(|ack| of(ack)).map(|ack| ack.took).collect()
    };
    let victim = |ack: &Ack| killed.iter().rev().find(|(_, at)| *at <= ack.at).map(|(it, _)| *it);
    let quiet = took(&|ack| victim(ack).is_none());
    let others = took(&|ack| victim(ack).is_some_and(|victim| victim != ack.host));
    let (count, quiet, others) = (others.len(), p99(quiet), p99(others));
    println!(
        "others: p99 of {count} acknowledgements beside kills {others:.1?}, before them \
         {quiet:.1?}: {:.2} times",
        others.as_secs_f64() / quiet.as_secs_f64(),
    );
}

#[test]
fn of_three_hosts_one_that_is_killed_loses_nothing_and_its_work_runs_once_on_others() {
    let Some(cluster) = cluster(&[]) else { return };
    let kills = if is_long() { 300 } else { 8 };
    let mut fleet = Fleet::start(&cluster, 3);
    let load = Load::start(&fleet, 3);
    let (mut away, mut taken_over, mut killed) = (None, 0, Vec::new());
    load.after(if is_long() { 1_000 } else { 100 });
    for kill in 0.. {
        load.after(30);
        taken_over += come_back(&mut fleet, &mut away);
        if kill >= kills && (taken_over > 0 || away.is_some()) {
            break;
        }
        let is_away = |number| matches!(away, Some(Away(gone, ..)) if gone == number);
        let victim = [kill % 3, (kill + 1) % 3].into_iter().find(|number| !is_away(*number));
        let victim = victim.unwrap();
        killed.push((victim, Instant::now()));
        let run = fleet.kill(victim);
        let held = fleet.held_by(run);
        if away.is_none() && held > 0 {
            // Until others have its work. Of the hosts that stay, one is killed at a time.
            away = Some(Away(victim, run, held));
        } else {
            fleet.begin(victim);
        }
        // The more there is, the longer it takes.
        if !is_long() || kill % 20 == 0 {
            load.check(&cluster);
        }
    }
    while away.is_some() {
        wait_for("others to take over", || {
            taken_over += come_back(&mut fleet, &mut away);
            away.is_none().then_some(())
        });
    }
    load.after(30);
    let journal = load.stop();
    let dead = fleet.finish();
    check(&cluster, &journal.acknowledged);
    let crashed = cluster.sql("SELECT count(*) FROM books.attempts WHERE outcome = 7");
    println!(
        "{} acknowledged, {} requests refused and {} unanswered, {taken_over} deliveries taken \
         over, {crashed} attempts running when a host died, {dead} quarantined",
        journal.acknowledged.len(),
        journal.refused,
        journal.unanswered,
    );
    tell_of_others(&journal.acks, &killed);
    assert!(taken_over > 0, "no host that was away had work");
    fleet.stop();
}
