//! The first check of every request: is it meant for this API, and does it come from where it says?
//!
//! The API has no password, so it must refuse a browser that a page on the internet steers.
//! Two checks do that. `Host` must be a name of loopback: a page whose own name was rebound to
//! 127.0.0.1 still sends its own name. And a request that changes state must not carry another
//! site's `Origin`.

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

/// Checks a request, notes who its client is, answers it within the time limit, and keeps
/// browsers from guessing at or storing the answer.
pub(super) async fn guard(
    State(admin): State<Arc<Admin>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match check(&request, admin.own_address) {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            if let Some(role) = admin.role_without_token {
                request.extensions_mut().insert(Identity::local(role));
            }
            in_time(next.run(request)).await
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Only assets say how long they may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn in_time(answer: impl Future<Output = Response>) -> Response {
    let limit = Duration::from_millis(REQUEST_TIMEOUT_MS);
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let detail =
            format!("no answer within {REQUEST_TIMEOUT_MS} ms: ask for less, or ask again later");
        ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
    })
}

fn check(request: &Request, own: IpAddr) -> Result<(), ProblemJson> {
    let host = host(request.headers()).filter(|host| is_ours(host, own));
    let target_is_ours = request.uri().authority().is_none_or(|authority| is_ours(authority, own));
    let Some(host) = host.filter(|_| target_is_ours) else {
        let detail = "this door answers to `localhost` and loopback addresses only: the Host header names another host";
        return Err(ProblemJson::new(StatusCode::MISDIRECTED_REQUEST, detail));
    };
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        || is_same_site(request.headers(), &host)
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

fn is_ours(authority: &Authority, own: IpAddr) -> bool {
    let name = authority.host();
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || literal
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || (ip == own && !ip.is_unspecified()))
}

/// Whether a request that changes state may do so: clients that are no browsers send neither
/// header.
fn is_same_site(headers: &HeaderMap, host: &Authority) -> bool {
    let origins_match = headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()))
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
        match check(&request.body(Body::empty()).unwrap(), own) {
            Ok(()) => 200,
            Err(problem) => problem.into_response().status().as_u16(),
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
        let problem = check(&request.body(Body::empty()).unwrap(), IpAddr::from([127, 0, 0, 1]));
        assert_eq!(problem.unwrap_err().into_response().status(), StatusCode::MISDIRECTED_REQUEST);
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
