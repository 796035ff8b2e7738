//! Log in with a token, and log out.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::form::{FormFields, see_other};
use super::frame::PageFrame;
use super::html;
use super::parts::link::{Link, safe};
use super::request::Asked;
use super::theme;
use crate::admin::access::{COOKIE, SESSION, find};
use crate::admin::guard::is_private;
use crate::admin::problem::ProblemJson;
use crate::admin::role::{Identity, VIEWER};
use crate::admin::state::Admin;
use crate::server::{Client, ClientKey, Peer};
use crate::store::{Actor, AuditNote, Via};

/// The field of the address that says where to go on.
const NEXT: &str = "next";

/// The name of an actor that nobody knows.
const UNKNOWN: &str = "unknown";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: PageFrame,
    next: String,
    /// Whether the browser keeps a session for this host alone.
    is_private: bool,
    /// Whether a token is needed at all.
    has_tokens: bool,
    /// Why the last one did not work.
    refused: Option<String>,
}

/// Leads a browser that nobody knows to the log-in, and then back.
pub(super) fn lead(asked: &Asked) -> Response {
    see_other(&own(asked.here()))
}

/// The address of the log-in that leads on to another one.
fn own(next: &str) -> String {
    Link::to("/login").maybe(NEXT, Some(next).filter(|next| *next != "/")).into_text()
}

/// Asks for a token.
pub(super) async fn ask(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, ProblemJson> {
    let next = asked.field(NEXT).map(str::to_owned);
    page(&admin, &headers, next, (StatusCode::OK, None))
}

/// Takes a token.
pub(super) async fn act(
    State(admin): State<Arc<Admin>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let (next, shown) = (form.take(NEXT), form.take("token").unwrap_or_default());
    let config = admin.config.load_full();
    let tokens = &config.server.admin_tokens;
    if !is_private(&headers, config.server.admin_url.as_ref()) || tokens.is_empty() {
        return page(&admin, &headers, next, (StatusCode::FORBIDDEN, None));
    }
    let peer = peer.map_or((Ipv4Addr::LOCALHOST, 0).into(), |Extension(Peer(peer))| peer);
    let client = Client::of(peer, &headers, &config.server.trusted_proxies);
    let address = client.key.unwrap_or_else(|| ClientKey::of(peer.ip()));
    if let Some(wait) = admin.access.wait(address, Instant::now()) {
        let seconds = wait.as_secs() + 1;
        let why = format!("Too many tokens did not work: try again in {seconds} s.");
        let mut response =
            page(&admin, &headers, next, (StatusCode::TOO_MANY_REQUESTS, Some(why)))?;
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    let Some(token) = find(tokens, shown.trim()) else {
        if admin.access.fail(address, Instant::now()) {
            let note = note(UNKNOWN, "none", "login.failed", &address.to_string());
            admin.store.note(note).await?;
        }
        let why = "This token does not work here.".to_owned();
        return page(&admin, &headers, next, (StatusCode::FORBIDDEN, Some(why)));
    };
    if !Identity::of(token).may(VIEWER) {
        let why = format!("A token of the role {} has no pages.", token.role.name());
        return page(&admin, &headers, next, (StatusCode::FORBIDDEN, Some(why)));
    }
    // Without its entry nobody is let in.
    let entry = note(&token.name, token.role.name(), "login", &address.to_string());
    admin.store.note(entry).await?;
    admin.access.forgive(address);
    let key = admin.access.begin(token).ok_or_else(|| {
        let detail = "no session can be made: the system has no randomness";
        ProblemJson::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let age = SESSION.as_secs();
    Ok(with_cookie(see_other(&safe(next)), &format!("{key}; Max-Age={age}")))
}

/// Ends the session.
pub(super) async fn end(
    State(admin): State<Arc<Admin>>,
    client: Option<Extension<Identity>>,
    headers: HeaderMap,
) -> Result<Response, ProblemJson> {
    admin.access.end(&headers);
    if let Some(Extension(client)) = client.filter(|client| client.has_session) {
        let note = note(&client.name, client.role.name(), "logout", "");
        admin.store.note(note).await?;
    }
    Ok(with_cookie(see_other("/login"), "; Max-Age=0"))
}

fn page(
    admin: &Admin,
    headers: &HeaderMap,
    next: Option<String>,
    (status, refused): (StatusCode, Option<String>),
) -> Result<Response, ProblemJson> {
    let config = admin.config.load();
    let next = safe(next);
    let page = LoginPage {
        frame: PageFrame::bare("Log in").themed(theme::of(headers)).at(own(&next)),
        next,
        is_private: is_private(headers, config.server.admin_url.as_ref()),
        has_tokens: !config.server.admin_tokens.is_empty(),
        refused,
    };
    html(status, &page)
}

fn note(actor: &str, role: &'static str, action: &'static str, target: &str) -> AuditNote {
    let actor = Actor { name: actor.into(), role, via: Via::Page };
    AuditNote::new(actor, action, target, "")
}

fn with_cookie(response: Response, value: &str) -> Response {
    let cookie = format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict");
    ([(header::SET_COOKIE, cookie)], response).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_led_on_within_this_host_only() {
        for (next, expected) in [
            (None, "/"),
            (Some("/events?type=a"), "/events?type=a"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/a\r\nSet-Cookie: a=b"), "/"),
            (Some(""), "/"),
        ] {
            assert_eq!(safe(next.map(str::to_owned)), expected, "{next:?}");
        }
    }
}
