//! The first check of every request: is it meant for this API, and does it come from where it says?
//!
//! The API must refuse a browser that a page on the internet steers, also where it needs no token.
//! Two checks do that. `Host` must be a name of loopback, or that of `server.admin_url`: a page
//! whose own name was rebound to this address still sends its own name. A request that shows a
//! token may use any name, because no such page knows one. And a request that changes state must
//! not carry another site's `Origin`.
//!
//! The guard also finds out who asks (see `access`); whether that client may is for `role`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::ProblemJson;
use super::role::Identity;
use super::state::{Admin, REQUEST_TIMEOUT_MS};
use crate::config::AdminUrl;

/// Checks a request, notes who its client is, answers it within the time limit, and keeps
/// browsers from guessing at or storing the answer.
pub(super) async fn guard(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
    next: Next,
) -> Response {
    let client = identify(&admin, request.headers());
    let shows_token = client.is_some() && request.headers().contains_key(header::AUTHORIZATION);
    let checked = {
        let config = admin.config.load();
        let url = config.server.admin_url.as_ref();
        // Without tokens the header means nothing.
        let shows_token = shows_token && !config.server.admin_tokens.is_empty();
        check(&request, &Doors { own: admin.own_address, url, shows_token })
    };
    let mut response = match checked {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            if let Some(client) = client.clone() {
                request.extensions_mut().insert(client);
            }
            let mut response = in_time(next.run(request)).await;
            if let Some(client) = client {
                response.extensions_mut().insert(client);
            }
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Only assets say how long they may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The client of a request; `None` if a token is needed and none that is known was shown.
pub(super) fn identify(admin: &Admin, headers: &HeaderMap) -> Option<Identity> {
    let config = admin.config.load();
    match config.server.admin_tokens.as_slice() {
        [] => admin.role_without_token.map(Identity::local),
        tokens => admin.access.identify(tokens, headers, admin.clock.now_ms()),
    }
}

async fn in_time(answer: impl Future<Output = Response>) -> Response {
    let limit = Duration::from_millis(REQUEST_TIMEOUT_MS);
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let detail =
            format!("no answer within {REQUEST_TIMEOUT_MS} ms: ask for less, or ask again later");
        ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
    })
}

/// The names that this host is asked by.
struct Doors<'a> {
    /// The listener's own address.
    own: IpAddr,
    /// Its address behind a reverse proxy.
    url: Option<&'a AdminUrl>,
    /// Whether the request shows a token that is known.
    shows_token: bool,
}

fn check(request: &Request, doors: &Doors<'_>) -> Result<(), ProblemJson> {
    let is_ours = |authority: &Authority| doors.shows_token || doors.have(authority);
    let target_is_ours = request.uri().authority().is_none_or(is_ours);
    let host = if target_is_ours { host(request.headers()).filter(is_ours) } else { None };
    let Some(host) = host else {
        let detail = "this door answers to `localhost`, loopback addresses and the name in `server.admin_url` only: \
                      the Host header names another host";
        return Err(ProblemJson::new(StatusCode::MISDIRECTED_REQUEST, detail));
    };
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        || is_same_site(request.headers(), &host, doors.url)
    {
        return Ok(());
    }
    Err(ProblemJson::new(
        StatusCode::FORBIDDEN,
        "a page of another origin may not change anything here",
    ))
}

/// The one `Host` header, if it is well formed.
fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(header::HOST).iter();
    let (first, None) = (values.next()?, values.next()) else { return None };
    let host: Authority = first.to_str().ok()?.parse().ok()?;
    (!host.as_str().contains('@')).then_some(host)
}

impl Doors<'_> {
    fn have(&self, authority: &Authority) -> bool {
        if is_loopback(authority) || self.url.is_some_and(|url| url.is(authority.as_str())) {
            return true;
        }
        // A page that was rebound to an address sends a name.
        address(authority)
            .is_some_and(|ip| !ip.is_unspecified() && (ip == self.own || self.own.is_unspecified()))
    }
}

/// Whether it names loopback.
fn is_loopback(authority: &Authority) -> bool {
    authority.host().eq_ignore_ascii_case("localhost")
        || address(authority).is_some_and(|ip| ip.is_loopback())
}

/// The address that it is, if it is no name.
fn address(authority: &Authority) -> Option<IpAddr> {
    let name = authority.host();
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    literal.parse().ok()
}

/// Whether a browser keeps what it is asked to keep for this host alone: over loopback, or behind
/// the reverse proxy that speaks TLS.
pub(super) fn is_private(headers: &HeaderMap, url: Option<&AdminUrl>) -> bool {
    host(headers)
        .is_some_and(|host| is_loopback(&host) || url.is_some_and(|url| url.is(host.as_str())))
}

/// Whether a request that changes state may do so: clients that are no browsers send neither
/// header.
fn is_same_site(headers: &HeaderMap, host: &Authority, url: Option<&AdminUrl>) -> bool {
    let origins_match = headers.get_all(header::ORIGIN).iter().all(|origin| {
        let Ok(origin) = origin.to_str() else { return false };
        let plain = origin.strip_prefix("http://");
        let behind_proxy = origin.strip_prefix("https://");
        let is_named = url.is_some_and(|url| url.is(host.as_str()));
        // A proxy may name itself or this host in `Host`.
        behind_proxy.is_some_and(|origin| url.is_some_and(|url| url.is(origin)))
            || plain.is_some_and(|it| !is_named && it.eq_ignore_ascii_case(host.as_str()))
    });
    let fetched_here = headers
        .get_all("sec-fetch-site")
        .iter()
        .all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    origins_match && fetched_here
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn verdict(method: Method, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri("/api/v1/stats");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let own = IpAddr::from([192, 168, 1, 9]);
        let doors = Doors { own, url: None, shows_token: false };
        status(check(&request.body(Body::empty()).unwrap(), &doors))
    }

    fn status(checked: Result<(), ProblemJson>) -> u16 {
        checked.map_or_else(|problem| problem.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn the_name_behind_a_proxy_is_taken_and_forms_come_from_its_pages_alone() {
        let url = AdminUrl { authority: "hookbox.example.com".to_owned() };
        let doors = Doors { own: IpAddr::from([0, 0, 0, 0]), url: Some(&url), shows_token: false };
        for (host, origin, expected) in [
            ("hookbox.example.com", None, 200),
            ("hookbox.example.com", Some("https://hookbox.example.com"), 200),
            // The proxy speaks to this host by its own name.
            ("127.0.0.1:3001", Some("https://hookbox.example.com"), 200),
            ("10.0.0.5:3001", Some("http://10.0.0.5:3001"), 200),
            ("hookbox.example.com", Some("http://hookbox.example.com"), 403),
            ("hookbox.example.com", Some("https://evil.example"), 403),
            ("hookbox.example.com", Some("https://hookbox.example.com.evil.example"), 403),
            ("evil.example", None, 421),
        ] {
            let mut request = Request::post("/logout").header("host", host);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let checked = check(&request.body(Body::empty()).unwrap(), &doors);
            assert_eq!(status(checked), expected, "{host} {origin:?}");
        }
    }

    #[test]
    fn a_client_that_shows_a_token_may_use_any_name() {
        let request = Request::get("/metrics").header("host", "hookbox:3001");
        let request = request.body(Body::empty()).unwrap();
        let own = IpAddr::from([10, 0, 0, 5]);
        for (shows_token, expected) in [(true, 200), (false, 421)] {
            let doors = Doors { own, url: None, shows_token };
            assert_eq!(status(check(&request, &doors)), expected);
        }
    }

    #[test]
    fn a_name_of_loopback_is_accepted_with_any_port() {
        for host in [
            "localhost",
            "LocalHost:3001",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]",
            "[::1]:3001",
            "192.168.1.9:3001",
        ] {
            assert_eq!(verdict(Method::GET, &[("host", host)]), 200, "{host}");
        }
    }

    #[test]
    fn any_other_host_is_misdirected() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "192.168.1.8",
            "0.0.0.0",
            "a@localhost",
            "",
            "::1",
        ] {
            assert_eq!(verdict(Method::GET, &[("host", host)]), 421, "{host}");
        }
        assert_eq!(verdict(Method::GET, &[]), 421);
        assert_eq!(verdict(Method::GET, &[("host", "localhost"), ("host", "localhost")]), 421);
    }

    #[test]
    fn a_target_that_names_another_host_is_misdirected() {
        let request =
            Request::builder().uri("http://evil.example/livez").header("host", "localhost");
        let own = IpAddr::from([127, 0, 0, 1]);
        let doors = Doors { own, url: None, shows_token: false };
        let checked = check(&request.body(Body::empty()).unwrap(), &doors);
        assert_eq!(status(checked), StatusCode::MISDIRECTED_REQUEST);
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let host = ("host", "localhost:3001");
        assert_eq!(verdict(Method::POST, &[host]), 200);
        assert_eq!(verdict(Method::POST, &[host, ("origin", "http://localhost:3001")]), 200);
        for origin in
            ["http://localhost:3000", "https://localhost:3001", "http://evil.example", "null", ""]
        {
            assert_eq!(verdict(Method::POST, &[host, ("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(verdict(Method::POST, &[host, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(verdict(Method::GET, &[host, ("origin", "http://evil.example")]), 200);
    }
}
