//! Somebody holds an old snapshot of the server while the work goes on.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hookbox_tools::cluster::{Cluster, programs};
use serde_json::json;

use super::super::{is_long, sites};
use super::backlog::{LISTS, post_list};
use super::server::children;
use crate::support::{Host, Site, agent, asked, cluster, guest, show_as_file, wait_for};

/// Clients that send at once, and the events of each of their requests: so few that each event is
/// leased as it is stored.
const CLIENTS: usize = 4;
const AT_ONCE: usize = 8;

/// The time for which the snapshot is held in the long form.
const HELD: Duration = Duration::from_secs(120);

/// Begins a transaction that keeps its first snapshot.
fn hold(cluster: &Cluster) -> Child {
    let mut holder = Command::new(programs().unwrap().join("psql"))
        .arg("-Xq")
        .arg(cluster.url("?sslmode=disable&application_name=report"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = b"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;\n";
    holder.stdin.as_mut().unwrap().write_all(begin).unwrap();
    let has_snapshot = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'report'
        AND state = 'idle in transaction' AND backend_xmin IS NOT NULL";
    wait_for("the snapshot", || (cluster.sql(has_snapshot) == "1").then_some(()));
    holder
}

/// Ends the transaction.
fn let_go(mut holder: Child) {
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
}

/// A host that works on numbered events, and the time that this takes.
struct Worker<'w> {
    cluster: &'w Cluster,
    site: &'w Site,
    host: Host,
    sent: usize,
}

/// One measurement.
struct Stretch {
    per_second: f64,
    /// CPU time of the server, in microseconds an event.
    server_us: f64,
}

impl Worker<'_> {
    /// Sends so many events; returns when they are acknowledged.
    fn send(&mut self, count: usize) {
        let each = count / CLIENTS;
        let first = self.sent;
        self.sent += each * CLIENTS;
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let numbers = first + client * each..first + (client + 1) * each;
                let host = &self.host;
                scope.spawn(move || send_all(host, numbers));
            }
        });
    }

    /// The road with events as they come.
    fn road(&mut self, count: usize) -> Stretch {
        self.measure(count, |worker| worker.send(count))
    }

    /// The road with a backlog.
    fn backlog(&mut self, count: usize) -> Stretch {
        self.site.ask(&self.host, &["plugins", "pause", "worker", "--reason", "a test"]).said();
        self.send(count);
        self.measure(count, |worker| {
            worker.site.ask(&worker.host, &["plugins", "resume", "worker"]).said();
        })
    }

    /// Does something, and measures it until everything is settled.
    fn measure(&mut self, count: usize, work: impl FnOnce(&mut Self)) -> Stretch {
        let (began, before) = (Instant::now(), server_time(self.cluster));
        work(self);
        self.host.settled();
        let (took, spent) = (began.elapsed(), server_time(self.cluster).saturating_sub(before));
        let per_event = |time: Duration| time.as_secs_f64() / count as f64;
        Stretch { per_second: 1.0 / per_event(took), server_us: per_event(spent) * 1e6 }
    }

    /// The time for which the host says that the oldest snapshot is held.
    fn held_for(&self) -> f64 {
        self.host.metric("hookbox_store_oldest_xmin_seconds").unwrap_or_default()
    }
}

fn send_all(host: &Host, numbers: Range<usize>) {
    let agent = agent();
    let numbers: Vec<usize> = numbers.collect();
    for list in numbers.chunks(AT_ONCE) {
        let list: Vec<_> = list.iter().map(|number| json!({ "id": number.to_string() })).collect();
        post_list(&agent, host, &list);
    }
}

/// The CPU time of the server's processes, those that have ended included.
fn server_time(cluster: &Cluster) -> Duration {
    let postmaster = cluster.postmaster();
    let ticks = |id: u32, fields: Range<usize>| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name in parentheses comes the third field.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields = rest.split_whitespace().skip(fields.start - 3).take(fields.len());
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
    };
    let own: u64 = children(postmaster).into_iter().map(|id| ticks(id, 14..16)).sum();
    Duration::from_millis(10 * (own + ticks(postmaster, 14..18)))
}

/// Prints how a stretch was beside the one before the snapshot was held.
fn tell(name: &str, held_for: Duration, before: &Stretch, after: &Stretch) {
    println!(
        "{name}, held for {held_for:.0?}: {:.0} events/s, {:.2} of before; {:.0} us of Postgres an \
         event, {:.2} of before",
        after.per_second,
        after.per_second / before.per_second,
        after.server_us,
        after.server_us / before.server_us,
    );
}

#[test]
fn while_somebody_holds_an_old_snapshot_the_work_goes_on_and_the_host_says_for_how_long() {
    let Some(cluster) = cluster(&[]) else { return };
    let count = if is_long() { 8_000 } else { 400 };
    let sites = sites(&cluster, 1, LISTS, &[("worker.wat", &guest("ok"))]);
    let host = Host::start(&sites[0]);
    show_as_file(&cluster);
    let mut worker = Worker { cluster: &cluster, site: &sites[0], host, sent: 0 };
    if is_long() {
        // Nothing is warm at first.
        worker.road(count);
    }
    let (road, backlog) = (worker.road(count), worker.backlog(count));
    let (holder, began) = (hold(&cluster), Instant::now());
    while is_long() && began.elapsed() < HELD {
        let after = worker.road(count);
        tell("road", began.elapsed(), &road, &after);
        let after = worker.backlog(count);
        tell("backlog", began.elapsed(), &backlog, &after);
    }
    wait_for("the host to see the snapshot", || (worker.held_for() >= 2.0).then_some(()));
    let after = worker.road(count);
    tell("road", began.elapsed(), &road, &after);
    let most = began.elapsed().as_secs_f64() + 2.0;
    let held_for = worker.held_for();
    assert!((2.0..most).contains(&held_for), "{held_for} is not below {most}");
    let_go(holder);
    wait_for("the host to see its end", || (worker.held_for() < 2.0).then_some(()));
    let all = asked(&cluster, "SELECT state, attempt, count(*) FROM deliveries GROUP BY 1, 2");
    assert_eq!(all, [format!("3 1 {}", worker.sent)], "each was handled once");
    worker.host.stop();
}
