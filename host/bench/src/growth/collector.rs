//! The price of traces and log lines: a host that sends them to a collector, beside one that does
//! not. The collector is a part of this process, answers 200 and keeps nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::beside::{self, Pair, handler, routes};
use crate::figures::{Figure, Wanted};
use crate::receivers::{Receiver, Running};
use crate::watch::{metric, until_loaded};
use hookbox_tools::Result;

/// The answer to every request.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A collector that counts what comes.
struct Collector {
    address: SocketAddr,
    received: Arc<Received>,
}

#[derive(Default)]
struct Received {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Measures the whole road with and without a collector, in turns.
pub(super) fn measure(sites: &Path, seconds: u32) -> Result<Vec<Figure>> {
    let collector = Collector::start().map_err(|error| format!("a collector: {error}"))?;
    let section = format!("[telemetry]\notlp = \"http://{}\"\n", collector.address);
    let config = format!("{}{section}", routes());
    let host = Receiver::hookbox(&sites.join("traced"), &handler(), &config)?.start()?;
    let other = beside::empty(sites)?;
    until_loaded(host.admin()?)?;
    let what = "with a collector".to_owned();
    let without = "without a collector".to_owned();
    let pair = Pair { full: &host, what, other: &other, without, least: 0.9 };
    let mut figures = beside::beside(sites, &pair, seconds, 0)?;
    figures.extend(collector.figures(&host)?);
    Ok(figures)
}

impl Collector {
    fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, received) = (listener.local_addr()?, Arc::<Received>::default());
        let keeping = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(io::Result::ok) {
                let received = Arc::clone(&keeping);
                // A connection that ends shows in the figures: the host counts what it drops.
                std::thread::spawn(move || drop(received.serve(&stream)));
            }
        });
        Ok(Self { address, received })
    }

    /// How much came, and how much the host has dropped of it.
    fn figures(&self, host: &Running) -> Result<[Figure; 3]> {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let (requests, bytes) = (of(&self.received.requests), of(&self.received.bytes));
        if requests == 0.0 {
            return Err("the collector got nothing".to_owned());
        }
        let admin = host.admin()?;
        let events = crate::watch::ask(admin, "stats")?["events"].as_f64().unwrap_or_default();
        let dropped = metric(admin, "hookbox_spans_dropped_total")?.unwrap_or(0.0);
        let known = |name: &str, value, unit| Figure::new(name, value, unit, Wanted::Known);
        Ok([
            known("requests to the collector", requests, ""),
            known("bytes to the collector an event", bytes / events, "B"),
            known("spans dropped an event", dropped / events, ""),
        ])
    }
}

impl Received {
    /// Takes requests until the connection ends.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        loop {
            let mut length = 0;
            loop {
                line.clear();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                if line.trim_end().is_empty() {
                    break;
                }
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim_end().parse().map_err(io::Error::other)?;
                }
            }
            io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(length, Ordering::Relaxed);
            let mut stream = stream;
            stream.write_all(ANSWER)?;
        }
    }
}
