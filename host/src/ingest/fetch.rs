//! Fetches what requests name by address, over the egress connector: public keys, mostly.
//!
//! A fetch is no part of the request that needs it: it has a task and a time of its own, and
//! serves every request that waits for the same address. A request waits [`WAIT`] at most, and is
//! then refused with 503; the sender's next try finds the key. A document is 64 KiB at most, and
//! no redirect is followed. An address that failed rests for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use tokio::time::timeout;

use super::verify::{FetchDuty, KeyRing};
use crate::clock::Clock;
use crate::config::{Grants, HostPattern, HttpRule, Limits};
use crate::egress::{Egress, RequestContext, RequestTimeouts};
use crate::server::ClientKey;
use crate::tasks;

/// The time that a request waits for a key.
const WAIT: Duration = Duration::from_secs(3);

/// The time that a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest document, in bytes.
const MAX_DOCUMENT_BYTES: usize = 64 << 10;

/// The name under which the host's own requests have their connections.
const FETCHER: &str = "hookbox/keys";

/// Fetches public keys, and confirms subscriptions.
#[derive(Debug, Clone)]
pub struct KeyFetcher {
    egress: Egress,
    /// Certificates (DER) of authorities in place of the public ones.
    authorities: Option<Arc<Vec<Vec<u8>>>>,
    wait: Duration,
}

/// The key of a request cannot be had; for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the public key cannot be had: {0}")]
pub(super) struct NoKey(String);

/// Why an address has no document; for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it answered with {}", .0.as_u16())]
    Status(StatusCode),
    #[error("{0}")]
    Other(String),
}

impl FetchError {
    /// Whether another try may go better.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Status(status) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Other(_) => true,
        }
    }
}

impl KeyFetcher {
    /// Over the machine's network, with the public authorities.
    pub fn system() -> Self {
        Self { egress: Egress::system(), authorities: None, wait: WAIT }
    }

    /// Over another network, with these authorities (DER).
    pub fn over(egress: Egress, authorities: Vec<Vec<u8>>) -> Self {
        Self { egress, authorities: Some(Arc::new(authorities)), wait: WAIT }
    }

    /// The same, where a request waits this long for a key.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Has the keys of an address in the ring, fetched for `client` if they are missing or old.
    pub(super) async fn have(
        &self,
        ring: &KeyRing,
        url: &str,
        client: Option<ClientKey>,
        clock: &Clock,
    ) -> Result<(), NoKey> {
        if !ring.is_missing(url, clock.now_ms()) {
            return Ok(());
        }
        let fetched = self.fetched(ring, url, client, clock).await;
        match fetched {
            // An older document serves until there is a newer one.
            Err(_) if ring.is_known(url) => Ok(()),
            fetched => fetched.map_err(NoKey),
        }
    }

    /// Fetches the keys of an address again, for a request that they do not fit. Says whether they
    /// have been fetched; a document of the last minute is not.
    pub(super) async fn renew(
        &self,
        ring: &KeyRing,
        url: &str,
        client: Option<ClientKey>,
        clock: &Clock,
    ) -> bool {
        ring.is_renewable(url, clock.now_ms())
            && self.fetched(ring, url, client, clock).await.is_ok()
    }

    /// Waits for the fetch of an address, which begins now unless it is under way.
    async fn fetched(
        &self,
        ring: &KeyRing,
        url: &str,
        client: Option<ClientKey>,
        clock: &Clock,
    ) -> Result<(), String> {
        if ring.rests(url, clock.now_ms()) {
            return Err("the address failed a moment ago".to_owned());
        }
        let joined = ring.join(url, client);
        let (mut ended, duty) =
            joined.ok_or_else(|| "too many other addresses are being asked".to_owned())?;
        if let Some(duty) = duty {
            let (fetcher, clock) = (self.clone(), clock.clone());
            drop(tasks::spawn(async move { fetcher.perform(duty, &clock).await }));
        }
        match timeout(self.wait, ended.wait_for(Option::is_some)).await {
            Ok(Ok(end)) => end.clone().unwrap_or(Ok(())),
            // The host is closing.
            Ok(Err(_)) => Err("the fetch was given up".to_owned()),
            Err(_) => Err("no answer came in time".to_owned()),
        }
    }

    async fn perform(&self, duty: FetchDuty, clock: &Clock) {
        let fetched = timeout(FETCH_TIMEOUT, self.fetch(duty.url())).await;
        let fetched = fetched.unwrap_or_else(|_| Err("no answer came in time".to_owned()));
        duty.end(fetched, clock.now_ms());
    }

    async fn fetch(&self, url: &str) -> Result<String, String> {
        let document = self.get(url, FETCH_TIMEOUT).await.map_err(|error| error.to_string())?;
        String::from_utf8(document.into()).map_err(|_| "it is not text".to_owned())
    }

    /// The document at an address, with this much time in all.
    pub(super) async fn get(&self, url: &str, within: Duration) -> Result<Bytes, FetchError> {
        let other = |text: &dyn std::fmt::Display| FetchError::Other(text.to_string());
        let uri: axum::http::Uri = url.parse().map_err(|_| other(&"it is no address"))?;
        let rule = HttpRule {
            tls: true,
            host: HostPattern::Name(uri.host().unwrap_or_default().to_owned()),
            port: 443,
            methods: Some(vec!["GET".to_owned()]),
            path: "/".to_owned(),
            private: false,
            headers: Vec::new(),
            idempotency_key: false,
            traceparent: false,
            authorities: self.authorities.clone(),
        };
        let session = self.egress.session(RequestContext {
            plugin: FETCHER.into(),
            grants: Arc::new(Grants { http: vec![Arc::new(rule)] }),
            limits: Limits::default(),
            idempotency_key: "".into(),
            began: Instant::now(),
            deadline: Instant::now() + within,
            trace: None,
            warn: Box::new(|_| {}),
        });
        let empty = Empty::<Bytes>::new().map_err(|never| match never {});
        let request =
            Request::get(uri).body(empty.boxed_unsync()).map_err(|error| other(&error))?;
        let response = session.send(request, RequestTimeouts::default()).await;
        let response = response.map_err(|error| other(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect().await;
        Ok(body.map_err(|error| other(&error))?.to_bytes())
    }
}
