//! Fetches what requests name by address, over the egress connector: public keys, mostly.
//!
//! A fetch is on the road of the request that needs it, so it is bounded: one at a time for each
//! source, [`FETCH_TIMEOUT`] with all waiting, 64 KiB, no redirect. After a failure the address
//! rests for a while, and its requests are refused with 503 at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use tokio::time::timeout;

use super::verify::KeyRing;
use crate::clock::Clock;
use crate::config::{Grants, HostPattern, HttpRule, Limits};
use crate::egress::{Egress, RequestContext, RequestTimeouts};

/// The time that a request waits for a key.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

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
        Self { egress: Egress::system(), authorities: None }
    }

    /// Over another network, with these authorities (DER).
    pub fn over(egress: Egress, authorities: Vec<Vec<u8>>) -> Self {
        Self { egress, authorities: Some(Arc::new(authorities)) }
    }

    /// Has the keys of an address in the ring, fetched if they are missing or old.
    pub(super) async fn have(&self, ring: &KeyRing, url: &str, clock: &Clock) -> Result<(), NoKey> {
        if !ring.is_missing(url, clock.now_ms()) {
            return Ok(());
        }
        let fetched = timeout(FETCH_TIMEOUT, self.fetch_once(ring, url, clock)).await;
        match fetched.unwrap_or_else(|_| Err(NoKey("no answer came in time".to_owned()))) {
            // An older document serves until there is a newer one.
            Err(_) if ring.is_known(url) => Ok(()),
            fetched => fetched,
        }
    }

    async fn fetch_once(&self, ring: &KeyRing, url: &str, clock: &Clock) -> Result<(), NoKey> {
        let _one = ring.turn().lock().await;
        let now_ms = clock.now_ms();
        if !ring.is_missing(url, now_ms) {
            return Ok(());
        }
        if ring.rests(url, now_ms) {
            return Err(NoKey("the address failed a moment ago".to_owned()));
        }
        ring.failed(url, now_ms);
        let text = self.fetch(url).await.map_err(NoKey)?;
        if ring.keep(url, &text, clock.now_ms()) {
            Ok(())
        } else {
            Err(NoKey("the document has no key that can be used".to_owned()))
        }
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
