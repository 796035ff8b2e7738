//! An HTTP client on one thread: requests that are ready are sent when they are due, each on a free
//! connection or on a new one, and whatever comes of each is noted. Nothing that a receiver does is
//! an error here, but an answer without a length.
//!
//! In the open loop (`rate`) a request is due at its time, whatever became of those before it, and
//! its latency counts from then. Otherwise each connection asks again as soon as it has its answer.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token};

use super::talk::{Heard, Talk};
use hookbox_tools::Result;

/// How long an answer may take; later ones do not count as answers.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The longest time between two looks at the time.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A request to send, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load<'a> {
    /// The address that the requests come from.
    pub(super) from: Ipv4Addr,
    /// Sent in this order, and from the first one again if there are fewer than `count`.
    pub(super) requests: &'a [Vec<u8>],
    pub(super) count: usize,
    /// So many a second; `None`: as fast as the answers come.
    pub(super) rate: Option<f64>,
    /// Connections at once; what is due while none is free waits.
    pub(super) connections: usize,
    /// A new connection for each request.
    pub(super) fresh: bool,
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// When it was due, from the start.
    pub(super) due: Duration,
    /// None if there was no whole answer in time.
    pub(super) status: Option<u16>,
    /// From when it was due.
    pub(super) latency: Duration,
    /// The event's id, if the answer names one.
    pub(super) id: Option<String>,
}

impl Answer {
    /// Whether the event was acknowledged.
    pub(super) fn is_ack(&self) -> bool {
        self.status == Some(200)
    }
}

/// Sends a load until all of it is answered, or until `over`: what is under way then is forgotten.
pub(super) fn send(address: &str, load: Load<'_>, over: &AtomicBool) -> Result<Vec<Answer>> {
    let to = address.parse().map_err(|error| format!("{address}: {error}"))?;
    let sent = Poll::new().and_then(|mut poll| {
        let registry = poll.registry().try_clone()?;
        Client::new(to, load, &registry).run(&mut poll, over)
    });
    sent.map_err(|error| format!("a client of {address}: {error}"))
}

/// A request that is due.
#[derive(Debug, Clone, Copy)]
struct Due {
    number: usize,
    at: Instant,
}

struct Client<'a> {
    to: SocketAddrV4,
    load: Load<'a>,
    registry: &'a Registry,
    start: Instant,
    /// The next one that becomes due.
    next: usize,
    waiting: VecDeque<Due>,
    /// By token, each with what it has asked.
    talks: Vec<Option<(Talk, Option<Due>)>>,
    /// Connections with nothing under way; the one that was used last comes first.
    idle: Vec<usize>,
    vacant: Vec<usize>,
    answers: Vec<Answer>,
    looked: Instant,
}

impl<'a> Client<'a> {
    fn new(to: SocketAddrV4, load: Load<'a>, registry: &'a Registry) -> Self {
        let (start, count) = (Instant::now(), load.connections);
        let talks = (0..count).map(|_| None).collect();
        let (waiting, idle, vacant) = (VecDeque::new(), Vec::new(), (0..count).rev().collect());
        Self {
            to,
            load,
            registry,
            start,
            next: 0,
            waiting,
            talks,
            idle,
            vacant,
            answers: Vec::new(),
            looked: start,
        }
    }

    fn run(mut self, poll: &mut Poll, over: &AtomicBool) -> io::Result<Vec<Answer>> {
        let mut events = Events::with_capacity(1_024);
        while !over.load(Ordering::Relaxed) && self.answers.len() < self.load.count {
            self.take_due();
            self.ask();
            match poll.poll(&mut events, Some(self.pause())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                self.hear(event.token().0, event.is_read_closed() || event.is_error())?;
            }
            self.give_up();
        }
        Ok(self.answers)
    }

    fn due(&self, number: usize) -> Option<Instant> {
        self.load.rate.map(|rate| self.start + Duration::from_secs_f64(number as f64 / rate))
    }

    fn take_due(&mut self) {
        let now = Instant::now();
        let mut room = self.idle.len() + self.vacant.len();
        while self.next < self.load.count {
            let at = self.due(self.next).unwrap_or(now);
            if at > now || (self.load.rate.is_none() && room == 0) {
                break;
            }
            self.waiting.push_back(Due { number: self.next, at });
            self.next += 1;
            room = room.saturating_sub(1);
        }
    }

    fn pause(&self) -> Duration {
        let next = if self.next < self.load.count { self.due(self.next) } else { None };
        next.map_or(LOOK_EVERY, |at| at.saturating_duration_since(Instant::now()).min(LOOK_EVERY))
    }

    /// Asks whatever is due and finds a connection.
    fn ask(&mut self) {
        while let Some(due) = self.waiting.front().copied() {
            let request = &self.load.requests[due.number % self.load.requests.len()];
            let slot = if let Some(slot) = self.idle.pop() {
                slot
            } else if let Some(slot) = self.vacant.pop() {
                match Talk::open(self.to, self.load.from, self.registry, Token(slot)) {
                    Ok(talk) => self.talks[slot] = Some((talk, None)),
                    Err(_) => {
                        self.vacant.push(slot);
                        self.waiting.pop_front();
                        self.note(due, None, None);
                        continue;
                    }
                }
                slot
            } else {
                return;
            };
            self.waiting.pop_front();
            if let Some((talk, asked)) = &mut self.talks[slot] {
                *asked = Some(due);
                // If it is broken, that is heard.
                talk.ask(request);
            }
        }
    }

    fn hear(&mut self, slot: usize, closed: bool) -> io::Result<()> {
        let Some((talk, asked)) = &mut self.talks[slot] else { return Ok(()) };
        match talk.hear(closed)? {
            Heard::Nothing => {}
            Heard::Answer { status, id, closes } => {
                let due = asked.take();
                if closes || self.load.fresh {
                    self.drop_talk(slot);
                } else {
                    self.idle.push(slot);
                }
                if let Some(due) = due {
                    self.note(due, Some(status), id);
                }
            }
            Heard::End { nothing_came } => {
                let (was_used, due) = (talk.was_used(), asked.take());
                self.idle.retain(|idle| *idle != slot);
                self.drop_talk(slot);
                match due {
                    // It was closed before the request came: any client asks once more.
                    Some(due) if was_used && nothing_came => self.waiting.push_front(due),
                    Some(due) => self.note(due, None, None),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn drop_talk(&mut self, slot: usize) {
        self.talks[slot] = None;
        self.vacant.push(slot);
    }

    /// Gives up what is not answered in time.
    fn give_up(&mut self) {
        let now = Instant::now();
        if now - self.looked < LOOK_EVERY {
            return;
        }
        self.looked = now;
        while let Some(due) = self.waiting.front().copied().filter(|due| now - due.at > PATIENCE) {
            self.waiting.pop_front();
            self.note(due, None, None);
        }
        for slot in 0..self.talks.len() {
            let asked = self.talks[slot].as_ref().and_then(|(_, asked)| *asked);
            if let Some(due) = asked.filter(|due| now - due.at > PATIENCE) {
                self.drop_talk(slot);
                self.note(due, None, None);
            }
        }
    }

    fn note(&mut self, due: Due, status: Option<u16>, id: Option<String>) {
        let (latency, due) = (due.at.elapsed(), due.at - self.start);
        self.answers.push(Answer { due, status, latency, id });
    }
}

#[cfg(test)]
mod tests;
