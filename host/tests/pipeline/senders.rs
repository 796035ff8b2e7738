//! Senders of webhooks and of new orders. They send as providers do: again, until it is
//! acknowledged. They keep a journal of what was.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::standins::StandIns;
use crate::support::{agent, sign};

/// How many send at once.
const SENDERS: usize = 4;

/// Something to send to the host.
pub(super) struct Message {
    /// The source of a webhook; none for an order, which goes to the API.
    source: Option<&'static str>,
    /// Names it in the journal, and as the provider's id.
    name: String,
    body: String,
    /// Whether it is sent once more after it was acknowledged.
    again: bool,
}

impl Message {
    pub(super) fn webhook(source: &'static str, name: String, body: String, again: bool) -> Self {
        Self { source: Some(source), name, body, again }
    }

    /// A new order.
    pub(super) fn order(number: usize, scripts: usize, again: bool) -> Self {
        let scripts: Vec<_> = (1..=scripts).map(|script| format!("Video {script}")).collect();
        let (name, data) = (format!("order_{number}"), json!({ "scripts": scripts }));
        let body = json!({ "type": "order.created", "subject": name, "data": data }).to_string();
        Self { source: None, name, body, again }
    }
}

/// Everything that was acknowledged.
#[derive(Default)]
pub(super) struct Journal {
    /// The event of each message.
    pub(super) events: HashMap<String, String>,
    /// Replies that said `duplicate`.
    pub(super) duplicates: usize,
}

/// Running senders.
pub(super) struct Senders {
    journal: Arc<Mutex<Journal>>,
    stop: Arc<AtomicBool>,
    /// Messages that are neither in the outbox nor acknowledged.
    under_way: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    /// Sends what the stand-ins want to have sent to hosts, of which each has two addresses: to one
    /// after the other, as a load balancer does.
    pub(super) fn start(stand_ins: &Arc<StandIns>, hosts: &[[SocketAddr; 2]]) -> Self {
        let (journal, stop) = (Arc::<Mutex<Journal>>::default(), Arc::<AtomicBool>::default());
        let under_way = Arc::<AtomicUsize>::default();
        let one = |number: usize| {
            let (stand_ins, journal) = (Arc::clone(stand_ins), Arc::clone(&journal));
            let hosts = hosts.to_vec();
            let (stop, under_way) = (Arc::clone(&stop), Arc::clone(&under_way));
            std::thread::spawn(move || {
                let (agent, mut hosts) = (agent(), hosts.iter().cycle().skip(number));
                while !stop.load(Ordering::Relaxed) {
                    let mut ledger = stand_ins.ledger();
                    let message = ledger.outbox.pop_front();
                    under_way.fetch_add(usize::from(message.is_some()), Ordering::SeqCst);
                    drop(ledger);
                    let Some(mut message) = message else {
                        std::thread::park_timeout(Duration::from_millis(5));
                        continue;
                    };
                    let [public, admin] = *hosts.next().unwrap();
                    let answer = send(&agent, &message, public, admin);
                    let is_known = answer.is_some();
                    let wants_more = !is_known || message.again;
                    if let Some((id, is_duplicate)) = answer {
                        enter(&mut journal.lock().unwrap(), &message.name, id, is_duplicate);
                        message.again = false;
                    }
                    let mut ledger = stand_ins.ledger();
                    ledger.outbox.extend(wants_more.then_some(message));
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    drop(ledger);
                    if !is_known {
                        std::thread::park_timeout(Duration::from_millis(20));
                    }
                }
            })
        };
        let threads = (0..SENDERS).map(one).collect();
        Self { journal, stop, under_way, threads }
    }

    /// Whether everything there is to send was acknowledged. A sender that panicked fails the test.
    pub(super) fn are_done(&self, stand_ins: &StandIns) -> bool {
        let working = self.threads.iter().all(|thread| !thread.is_finished());
        assert!(working, "a sender has failed");
        let ledger = stand_ins.ledger();
        ledger.outbox.is_empty() && self.under_way.load(Ordering::SeqCst) == 0
    }

    pub(super) fn stop(self) -> Journal {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|sender| sender.join().unwrap());
        std::mem::take(&mut self.journal.lock().unwrap())
    }
}

fn enter(journal: &mut Journal, name: &str, id: String, is_duplicate: bool) {
    journal.duplicates += usize::from(is_duplicate);
    let known = journal.events.insert(name.to_owned(), id.clone());
    assert!(known.is_none_or(|known| known == id), "{name} was acknowledged under two ids");
}

/// Sends a message once: its event and whether it is a duplicate, if it was acknowledged.
fn send(
    agent: &ureq::Agent,
    message: &Message,
    public: SocketAddr,
    admin: SocketAddr,
) -> Option<(String, bool)> {
    let Message { source, name, body, .. } = message;
    let request = match source {
        Some(source) => ureq::http::Request::post(format!("http://{public}/webhook/{source}"))
            .header("heygen-event-id", name)
            .header("heygen-signature", sign(body.as_bytes()))
            .header("x-shop-signature", sign(body.as_bytes())),
        None => ureq::http::Request::post(format!("http://{admin}/api/v1/events"))
            .header("idempotency-key", name),
    };
    let request = request.header("content-type", "application/json").body(body.as_str()).unwrap();
    let mut response = agent.run(request).ok()?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().ok()?;
    match status {
        200 | 202 => {
            let reply: Value = serde_json::from_str(&text).unwrap();
            let id = reply["id"].as_str().or(reply["event_id"].as_str()).expect(&text);
            let is_duplicate = reply["status"] == "duplicate" || reply["duplicate"] == true;
            Some((id.to_owned(), is_duplicate))
        }
        429 | 503 => None,
        _ => panic!("{name}: {status} {text}"),
    }
}
