//! A fixed number of requests, each sent once: at a fixed rate (the open loop), or as fast as the
//! answers come.
//!
//! In the open loop every request has its time, and its latency counts from that time and not from
//! when a connection was free to send it. So a receiver that stalls is charged for everybody it
//! keeps waiting. The connections are more than there are requests under way at the rates measured
//! here, so that hardly any is late.
//!
//! The loader shares its cores with the receiver that it measures, so it is two threads however
//! many connections there are. One sleeps until something is due and sends all that is, the other
//! waits for whichever answers come. The excess of a sleep, 0.2 ms and what the system adds, is in
//! the latencies too.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use self::connection::Connection;
use super::requests::Requests;
use hookbox_tools::Result;

mod connection;

/// How long no answer may come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest sleep. At high rates more than one request is due after it.
const NAP: Duration = Duration::from_micros(200);

/// How much of the requests is read in one go, in bytes.
const PIECE: usize = 256 * 1024;

/// How many, and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steady {
    pub(super) connections: usize,
    pub(super) count: usize,
    /// So many a second; `None`: as fast as the answers come.
    pub(super) rate: Option<f64>,
}

/// How that went; every request was answered with success.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) seconds: f64,
    /// Of each request, from its time to its answer.
    pub(super) latencies_ms: Vec<f64>,
}

/// Sends the first `count` of `requests` to `address`.
pub(super) fn send(requests: &Requests, address: &str, steady: Steady) -> Result<Sent> {
    if steady.count > requests.spec.count {
        return Err(format!(
            "{} requests are asked for and {} are signed",
            steady.count, requests.spec.count
        ));
    }
    let file = File::open(&requests.path)
        .map_err(|error| format!("{}: {error}", requests.path.display()))?;
    let source =
        Source { file: BufReader::with_capacity(PIECE, file), each_bytes: requests.each_bytes };
    exchange(source, address, steady).map_err(|error| format!("http://{address}: {error}"))
}

/// Where the requests are read from.
struct Source {
    file: BufReader<File>,
    each_bytes: usize,
}

/// Opens the connections, and lets one thread send and this one wait for the answers.
fn exchange(source: Source, address: &str, steady: Steady) -> io::Result<Sent> {
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    let open = |number| Connection::open(address, &registry, Token(number)).map(Mutex::new);
    let connections = (0..steady.connections).map(open).collect::<io::Result<Vec<_>>>()?;
    let waker = Waker::new(&registry, Token(steady.connections))?;
    // First in, first out: a receiver that takes one connection at a time waits for the one that is
    // used next.
    let (freed, free) = mpsc::channel();
    (0..steady.connections).try_for_each(|number| freed.send(number)).map_err(io::Error::other)?;
    let start = Instant::now();
    let latencies_ms = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let asked = ask_all(source, steady, start, &connections, free);
            // If even that fails, the patience of the other thread ends.
            asked.inspect_err(|_| drop(waker.wake()))
        });
        let heard = hear_all(&mut poll, steady.count, &connections, freed);
        sender.join().expect("sending does not panic").and(heard)
    })?;
    Ok(Sent { seconds: start.elapsed().as_secs_f64(), latencies_ms })
}

/// Sends each request when it is due, or when a connection is free if that is later. Ends early,
/// and without a word, when no connection becomes free any more: the other thread has failed.
fn ask_all(
    mut source: Source,
    steady: Steady,
    start: Instant,
    connections: &[Mutex<Connection<'_>>],
    free: Receiver<usize>,
) -> io::Result<()> {
    let mut request = vec![0; source.each_bytes];
    for number in 0..steady.count {
        source.file.read_exact(&mut request)?;
        let due = steady.rate.map(|rate| start + Duration::from_secs_f64(number as f64 / rate));
        due.into_iter().for_each(wait_until);
        let Ok(connection) = free.recv() else { break };
        lock(&connections[connection]).ask(&request, due.unwrap_or_else(Instant::now))?;
    }
    Ok(())
}

/// Sleeps until then, and no shorter than [`NAP`] if at all.
fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left.max(NAP));
    }
}

/// Reads until `count` requests are answered; hands each connection back whose answer is whole.
fn hear_all(
    poll: &mut Poll,
    count: usize,
    connections: &[Mutex<Connection<'_>>],
    freed: Sender<usize>,
) -> io::Result<Vec<f64>> {
    let mut events = Events::with_capacity(connections.len() + 1);
    let mut latencies_ms = Vec::with_capacity(count);
    while latencies_ms.len() < count {
        wait(poll, &mut events)?;
        for event in &events {
            // The last token is the waker's: sending has failed, and that is what will be reported.
            let Some(connection) = connections.get(event.token().0) else {
                return Ok(latencies_ms);
            };
            if let Some(latency) = lock(connection).hear(event.is_read_closed())? {
                latencies_ms.push(latency.as_secs_f64() * 1e3);
                // Nobody takes it when all is sent.
                let _ = freed.send(event.token().0);
            }
        }
    }
    Ok(latencies_ms)
}

/// Waits for what comes next.
fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
    loop {
        match poll.poll(events, Some(PATIENCE)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(()) if events.is_empty() => {
                return Err(io::Error::other(format!(
                    "no answer came for {} s",
                    PATIENCE.as_secs()
                )));
            }
            waited => return waited,
        }
    }
}

fn lock<'a, 'b>(connection: &'a Mutex<Connection<'b>>) -> MutexGuard<'a, Connection<'b>> {
    connection.lock().expect("neither thread panics")
}

#[cfg(test)]
mod tests;
