//! A fixed number of requests, each sent once: at a fixed rate (the open loop), or as fast as the answers come.
//!
//! In the open loop every request has its time, and its latency counts from that time and not from when a connection was
//! free to send it: a receiver that stalls is charged for everybody it keeps waiting. The connections are threads that
//! block, more of them than there are requests under way at the rates measured here, so that hardly any is late.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::requests::Requests;
use crate::run::Result;

/// How long a connection waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between starting the threads and the first request.
const HEAD_START: Duration = Duration::from_millis(100);

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
        return Err(format!("{} requests are asked for and {} are signed", steady.count, requests.spec.count));
    }
    let file = File::open(&requests.path).map_err(|error| format!("{}: {error}", requests.path.display()))?;
    let next = AtomicUsize::new(0);
    let start = Instant::now() + if steady.rate.is_some() { HEAD_START } else { Duration::ZERO };
    let work = || -> std::io::Result<Vec<f64>> {
        let mut connection = Connection::open(address)?;
        let (mut latencies_ms, mut request) = (Vec::new(), vec![0; requests.each_bytes]);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= steady.count {
                return Ok(latencies_ms);
            }
            file.read_exact_at(&mut request, (number * requests.each_bytes) as u64)?;
            let due = match steady.rate {
                Some(rate) => start + Duration::from_secs_f64(number as f64 / rate),
                None => Instant::now(),
            };
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.ask(&request)?;
            latencies_ms.push(due.elapsed().as_secs_f64() * 1e3);
        }
    };
    let all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..steady.connections).map(|_| scope.spawn(work)).collect();
        let all = workers.into_iter().map(|worker| worker.join().expect("sending does not panic"));
        all.collect::<std::io::Result<Vec<_>>>()
    })
    .map_err(|error| format!("http://{address}: {error}"))?;
    Ok(Sent { seconds: start.elapsed().as_secs_f64(), latencies_ms: all.concat() })
}

/// One connection, kept open for as long as the receiver does.
struct Connection<'a> {
    address: &'a str,
    stream: TcpStream,
    answer: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn open(address: &'a str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { address, stream, answer: Vec::new() })
    }

    /// Sends a request and reads its answer whole; an error unless it says success.
    fn ask(&mut self, request: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(request)?;
        self.answer.clear();
        let header_bytes = loop {
            self.read_more()?;
            if let Some(at) = self.answer.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let header = String::from_utf8_lossy(&self.answer[..header_bytes]).to_ascii_lowercase();
        let field = |name: &str| header.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body_bytes: Option<usize> = field("content-length:").and_then(|text| text.parse().ok());
        let body_bytes = body_bytes.ok_or_else(|| std::io::Error::other(format!("no length in {header}")))?;
        while self.answer.len() < header_bytes + body_bytes {
            self.read_more()?;
        }
        if header.split(' ').nth(1).is_none_or(|status| !status.starts_with('2')) {
            return Err(std::io::Error::other(String::from_utf8_lossy(&self.answer).into_owned()));
        }
        if field("connection:") == Some("close") {
            *self = Self::open(self.address)?;
        }
        Ok(())
    }

    fn read_more(&mut self) -> std::io::Result<()> {
        let mut part = [0; 4096];
        match self.stream.read(&mut part)? {
            0 => Err(std::io::Error::other("it was closed before the answer was whole")),
            length => {
                self.answer.extend_from_slice(&part[..length]);
                Ok(())
            }
        }
    }
}
