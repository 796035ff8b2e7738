//! What an attempt has sent: counted against its limits, and noted for whoever looks at it later.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Method, Uri};

use super::failure::{Failure, FailureKind};
use crate::config::Limits;
use crate::event::{HttpCall, PluginName};
use crate::text;

/// How much of a URL is noted, in bytes.
const MAX_URL_BYTES: usize = 512;
/// How much of a method is.
const MAX_METHOD_BYTES: usize = 32;

/// The result of what the host refused, by a rule or a limit.
const REFUSED: &str = "refused";

/// The requests of one attempt. Clones write to the same ledger.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    plugin: PluginName,
    limits: Limits,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    calls: Vec<Noted>,
    open: usize,
    sent_bytes: u64,
    received_bytes: u64,
}

#[derive(Debug)]
struct Noted {
    call: HttpCall,
    began: Instant,
    over: bool,
}

/// A request that was noted.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    ledger: Ledger,
    at: usize,
}

/// The same while it is not over, which it is when this is dropped, at the latest.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) entry: Entry,
    /// Whether it counts among those at once.
    counted: bool,
}

impl Ledger {
    pub(super) fn new(plugin: PluginName, limits: Limits) -> Self {
        Self { plugin, limits, book: Arc::default() }
    }

    /// Notes a request, unless there were too many.
    pub(super) fn begin(&self, method: &Method, uri: &Uri) -> Result<Open, Failure> {
        let mut book = self.book();
        let limit = self.limits.http_requests;
        let failure = (book.calls.len() >= limit).then(|| {
            let why = format!("an attempt can send {limit}; limits = {{ http_requests = … }} sets how many");
            Failure::new(FailureKind::Requests, why)
        });
        if book.calls.len() <= limit {
            let mut call = HttpCall {
                method: text::plain(method.as_str(), MAX_METHOD_BYTES),
                url: shown(uri),
                status: None,
                error: None,
                refused: failure.is_some(),
                sent_bytes: 0,
                received_bytes: 0,
                duration_ms: 0,
            };
            call.error = failure.as_ref().map(|failure| format!("further requests were refused: {failure}"));
            book.calls.push(Noted { call, began: Instant::now(), over: failure.is_some() });
        }
        let at = book.calls.len() - 1;
        drop(book);
        match failure {
            None => Ok(Open { entry: Entry { ledger: self.clone(), at }, counted: false }),
            Some(failure) => {
                self.count(REFUSED);
                Err(failure)
            }
        }
    }

    /// Everything that was noted; nothing is afterwards.
    pub(super) fn close(&self) -> Vec<HttpCall> {
        let calls = std::mem::take(&mut self.book().calls);
        calls.into_iter().map(|noted| self.ended(noted)).collect()
    }

    /// Whether a request is not over.
    pub(super) fn busy(&self) -> bool {
        self.book().calls.iter().any(|noted| !noted.over)
    }

    fn ended(&self, mut noted: Noted) -> HttpCall {
        if !noted.over {
            noted.call.duration_ms = since(noted.began);
            noted.call.error.get_or_insert_with(|| "the attempt ended before it did".to_owned());
            self.count(if noted.call.status.is_some() { "answered" } else { "failed" });
        }
        noted.call
    }

    fn count(&self, result: &'static str) {
        metrics::counter!("hookbox_plugin_http_requests_total", "plugin" => self.plugin.to_string(), "result" => result)
            .increment(1);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic while it was held can at worst have lost a number.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The response has come.
    pub(super) fn answered(&self, status: u16) {
        self.note(|call| call.status = Some(status));
    }

    /// It failed. The first reason stays.
    pub(super) fn failed(&self, why: &Failure) {
        self.note(|call| {
            call.error.get_or_insert_with(|| text::error(&why.to_string()));
        });
    }

    /// Counts what goes out of the body.
    pub(super) fn sent(&self, bytes: usize) -> Result<(), Failure> {
        let limit = self.ledger.limits.http_sent_bytes;
        let mut book = self.ledger.book();
        book.sent_bytes = book.sent_bytes.saturating_add(bytes as u64);
        let beyond = book.sent_bytes > limit;
        drop(book);
        if beyond {
            let why = format!("an attempt can send {limit} bytes; limits = {{ http_sent = … }} sets how many");
            return Err(Failure::new(FailureKind::Sent, why));
        }
        self.note(|call| call.sent_bytes += bytes as u64);
        Ok(())
    }

    /// Counts what comes in of a body.
    pub(super) fn received(&self, bytes: usize) -> Result<(), Failure> {
        self.received_head(bytes)?;
        self.note(|call| call.received_bytes += bytes as u64);
        Ok(())
    }

    /// Counts the head of a response: against the same limit, and not with its body.
    pub(super) fn received_head(&self, bytes: usize) -> Result<(), Failure> {
        let limit = self.ledger.limits.http_received_bytes;
        let mut book = self.ledger.book();
        book.received_bytes = book.received_bytes.saturating_add(bytes as u64);
        let beyond = book.received_bytes > limit;
        drop(book);
        if beyond {
            let why = format!("an attempt can receive {limit} bytes; limits = {{ http_received = … }} sets how many");
            return Err(Failure::new(FailureKind::Received, why));
        }
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut HttpCall)) {
        let mut book = self.ledger.book();
        if let Some(noted) = book.calls.get_mut(self.at).filter(|noted| !noted.over) {
            change(&mut noted.call);
        }
    }
}

impl Open {
    /// Takes one of the places for requests at once.
    pub(super) fn occupy(&mut self) -> Result<(), Failure> {
        let limit = self.entry.ledger.limits.http_open;
        let mut book = self.entry.ledger.book();
        if book.open >= limit {
            let why =
                format!("{limit} requests are open, which is all at once; limits = {{ http_open = … }} sets how many");
            return Err(Failure::new(FailureKind::Open, why));
        }
        book.open += 1;
        drop(book);
        self.counted = true;
        Ok(())
    }

    /// It is over, because of this.
    pub(super) fn fail(mut self, why: &Failure) {
        self.entry.failed(why);
        self.over(if why.refused() { REFUSED } else { "failed" });
    }

    fn over(&mut self, result: &'static str) {
        let mut book = self.entry.ledger.book();
        book.open -= usize::from(std::mem::take(&mut self.counted));
        let Some(noted) = book.calls.get_mut(self.entry.at).filter(|noted| !noted.over) else { return };
        noted.over = true;
        noted.call.duration_ms = since(noted.began);
        let answered = noted.call.status.is_some();
        if !answered {
            noted.call.error.get_or_insert_with(|| "the plugin did not wait for the response".to_owned());
            noted.call.refused = result == REFUSED;
        }
        drop(book);
        self.entry.ledger.count(if answered { "answered" } else { result });
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.over("failed");
    }
}

fn since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A URL as it is noted: without a password, and without what a query says.
pub(super) fn shown(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(_, host)| ("*@", host));
    let scheme = uri.scheme_str().unwrap_or_default();
    let mut url = format!("{scheme}://{user}{host}{}", uri.path());
    for (n, part) in uri.query().map(|query| query.split('&')).into_iter().flatten().enumerate() {
        url.push(if n == 0 { '?' } else { '&' });
        if let Some((name, _)) = part.split_once('=') {
            url.push_str(name);
            url.push('=');
        }
        url.push('*');
        if url.len() > MAX_URL_BYTES {
            break;
        }
    }
    text::plain(&url, MAX_URL_BYTES)
}
