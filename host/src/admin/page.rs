//! Pages: what operators look at, as HTML that works without script.
//!
//! One file a page: the query of its address is read, a function of the API is called, and its
//! answer becomes what a template shows. A page knows nothing that the API does not tell, and its
//! address is its whole state.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use super::problem::{ProblemJson, ShownProblem};
use super::role::{ANYONE, Identity, OPERATOR, Role, VIEWER};
use super::state::Admin;
use request::Asked;

mod assets;
mod choose;
mod confirm;
mod deliveries;
mod event;
mod events;
mod failures;
mod filters;
mod find;
mod form;
mod frame;
mod keys;
mod listings;
mod login;
mod map;
mod moves;
mod operations;
mod overview;
mod parts;
mod pauses;
mod plugins;
mod problem;
mod request;
mod schedules;
mod settings;
mod sources;
mod theme;
mod trail;
mod trials;

/// A page: its route, the role it needs, and its methods.
pub(super) struct PageRoute {
    /// `None` if it needs no token.
    pub(super) role: Option<Role>,
    pub(super) path: &'static str,
    pub(super) methods: Vec<Method>,
    pub(super) router: PageRouter,
}

type PageRouter = MethodRouter<Arc<Admin>>;

fn page(
    role: Option<Role>,
    methods: &[Method],
    path: &'static str,
    router: PageRouter,
) -> PageRoute {
    PageRoute { role, path, methods: methods.to_vec(), router }
}

fn shows(path: &'static str, router: PageRouter) -> PageRoute {
    page(VIEWER, &[Method::GET], path, router)
}

/// Where an action is asked about is the way to the action.
fn asks(path: &'static str, router: PageRouter) -> PageRoute {
    page(OPERATOR, &[Method::GET, Method::POST], path, router)
}

fn acts(path: &'static str, router: PageRouter) -> PageRoute {
    page(OPERATOR, &[Method::POST], path, router)
}

/// Every page.
pub(super) fn list() -> Vec<PageRoute> {
    of_events().into_iter().chain(of_the_host()).collect()
}

/// The way in, and the pages of events, deliveries and what is done to many.
fn of_events() -> Vec<PageRoute> {
    vec![
        page(ANYONE, &[Method::GET, Method::POST], "/login", get(login::ask).post(login::act)),
        page(ANYONE, &[Method::POST], "/logout", post(login::end)),
        page(ANYONE, &[Method::GET], "/assets/{hash}/{name}", get(assets::show)),
        page(ANYONE, &[Method::GET, Method::POST], "/theme", get(choose::lead).post(choose::act)),
        shows("/", get(overview::show)),
        shows("/find", get(find::show)),
        shows("/events", get(events::show)),
        shows("/events/{id}", get(event::show)),
        asks("/events/{id}/replay", get(event::replay::ask).post(event::replay::act)),
        page(OPERATOR, &[Method::GET], "/replays/new", get(operations::new::ask_replay)),
        asks("/events/new", get(event::emit::ask).post(event::emit::act)),
        asks("/events/erase", get(event::erase::ask_subject).post(event::erase::act_subject)),
        asks("/events/{id}/erase", get(event::erase::ask).post(event::erase::act)),
        asks("/events/{id}/cancel", get(event::cancel::ask).post(event::cancel::act)),
        asks("/events/{id}/edit", get(event::edit::ask).post(event::edit::act)),
        shows("/deliveries", get(deliveries::show)),
        shows("/deliveries/{id}", get(deliveries::lead)),
        asks(
            "/deliveries/{id}/{action}",
            get(deliveries::actions::ask).post(deliveries::actions::act),
        ),
        shows("/failures", get(failures::show)),
        shows("/failures/{id}", get(failures::one)),
        shows("/operations", get(operations::show)),
        acts("/operations", post(operations::new::act)),
        page(OPERATOR, &[Method::GET], "/operations/new", get(operations::new::ask)),
        shows("/operations/{id}", get(operations::one)),
        acts("/operations/{id}/{verb}", post(operations::steer)),
    ]
}

/// The pages of everything else.
fn of_the_host() -> Vec<PageRoute> {
    vec![
        shows("/plugins", get(plugins::show)),
        shows("/plugins/{name}", get(plugins::one)),
        asks("/plugins/{name}/approve", get(plugins::approve::ask).post(plugins::approve::act)),
        acts("/plugins/{name}/load", post(plugins::load)),
        shows("/map", get(map::show)),
        asks("/plugins/{name}/try", get(trials::ask).post(trials::act)),
        asks("/plugins/{name}/pause", get(pauses::ask_pause).post(pauses::pause)),
        asks("/plugins/{name}/move", get(moves::ask).post(moves::act)),
        asks("/plugins/{name}/resume", get(pauses::ask_resume).post(pauses::resume)),
        shows("/sources", get(sources::show)),
        shows("/sources/{name}", get(sources::one)),
        acts("/sources/{name}/test", post(sources::test)),
        acts("/sources/{name}/take-secret", post(sources::take_secret)),
        shows("/joins", get(listings::joins)),
        shows("/schedules", get(listings::schedules)),
        shows("/schedules/{name}", get(schedules::one)),
        shows("/kv", get(keys::buckets)),
        shows("/kv/{bucket}", get(keys::list)),
        asks("/kv/{bucket}/set", get(keys::change::ask_set).post(keys::change::set)),
        asks("/kv/{bucket}/delete", get(keys::change::ask_delete).post(keys::change::delete)),
        asks("/schedules/{name}/{action}", get(schedules::ask).post(schedules::act)),
        shows("/kv/{bucket}/value", get(keys::value)),
        shows("/settings", get(settings::show)),
        shows("/settings/audit", get(settings::audit)),
        shows("/settings/tokens", get(settings::tokens)),
        shows("/settings/hosts", get(settings::hosts::show)),
        shows("/settings/about", get(settings::about)),
    ]
}

/// The policy of a page: the browser loads what this host serves, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types hookbox";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    // Other sites learn nothing. With `no-referrer` browsers would say `Origin: null` for a form of
    // ours, which the guard refuses.
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Turns the refusals of pages into pages, and gives pages their headers.
pub(super) async fn dress(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let is_page = is_page(request.uri().path(), request.headers());
    let is_looking = request.method() == Method::GET;
    let asked = is_page.then(|| {
        let asked = Asked::of(request.uri()).dressed(request.headers());
        // A form is no page to come back to: the page that it was on is.
        if is_looking { asked } else { asked.sent_from(request.headers()) }
    });
    let mut response = next.run(request).await;
    if let Some(asked) = asked
        && let Some(problem) = response.extensions_mut().remove::<ShownProblem>()
    {
        if problem.status == StatusCode::UNAUTHORIZED && is_looking && !asked.fragment {
            return login::lead(&asked);
        }
        let asked = asked.by(response.extensions_mut().remove::<Identity>());
        // The headers that the guard and the router have set.
        let kept = [
            header::ALLOW,
            header::WWW_AUTHENTICATE,
            header::RETRY_AFTER,
            header::CACHE_CONTROL,
            header::X_CONTENT_TYPE_OPTIONS,
        ];
        let kept: Vec<_> = kept
            .into_iter()
            .filter_map(|name| Some((name.clone(), response.headers().get(name)?.clone())))
            .collect();
        response = problem::page(&admin, asked, problem).await;
        response.headers_mut().extend(kept);
    }
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
        for (name, value) in HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// Whether a refusal of this request is for a person: that of a page, or what a browser asks for.
fn is_page(path: &str, headers: &HeaderMap) -> bool {
    let is_api = path.starts_with("/api/") || ["/metrics", "/livez", "/readyz"].contains(&path);
    let first = |path: &str| path.split('/').nth(1).unwrap_or_default().to_owned();
    let named = || list().iter().any(|page| first(page.path) == first(path));
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    !is_api && (named() || accepts.is_some_and(|accept| accept.contains("text/html")))
}

/// Renders a page.
fn html(status: StatusCode, page: &impl Template) -> Result<Response, ProblemJson> {
    let text = page.render().map_err(|error| {
        let detail = format!("the page could not be made: {error}");
        ProblemJson::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    Ok((status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response())
}

/// A query as a handler of the API takes it.
fn params<T>(query: T) -> super::params::Params<T> {
    super::params::Params(query)
}
