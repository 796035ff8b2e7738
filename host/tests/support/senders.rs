//! Clients that keep sending while a test does something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Host, agent, body, provide, wait_for};

/// Clients that each send 100 events of the type `step.one` a second, whatever the host does, as
/// providers do. Each event is acknowledged, or the test fails.
pub(crate) struct Senders {
    sent: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    pub(crate) fn start(host: &Host, count: usize) -> Self {
        let (sent, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let one = |_| {
            let (sent, stop, to) = (sent.clone(), stop.clone(), host.public);
            std::thread::spawn(move || {
                let (agent, started, mut mine) = (agent(), Instant::now(), 0u32);
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("key_{}", sent.fetch_add(1, Ordering::Relaxed));
                    provide(&agent, to, &body("step.one", &key));
                    mine += 1;
                    let due = started + Duration::from_millis(10) * mine;
                    std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
                }
            })
        };
        let threads = (0..count).map(one).collect();
        Self { sent, stop, threads }
    }

    /// Waits until so many more events are sent.
    pub(crate) fn after(&self, more: usize) {
        let target = self.sent.load(Ordering::Relaxed) + more;
        wait_for("more events", || (self.sent.load(Ordering::Relaxed) >= target).then_some(()));
    }

    /// Ends all clients; how many events they have sent.
    pub(crate) fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|sender| sender.join().unwrap());
        self.sent.load(Ordering::Relaxed)
    }
}
