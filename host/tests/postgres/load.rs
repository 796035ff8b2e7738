//! Hosts that are killed and started again under load; what senders know of it, and what is looked
//! for in the database.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hookbox_tools::cluster::Cluster;

use super::{NAMES, sites};
use crate::support::{Host, SOURCE, Site, agent, asked, guest, post, show_as_file, wait_for};

/// `relay` keeps the order of each lane and emits one `guest.echoed` for each event, which `sink`
/// takes. `sum` counts them.
const SECTIONS: &str = r#"
[routes]
"step.one" = ["relay", "sum"]
"guest.echoed" = "sink"
[plugins.relay]
key = { json = "/lane" }
"#;

/// How often a sender sends.
const EVERY: Duration = Duration::from_millis(20);

/// Rows that must not be there at any moment: a name, and a query that finds them.
const NEVER: [(&str, &str); 9] = [
    (
        "deliveries that are open and settled",
        "SELECT event FROM hookbox.open JOIN hookbox.settled USING (event, ordinal)",
    ),
    (
        "deliveries settled twice",
        "SELECT event FROM attempts WHERE outcome = 0 GROUP BY event, ordinal HAVING count(*) > 1",
    ),
    (
        "done without a successful attempt, or the other way round",
        "SELECT d.event FROM deliveries d WHERE (d.state = 3) <>
          EXISTS (SELECT 1 FROM attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal AND a.outcome = 0)",
    ),
    (
        "events without exactly the deliveries of their routes",
        "SELECT e.id FROM events e LEFT JOIN deliveries d ON d.event = e.id
          GROUP BY e.id, e.type HAVING count(d.event) <> CASE e.type WHEN 'step.one' THEN 2 ELSE 1 END",
    ),
    (
        "child events emitted twice, or never, or early",
        "SELECT d.event FROM deliveries d WHERE d.plugin = 'relay' AND
          CASE d.state WHEN 3 THEN 1 ELSE 0 END <> (SELECT count(*) FROM events c WHERE c.parent = d.event)",
    ),
    (
        "a number that is not as great as the deliveries that added to it are many",
        "SELECT * FROM (SELECT
           (SELECT coalesce(sum(n), 0) FROM numbers WHERE plugin = 'sum') AS n,
           (SELECT count(*) FROM deliveries WHERE plugin = 'sum' AND state = 3) AS done) c WHERE n <> done",
    ),
    (
        "more of a lane open than may be",
        "SELECT key FROM hookbox.open WHERE plugin = 'relay' AND holder IS NOT NULL
          GROUP BY key HAVING count(*) > 1",
    ),
    (
        "dead letters that no host died of",
        "SELECT d.event, d.plugin FROM deliveries d WHERE d.state = 4 AND NOT EXISTS
          (SELECT 1 FROM attempts a WHERE a.event = d.event AND a.ordinal = d.ordinal AND a.outcome = 7)",
    ),
    (
        "counts that are wrong",
        "SELECT plugin, state, count(*) FROM deliveries GROUP BY 1, 2 EXCEPT SELECT plugin, what, n FROM counts",
    ),
];

/// Where each host is reached; none while it is not there.
type Doors = Arc<Mutex<Vec<Option<SocketAddr>>>>;

/// Hosts that share a server.
pub(super) struct Fleet<'a> {
    pub(super) cluster: &'a Cluster,
    sites: Vec<Site>,
    hosts: Vec<Option<Host>>,
    doors: Doors,
}

impl<'a> Fleet<'a> {
    /// Starts so many hosts with the plugins of the load.
    pub(super) fn start(cluster: &'a Cluster, count: usize) -> Self {
        let files = ["emit", "add", "ok"].map(guest);
        let names = ["relay.wat", "sum.wat", "sink.wat"];
        let plugins: Vec<_> = names.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
        Self::of(cluster, sites(cluster, count, &format!("{SOURCE}{SECTIONS}"), &plugins))
    }

    /// Starts a host in each of these folders.
    pub(super) fn of(cluster: &'a Cluster, sites: Vec<Site>) -> Self {
        let (hosts, doors) = (sites.iter().map(|_| None).collect(), vec![None; sites.len()]);
        let mut fleet = Self { cluster, sites, hosts, doors: Arc::new(Mutex::new(doors)) };
        (0..fleet.sites.len()).for_each(|number| fleet.begin(number));
        show_as_file(cluster);
        fleet
    }

    /// Starts a host, which is to be there after it.
    pub(super) fn begin(&mut self, number: usize) {
        let host = Host::start_with(&self.sites[number], &[]);
        let host = host.unwrap_or_else(|| panic!("no start: {}", self.sites[number].log()));
        self.doors.lock().unwrap()[number] = Some(host.public);
        self.hosts[number] = Some(host);
    }

    /// Kills a host: its run, as the database knows it.
    pub(super) fn kill(&mut self, number: usize) -> i64 {
        let run = self.run(number);
        self.hosts[number].take().unwrap().kill();
        self.doors.lock().unwrap()[number] = None;
        run
    }

    /// Stops a host in order, which then holds nothing.
    pub(super) fn leave(&mut self, number: usize) {
        let run = self.run(number);
        self.doors.lock().unwrap()[number] = None;
        self.hosts[number].take().unwrap().stop();
        assert!(self.is_taken_over(run), "a host that stops gives back what it holds");
    }

    /// Tries to start a host that is to be refused; its log.
    pub(super) fn refused(&self, number: usize) -> String {
        assert!(Host::start_with(&self.sites[number], &[]).is_none(), "it starts");
        self.sites[number].log()
    }

    /// The run of a host that lives.
    pub(super) fn run(&self, number: usize) -> i64 {
        let name = NAMES[number];
        let sql = format!("SELECT incarnation FROM hookbox.hosts WHERE name = '{name}'");
        self.cluster.sql(&sql).parse().unwrap()
    }

    /// The deliveries that a run holds.
    pub(super) fn held_by(&self, run: i64) -> usize {
        let sql = format!("SELECT count(*) FROM hookbox.open WHERE holder = {run}");
        self.cluster.sql(&sql).parse().unwrap()
    }

    /// Whether others have taken a run off the list, and given on all that it held.
    pub(super) fn is_taken_over(&self, run: i64) -> bool {
        let sql = format!("SELECT count(*) FROM hookbox.hosts WHERE incarnation = {run}");
        self.cluster.sql(&sql) == "0" && self.held_by(run) == 0
    }

    pub(super) fn host(&self, number: usize) -> &Host {
        self.hosts[number].as_ref().unwrap()
    }

    /// A host that lives.
    pub(super) fn living(&self) -> &Host {
        self.hosts.iter().flatten().next().unwrap()
    }

    /// The process of each host.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.hosts.iter().flatten().map(Host::pid).collect()
    }

    /// Fails if a host has ended by itself.
    pub(super) fn all_live(&mut self) {
        for (host, site) in self.hosts.iter_mut().zip(&self.sites) {
            let ended = host.as_mut().unwrap().ended();
            assert!(ended.is_none(), "a host has ended ({ended:?}): {}", site.log());
        }
    }

    /// Waits until each host reaches the server again.
    pub(super) fn until_ready(&self) {
        for host in self.hosts.iter().flatten() {
            wait_for("a host to reach the server", || {
                let answers = |path| host.api_status("GET", path, None).0 == 200;
                (answers("/readyz") && answers("/api/v1/stats")).then_some(())
            });
        }
    }

    /// Waits until everything is settled; then has an operator retry what hosts have died of, and
    /// waits again. How many that were.
    pub(super) fn finish(&self) -> u64 {
        let host = self.living();
        let dead = host.settled()["deliveries"]["dead"].as_u64().unwrap();
        let (status, said) = host.api_status("POST", "/api/v1/deliveries/retry?state=dead", None);
        assert_eq!(status, 200, "{said}");
        let stats = host.settled();
        assert_eq!(stats["deliveries"]["dead"], 0, "{stats}");
        dead
    }

    /// Ends all hosts in order. None has ever panicked.
    pub(super) fn stop(self) {
        self.hosts.into_iter().flatten().for_each(Host::stop);
        for site in &self.sites {
            let log = site.log();
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

/// The senders' knowledge.
#[derive(Default)]
pub(super) struct Journal {
    /// Acknowledged: correlation key → event id.
    pub(super) acknowledged: HashMap<String, String>,
    /// Answers of 503.
    pub(super) refused: usize,
    /// Requests without an answer.
    pub(super) unanswered: usize,
    /// Every acknowledgement.
    pub(super) acks: Vec<Ack>,
}

/// An acknowledgement: of which host, when, and how long it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) host: usize,
    pub(super) at: Instant,
    pub(super) took: Duration,
}

/// The time within which 99 of 100 are.
pub(super) fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() * 99).div_ceil(100) - 1]
}

/// Clients that send to one host after the other, and each event until it is acknowledged.
pub(super) struct Load {
    journal: Arc<Mutex<Journal>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(fleet: &Fleet<'_>, count: usize) -> Self {
        let (journal, stop) = (Arc::<Mutex<Journal>>::default(), Arc::<AtomicBool>::default());
        let sent = Arc::<AtomicUsize>::default();
        let one = |number: usize| {
            let (journal, stop, sent) = (journal.clone(), stop.clone(), sent.clone());
            let doors = fleet.doors.clone();
            std::thread::spawn(move || {
                let (agent, mut at) = (agent(), number);
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let key = format!("key_{}", sent.fetch_add(1, Ordering::Relaxed));
                    while !send(&agent, &doors, at, &key, &journal) && !stop.load(Ordering::Relaxed)
                    {
                        at += 1;
                        std::thread::park_timeout(EVERY);
                    }
                    at += 1;
                    std::thread::park_timeout(EVERY.saturating_sub(began.elapsed()));
                }
            })
        };
        let threads = (0..count).map(one).collect();
        Self { journal, stop, threads }
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap()
    }

    /// Waits until so many more events are acknowledged.
    pub(super) fn after(&self, more: usize) {
        let target = self.journal().acknowledged.len() + more;
        wait_for("more acknowledgements", || {
            assert!(self.threads.iter().all(|it| !it.is_finished()), "a sender has failed");
            (self.journal().acknowledged.len() >= target).then_some(())
        });
    }

    /// Holds what is acknowledged by now against the database.
    pub(super) fn check(&self, cluster: &Cluster) {
        let acknowledged = self.journal().acknowledged.clone();
        check(cluster, &acknowledged);
    }

    /// Ends all clients; what they know.
    pub(super) fn stop(self) -> Journal {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|sender| sender.join().unwrap());
        std::mem::take(&mut *self.journal.lock().unwrap())
    }
}

/// Sends an event to a host once; whether it was acknowledged.
fn send(
    agent: &ureq::Agent,
    doors: &Doors,
    at: usize,
    key: &str,
    journal: &Mutex<Journal>,
) -> bool {
    let (host, door) = {
        let doors = doors.lock().unwrap();
        let host = at % doors.len();
        (host, doors[host])
    };
    let Some(door) = door else { return false };
    let began = Instant::now();
    let answer = post(agent, door, &in_a_lane(key));
    let (took, mut journal) = (began.elapsed(), journal.lock().unwrap());
    match answer {
        Ok((200, reply)) => {
            let id = reply["id"].as_str().unwrap().to_owned();
            journal.acknowledged.insert(key.to_owned(), id);
            journal.acks.push(Ack { host, at: Instant::now(), took });
            return true;
        }
        Ok((503, _)) => journal.refused += 1,
        Ok((status, reply)) => panic!("{key}: {status} {reply}"),
        Err(_) => journal.unanswered += 1,
    }
    false
}

/// The body of an event with this key, in one of a few lanes.
pub(super) fn in_a_lane(key: &str) -> String {
    let lane = key.bytes().map(u32::from).sum::<u32>() % 16;
    format!(r#"{{"event_type":"step.one","event_data":{{"callback_id":"{key}"}},"lane":"{lane}"}}"#)
}

/// Nothing that was acknowledged is lost or stored twice, and no row is there that must not be.
pub(super) fn check(cluster: &Cluster, acknowledged: &HashMap<String, String>) {
    let stored = asked(
        cluster,
        "SELECT subject, printf('evt_%016x', id) FROM events WHERE parent IS NULL AND type = 'step.one'",
    );
    let stored: Vec<(&str, &str)> = stored.iter().filter_map(|row| row.split_once(' ')).collect();
    let mut keys = HashSet::new();
    for (key, _) in &stored {
        assert!(keys.insert(*key), "{key} is stored twice");
    }
    let ids: HashMap<&str, &str> = stored.into_iter().collect();
    for (key, id) in acknowledged {
        let found = ids.get(key.as_str());
        assert_eq!(found, Some(&id.as_str()), "{key} was acknowledged and is lost");
    }
    for (what, sql) in NEVER {
        let found = asked(cluster, &format!("SELECT * FROM ({sql}) x LIMIT 20"));
        assert!(found.is_empty(), "{what}: {found:?}");
    }
}
