//! People who have pages open, as the pages' script does it: a stream of hints for each page, and
//! after a hint its page again, at most once a second.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hookbox_tools::Result;

/// The pages that are open, with the topics of their streams; as many as there are streams.
const PAGES: [(&str, &str); 4] = [
    ("/?fragment=1", "stats,plugins,failures"),
    ("/events?fragment=1", "stats,events"),
    ("/failures?fragment=1", "stats,failures"),
    ("/plugins?fragment=1", "stats,plugins"),
];
const STREAMS: usize = 16;

/// A page is asked for again after so long at the earliest.
const PAUSE: Duration = Duration::from_secs(1);

/// How soon the end is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The listing of the client beside the pages.
const LISTING: &str = "/api/v1/events?limit=100";

/// Some who look, until they are ended.
pub(super) struct Operators {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u64>>>,
}

impl Operators {
    /// Sixteen pages, and a client that lists: once in `every`, or without a pause.
    pub(super) fn look(admin: &str, every: Option<Duration>) -> Self {
        let mut all = Self::none();
        for (path, topics) in PAGES.iter().cycle().take(STREAMS) {
            all.page(admin, path, topics);
        }
        let (address, over) = (admin.to_owned(), Arc::clone(&all.over));
        all.threads.push(std::thread::spawn(move || {
            let (agent, mut count) = (ureq::agent(), 0);
            while !over.load(Ordering::Relaxed) {
                ask(&agent, &address, LISTING)?;
                count += 1;
                pause(every.unwrap_or_default(), &over);
            }
            Ok(count)
        }));
        all
    }

    /// The overview alone.
    pub(super) fn one(admin: &str) -> Self {
        let mut one = Self::none();
        let [(path, topics), ..] = PAGES;
        one.page(admin, path, topics);
        one
    }

    fn none() -> Self {
        Self { over: Arc::default(), threads: Vec::new() }
    }

    fn page(&mut self, admin: &str, path: &'static str, topics: &'static str) {
        let (address, over) = (admin.to_owned(), Arc::clone(&self.over));
        self.threads.push(std::thread::spawn(move || watch(&address, path, topics, &over)));
    }

    /// Closes all pages. Returns how many answers they had.
    pub(super) fn end(self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter();
        ended.map(|thread| thread.join().expect("looking does not panic")).sum()
    }
}

/// An open page.
fn watch(admin: &str, path: &str, topics: &str, over: &AtomicBool) -> Result<u64> {
    let fail = |error: std::io::Error| format!("the stream of {path}: {error}");
    let mut stream = TcpStream::connect(admin).map_err(fail)?;
    stream.set_read_timeout(Some(LOOK_EVERY)).map_err(fail)?;
    let request = format!("GET /api/v1/stream?topics={topics} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fail)?;
    let (agent, mut count) = (ureq::agent(), 0);
    let mut last: Option<Instant> = None;
    let mut buffer = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        let text = match stream.read(&mut buffer) {
            Ok(0) => return Err(format!("the stream of {path} has ended")),
            Ok(read) => String::from_utf8_lossy(&buffer[..read]).into_owned(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(fail(error)),
        };
        if text.starts_with("HTTP/1.1") && !text.starts_with("HTTP/1.1 200") {
            return Err(format!("the stream of {path} is refused: {text}"));
        }
        if text.contains("data:") {
            pause(last.map_or(Duration::ZERO, |last| PAUSE.saturating_sub(last.elapsed())), over);
            last = Some(Instant::now());
            ask(&agent, admin, path)?;
            count += 1;
        }
    }
    Ok(count)
}

fn ask(agent: &ureq::Agent, admin: &str, path: &str) -> Result {
    let fail = |error: ureq::Error| format!("{path}: {error}");
    let mut answer = agent.get(format!("http://{admin}{path}")).call().map_err(fail)?;
    answer.body_mut().read_to_vec().map_err(fail)?;
    Ok(())
}

/// Sleeps, but not beyond the end.
fn pause(time: Duration, over: &AtomicBool) {
    let until = Instant::now() + time;
    while !over.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LOOK_EVERY));
    }
}
