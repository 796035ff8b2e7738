//! The order pipeline of `docs/examples/order-pipeline`, whole: the shipped configuration and
//! plugins on the real host, with stand-ins for HeyGen and the shop, duplicates, failures, an
//! outage, late approvals, and `kill -9` every two seconds.
//!
//! `HOOKBOX_PIPELINE_ORDERS` sets the number of orders (100 by default). `HOOKBOX_PIPELINE_SEED`
//! sets what is drawn; without it, each run has a new seed, and prints it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use self::books::{Books, check};
use self::plan::{Plan, VIDEOS, counted};
use self::senders::{Journal, Message, Senders};
use self::standins::{HEYGEN_KEY, Outage, SHOP_KEY, StandIns};
use crate::support::{Host, PATIENCE, SECRET, Site, wait_for};

mod books;
mod hosts;
mod plan;
mod readme;
mod senders;
mod standins;

/// The folder of the example, and its configuration.
const EXAMPLE: &str = "docs/examples/order-pipeline";
const CONFIG: &str = "docs/examples/order-pipeline/config.toml";

/// The plugins that it uses.
const PLUGINS: [&str; 6] =
    ["order-desk", "order-report", "order-shop", "order-videos", "video-details", "video-orders"];

/// How long a customer has for an answer here.
const APPROVAL_MS: i64 = 12_000;

/// Texts of the shipped file that are exchanged for a test: time limits, and below, addresses.
/// Secrets are in the environment. Each text is there, or the test fails.
const TIMES: [(&str, &str); 6] = [
    ("within = \"48h\"", "within = \"100s\""),
    ("within = \"3d\"", "within = \"12s\""),
    ("delay = \"24h\"", "delay = \"5s\""),
    ("initial = \"2s\", max = \"1h\"", "initial = \"100ms\", max = \"2s\""),
    ("pause = \"30s\"", "pause = \"500ms\""),
    ("cron = \"30 2 * * *\"\ntz = \"Europe/Berlin\"", "every = \"5s\""),
];

/// How long each host lives before it is killed.
const LIFE: Duration = Duration::from_secs(2);

/// How long all orders together may take, for each of them.
const LONGEST: Duration = Duration::from_secs(3);

/// How long each kind of outage lasts at least.
const OUTAGE: Duration = Duration::from_secs(2);

/// How far orders are apart.
const APART: Duration = Duration::from_millis(100);

/// A copy of the example and its plugins, with everything exchanged, and the hosts' two addresses.
struct Copy {
    site: Site,
    addresses: [SocketAddr; 2],
}

/// Where the shipped configuration has its store.
const STORE: &str = "url = \"sqlite:data/hookbox.db\"";

impl Copy {
    fn new(ports: [u16; 2]) -> Self {
        Self::with_store(ports, STORE)
    }

    /// A copy whose store is another one.
    fn with_store([heygen, shop]: [u16; 2], store: &str) -> Self {
        let root = root();
        let site = Site::new("", &[]);
        std::fs::create_dir_all(site.path(EXAMPLE)).unwrap();
        for name in PLUGINS {
            let file = root.join("plugins").join(name).with_extension("wasm");
            site.put_plugin(&format!("{name}.wasm"), &std::fs::read(file).unwrap());
        }
        let order = format!("{EXAMPLE}/order.json");
        site.put(&order, std::fs::read(root.join(&order)).unwrap());
        let addresses = [free_address(), free_address()];
        let [public, admin] = addresses.map(|address| address.to_string());
        let here = |port: u16| {
            format!("scheme = \"http\", host = \"127.0.0.1\", port = {port}, private = true")
        };
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let addressed = [
            ("127.0.0.1:3000", public),
            ("127.0.0.1:3001", admin),
            ("https://api.heygen.com", url(heygen)),
            ("https://shop.example.com", url(shop)),
            ("host = \"api.heygen.com\"", here(heygen)),
            ("host = \"shop.example.com\"", here(shop)),
            (STORE, store.to_owned()),
        ];
        let times = TIMES.map(|(from, to)| (from, to.to_owned()));
        let mut text = std::fs::read_to_string(root.join(CONFIG)).unwrap();
        for (from, to) in addressed.into_iter().chain(times) {
            assert!(text.contains(from), "the shipped configuration has no `{from}`");
            text = text.replace(from, &to);
        }
        site.put(CONFIG, text);
        Self { site, addresses }
    }

    /// Starts a host, if its addresses are free.
    fn start(&self) -> Host {
        wait_for("a host", || {
            Host::start_with(
                &self.site,
                &[
                    ("HOOKBOX_CONFIG", CONFIG),
                    ("HEYGEN_WEBHOOK_SECRET", SECRET),
                    ("SHOP_WEBHOOK_SECRET", SECRET),
                    ("HEYGEN_API_KEY", HEYGEN_KEY),
                    ("SHOP_API_KEY", SHOP_KEY),
                ],
            )
        })
    }

    fn books(&self) -> Books<'static> {
        let file = self.site.path(EXAMPLE).join("data/hookbox.db");
        Books::File(Connection::open(file).unwrap())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// An address that is free again and again: below the ports that the system gives out by itself.
fn free_address() -> SocketAddr {
    let random = || RandomState::new().build_hasher().finish();
    wait_for("a free port", || {
        let port = 15_000 + u16::try_from(random() % 15_000).unwrap();
        TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok()
    })
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// The plan, drawn by the environment or else by chance; it is printed.
fn planned(orders: usize) -> Plan {
    let orders = variable("HOOKBOX_PIPELINE_ORDERS").unwrap_or(orders);
    let seed = variable("HOOKBOX_PIPELINE_SEED")
        .unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("HOOKBOX_PIPELINE_SEED={seed} HOOKBOX_PIPELINE_ORDERS={orders}");
    let plan = Plan::new(seed, orders);
    let planned = counted((0..orders).map(|order| plan.end(order)));
    println!("planned: {planned:?}");
    plan
}

/// Has the orders sent, and does this again and again until each has ended, with how often it was
/// done, and whether all have; how often that was.
fn until_all_ended(
    stand_ins: &Arc<StandIns>,
    senders: &Senders,
    mut again: impl FnMut(usize, &dyn Fn() -> bool),
) -> usize {
    let orders = stand_ins.plan.orders;
    let feeder = {
        let stand_ins = Arc::clone(stand_ins);
        std::thread::spawn(move || feed(&stand_ins))
    };
    let started = Instant::now();
    let ended =
        || feeder.is_finished() && stand_ins.ends().len() == orders && senders.are_done(stand_ins);
    let mut times = 0;
    while !ended() {
        let missing = || (0..orders).filter(|order| !stand_ins.ends().contains_key(order));
        let longest = PATIENCE + LONGEST * u32::try_from(orders).unwrap();
        assert!(started.elapsed() < longest, "no end of {:?}", missing().collect::<Vec<_>>());
        again(times, &ended);
        times += 1;
    }
    feeder.join().unwrap();
    println!("{times} kills in {:.1?}", started.elapsed());
    times
}

/// Compares what the report says, the books and the journal.
fn agree(
    reported: &BTreeMap<String, usize>,
    books: &Books<'_>,
    stand_ins: &StandIns,
    journal: &Journal,
) {
    let counts = check(books, stand_ins, journal);
    assert_eq!(&counts.ends, reported, "the report and the books agree");
    println!(
        "{} messages acknowledged and {} duplicates of them\n{counts}",
        journal.events.len(),
        journal.duplicates,
    );
    assert!(journal.duplicates * 10 >= journal.events.len(), "at least every tenth came twice");
}

#[test]
fn every_order_ends_exactly_once_whatever_is_repeated_fails_comes_late_or_is_killed() {
    let (stand_ins, ports) = StandIns::start(planned(100));
    let copy = Copy::new(ports);
    let senders = Senders::start(&stand_ins, &[copy.addresses]);
    let kills = until_all_ended(&stand_ins, &senders, |_, ended| live_and_die(&copy, ended));
    let host = copy.start();
    at_rest(&host);
    let journal = senders.stop();
    let reported = reported(&host, &stand_ins);
    at_rest(&host);
    host.stop();
    agree(&reported, &copy.books(), &stand_ins, &journal);
    assert!(kills > 3, "hosts were killed");
}

/// One host, to its death; what the last one died of twice is tried again, as by an operator.
fn live_and_die(copy: &Copy, ended: &dyn Fn() -> bool) {
    let host = copy.start();
    let started = Instant::now();
    retry_the_quarantined(&host);
    while started.elapsed() < LIFE && !ended() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    host.kill();
}

/// Has the orders sent, and HeyGen fail in the middle of them, first with an answer, then without:
/// each for a while, and until enough requests were turned away.
fn feed(stand_ins: &StandIns) {
    let orders = stand_ins.plan.orders;
    let started = Instant::now();
    let lasted = std::thread::scope(|scope| {
        let send = || {
            for order in 0..orders {
                let again = stand_ins.plan.is_repeated(order, 0);
                stand_ins.ledger().outbox.push_back(Message::order(order, VIDEOS, again));
                let due = started + APART * u32::try_from(order + 1).unwrap();
                std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            }
        };
        scope.spawn(send);
        let made = || stand_ins.ledger().effects.len();
        wait_for("the middle of the orders", || (made() >= orders * VIDEOS / 2).then_some(()));
        let is = |kind| {
            let mut ledger = stand_ins.ledger();
            (ledger.outage, ledger.turned_away) = (kind, 0);
        };
        let lasted =
            [(Outage::Unavailable, 30), (Outage::Unreachable, 10)].map(|(kind, requests)| {
                is(kind);
                let began = Instant::now();
                wait_for("the outage to be noticed", || {
                    let lasted = began.elapsed();
                    let is_over = stand_ins.ledger().turned_away >= requests && lasted >= OUTAGE;
                    is_over.then_some(lasted)
                })
            });
        is(Outage::None);
        lasted
    });
    println!("HeyGen answered 503 for {:.1?}, and nothing for {:.1?}", lasted[0], lasted[1]);
}

/// Retries dead letters of two crashes that nothing stands behind: of the desk, for example. Dead
/// letters of the other plugins lead to a refund.
fn retry_the_quarantined(host: &Host) -> usize {
    let page = host.api("/api/v1/deliveries?state=dead&limit=500");
    let leads_on = |delivery: &Value| {
        let of = |plugin: &str| delivery["plugin"] == plugin;
        let delivers = of("order-shop") && delivery["type"] == "order.approved";
        of("video-details") || of("order-videos") || delivers
    };
    let deliveries = page["items"].as_array().unwrap();
    let stuck = deliveries.iter().filter(|delivery| !leads_on(delivery));
    let ids: Vec<_> = stuck.map(|delivery| delivery["id"].as_str().unwrap()).collect();
    for id in &ids {
        let path = format!("/api/v1/deliveries/{id}/retry");
        let (status, answer) = host.api_status("POST", &path, None);
        assert_eq!(status, 200, "{answer}");
    }
    ids.len()
}

/// Waits until nothing is open, however long a join has to wait for its end.
fn at_rest(host: &Host) {
    let started = Instant::now();
    let open = || !host.api("/api/v1/joins")["items"].as_array().unwrap().is_empty();
    while open() || retry_the_quarantined(host) > 0 {
        assert!(started.elapsed() < 3 * PATIENCE, "a join has no end");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    host.settled();
}

/// Waits for a report that says that all orders have ended; what it says of their ends.
fn reported(host: &Host, stand_ins: &StandIns) -> BTreeMap<String, usize> {
    let orders = stand_ins.plan.orders;
    let report = wait_for("the report of all orders", || {
        host.api("/livez");
        let report = stand_ins.ledger().report.clone();
        (report["created"] == orders && report["open"] == json!([])).then_some(report)
    });
    let number = |count: &Value| usize::try_from(count.as_u64().unwrap()).unwrap();
    let refunded = report["refunded"].as_object().unwrap().iter();
    let complete = Some(("complete".to_owned(), number(&report["complete"])));
    let ends = refunded.map(|(reason, count)| (reason.clone(), number(count))).chain(complete);
    ends.filter(|(_, count)| *count > 0).collect()
}
