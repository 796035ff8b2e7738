//! Asks for a page of a provider's log through the host's connector.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use secrecy::SecretString;

use crate::config::{Grants, HostPattern, HttpRule, Injected, Limits, Source};
use crate::egress::{Egress, RequestBody, RequestContext, RequestTimeouts};
use crate::providers::{self, ApiAnswer, ApiError, ApiRequest, LoggedPage, Provider};

/// The events of a page.
const PAGE_EVENTS: u32 = 50;

/// The longest time for a page.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest page that is read, in bytes.
const MAX_PAGE_BYTES: usize = 16 << 20;

/// The page of the log of a source that begins at `cursor`.
pub(super) async fn page(
    egress: &Egress,
    provider: &dyn Provider,
    source: &Source,
    cursor: Option<&str>,
) -> Result<LoggedPage, ApiError> {
    let settings = &source.provider;
    let request = ApiRequest::Events { cursor, limit: PAGE_EVENTS };
    let call = provider.call(&settings.api(provider), &request);
    let call = call.map_err(|why| ApiError::Refused(why.to_owned()))?;
    let uri: Uri = call.url.parse().map_err(|_| ApiError::Strange(call.url.clone()))?;
    let key =
        settings.api_key.value.clone().ok_or_else(|| {
            ApiError::Key(format!("{} is empty or absent", settings.api_key.place))
        })?;
    let session = egress.session(context(provider, source, &uri, key)?);
    let body: RequestBody = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::builder()
        .method(call.method)
        .uri(uri)
        .header("user-agent", concat!("hookbox/", env!("CARGO_PKG_VERSION")))
        .body(body)
        .map_err(|error| ApiError::Strange(error.to_string()))?;
    let unavailable = |error: String| ApiError::Unavailable(error);
    let answered = session.send(request, RequestTimeouts::default()).await;
    let (head, body) = answered.map_err(|error| unavailable(error.to_string()))?.into_parts();
    let reading = Limited::new(body, MAX_PAGE_BYTES).collect();
    let body = match tokio::time::timeout(TIMEOUT, reading).await {
        Ok(read) => read.map_err(|error| unavailable(error.to_string()))?.to_bytes(),
        Err(_) => return Err(unavailable("the answer did not end in time".to_owned())),
    };
    let retry_after = head.headers.get("retry-after").and_then(|value| value.to_str().ok());
    let answer = ApiAnswer { status: head.status.as_u16(), retry_after, body: &body };
    providers::check(provider, &answer)?;
    provider.events(&body).map_err(ApiError::Strange)
}

/// The context of a request that may reach the host of the API, and nothing else.
fn context(
    provider: &dyn Provider,
    source: &Source,
    uri: &Uri,
    key: SecretString,
) -> Result<RequestContext, ApiError> {
    let host = uri.host().ok_or_else(|| ApiError::Strange(uri.to_string()))?;
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = inner.parse().ok();
    let host = match address {
        Some(address) => HostPattern::Address(address),
        None => HostPattern::Name(host.to_ascii_lowercase()),
    };
    let tls = uri.scheme_str() != Some("http");
    let (header, prefix) = provider.auth();
    let rule = HttpRule {
        tls,
        host,
        port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        methods: Some(vec!["GET".to_owned()]),
        path: "/".to_owned(),
        // The configuration names the address itself, so it may be private.
        private: source.provider.api_url.is_some(),
        headers: vec![Injected {
            name: header.to_ascii_lowercase(),
            prefix: prefix.to_owned(),
            value: Ok(key),
        }],
        idempotency_key: false,
        traceparent: false,
        authorities: None,
    };
    let name = Arc::clone(&source.name);
    Ok(RequestContext {
        plugin: format!("sources/{name}").into(),
        grants: Arc::new(Grants { http: vec![Arc::new(rule)] }),
        limits: Limits { http_received_bytes: MAX_PAGE_BYTES as u64, ..Limits::default() },
        idempotency_key: "".into(),
        began: Instant::now(),
        deadline: Instant::now() + TIMEOUT,
        trace: None,
        warn: Box::new(move |line| tracing::warn!(source.name = %name, "{line}")),
    })
}
