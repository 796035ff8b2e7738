//! An event that kills every host that runs it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::super::load::Fleet;
use super::super::{NAMES, is_long, sites};
use crate::support::{Answer, PATIENCE, agent, asked, cluster, guest, serve, sign, wait_for};

/// Events beside it, which run on the same host when it dies.
const INNOCENT: usize = 6;

/// `caller` sends a request to where the event says.
fn sections(port: u16) -> String {
    format!(
        r#"
[sources.raw]
secrets = [{{ env = "TEST_SECRET" }}]
verify = {{ scheme = "hmac-sha256", header = "X-Signature", signed = "{{body}}" }}
type = {{ fixed = "call.made" }}
[routes]
"call.made" = "caller"
[plugins.caller]
http = [{{ scheme = "http", host = "127.0.0.1", port = {port}, private = true }}]
"#
    )
}

/// A service that the plugin calls. It tells of each call of `/poison`, and answers none. Others
/// are answered once it is told to.
struct Service {
    port: u16,
    poisoned: Mutex<mpsc::Receiver<()>>,
    answers: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
}

impl Service {
    fn start() -> Self {
        let (tell, poisoned) = mpsc::channel();
        let (answers, waiting) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (may, waits) = (answers.clone(), waiting.clone());
        let port = serve(move |request| {
            if request.path == "/poison" {
                // The test may be over.
                let _ = tell.send(());
                std::thread::park_timeout(PATIENCE);
                return Answer::HangUp;
            }
            waits.fetch_add(1, Ordering::SeqCst);
            while !may.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            Answer::Reply(200, String::new())
        });
        Self { port, poisoned: Mutex::new(poisoned), answers, waiting }
    }

    /// Waits until a host runs the event that kills it.
    fn until_poisoned(&self) {
        let called = self.poisoned.lock().unwrap().recv_timeout(PATIENCE);
        called.expect("a host runs the event");
    }
}

/// Posts a call of the service; the event's id.
fn post(fleet: &Fleet<'_>, number: usize, service: &Service, path: &str) -> String {
    let body = format!("0127.0.0.1:{}{path}", service.port);
    let url = format!("{}/webhook/raw", fleet.host(number).public_url);
    let request = agent().post(url).header("x-signature", sign(body.as_bytes()));
    let mut response = request.send(&body).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    assert_eq!(response.status(), 200, "{text}");
    let reply: serde_json::Value = serde_json::from_str(&text).unwrap();
    reply["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_event_that_kills_its_hosts_is_quarantined_after_two_of_three_and_no_other_event_is() {
    let Some(cluster) = cluster(&[]) else { return };
    let service = Service::start();
    let caller = guest("send");
    let sites = sites(&cluster, 3, &sections(service.port), &[("caller.wat", &caller)]);
    let mut fleet = Fleet::of(&cluster, sites);
    let mut innocent: Vec<_> =
        (0..INNOCENT).map(|number| post(&fleet, 0, &service, &format!("/{number}"))).collect();
    wait_for("the innocent ones to run", || {
        (service.waiting.load(Ordering::SeqCst) == INNOCENT).then_some(())
    });
    let poison = post(&fleet, 0, &service, "/poison");
    let holder = format!(
        "SELECT h.name FROM hookbox.open o JOIN hookbox.hosts h ON h.incarnation = o.holder
          WHERE printf('evt_%016x', o.event) = '{poison}'"
    );
    let mut deaths = 0;
    loop {
        service.until_poisoned();
        let name = asked(&cluster, &holder).remove(0);
        let victim = NAMES.iter().position(|known| *known == name).unwrap();
        fleet.kill(victim);
        deaths += 1;
        service.answers.store(true, Ordering::SeqCst);
        let alive = (victim + 1) % 3;
        if deaths == 2 {
            // In the long form nobody starts it again, and the last of the three finds it dead.
            if !is_long() {
                fleet.begin(victim);
            }
            break;
        }
        innocent.push(post(&fleet, alive, &service, "/later"));
    }
    let last = fleet.living();
    let dead = wait_for("the quarantine", || {
        let event = last.event(&poison);
        (event["deliveries"][0]["state"] == "dead").then_some(event)
    });
    let attempts = dead["deliveries"][0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.last().unwrap()["outcome"], "crash", "{dead}");
    for id in &innocent {
        last.until_done(id);
    }
    assert_eq!((last.count("dead"), last.count("done")), (1, innocent.len() as u64));
    assert!(service.poisoned.lock().unwrap().try_recv().is_err(), "it ran in two hosts");
    fleet.stop();
}
