//! The one list of routes, and the role that each needs.
//!
//! The router, the check of roles, the OpenAPI document and the tests all read this list. The
//! router is built from it, so a route without an entry does not exist.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::deliveries::change;
use super::guard::guard;
use super::page;
use super::problem::ProblemJson;
use super::role::{ANYONE, OPERATOR, Role, SEND, VIEWER, admit};
use super::state::Admin;
use super::{
    attention, audit, clock, deliveries, document, erase, events, export, failures, health,
    history, hosts, joins, kv, map, metrics, operations, pauses, plugins, replay, schedules,
    sources, start, stream, tree, trials, who,
};
use crate::names::hint;

/// A route with the role it needs.
type RoleRoute = (Option<Role>, UtoipaMethodRouter<Arc<Admin>>);

/// Every route.
fn list() -> Vec<RoleRoute> {
    events_and_deliveries().into_iter().chain(others()).collect()
}

/// The routes of events, deliveries and what is done to many.
fn events_and_deliveries() -> Vec<RoleRoute> {
    vec![
        (VIEWER, routes!(events::list_events)),
        (VIEWER, routes!(events::show_event)),
        (VIEWER, routes!(events::body::show_body)),
        (OPERATOR, routes!(replay::replay_event)),
        (VIEWER, routes!(export::export_events)),
        (OPERATOR, routes!(export::import_events)),
        (OPERATOR, routes!(erase::erase_event)),
        (OPERATOR, routes!(erase::erase_subject)),
        (VIEWER, routes!(tree::show_tree)),
        (VIEWER, routes!(joins::list_joins)),
        (SEND, routes!(start::start_event)),
        (OPERATOR, routes!(change::cancel_event)),
        (VIEWER, routes!(deliveries::list_deliveries)),
        (VIEWER, routes!(deliveries::show_delivery)),
        (VIEWER, routes!(failures::list_failures)),
        (VIEWER, routes!(failures::show_failure)),
        (OPERATOR, routes!(change::retry_delivery)),
        (OPERATOR, routes!(change::cancel_delivery)),
        (OPERATOR, routes!(change::discard_delivery)),
        (OPERATOR, routes!(change::retry_deliveries)),
        (OPERATOR, routes!(change::cancel_deliveries)),
        (OPERATOR, routes!(change::discard_deliveries)),
        (OPERATOR, routes!(change::move_deliveries)),
        (OPERATOR, routes!(change::move_delivery)),
        (VIEWER, routes!(operations::list_operations)),
        (OPERATOR, routes!(operations::plan_operation)),
        (VIEWER, routes!(operations::show_operation)),
        (OPERATOR, routes!(operations::start_operation)),
        (OPERATOR, routes!(operations::pause_operation)),
        (OPERATOR, routes!(operations::resume_operation)),
        (OPERATOR, routes!(operations::cancel_operation)),
        (OPERATOR, routes!(operations::undo_operation)),
        (OPERATOR, routes!(change::undiscard_delivery)),
    ]
}

/// The routes of everything else.
fn others() -> Vec<RoleRoute> {
    vec![
        (VIEWER, routes!(plugins::list_plugins)),
        (VIEWER, routes!(plugins::show_plugin)),
        (VIEWER, routes!(plugins::reloads::list_reloads)),
        (OPERATOR, routes!(plugins::approve_plugin)),
        (OPERATOR, routes!(plugins::load_plugin)),
        (OPERATOR, routes!(trials::try_plugin)),
        (OPERATOR, routes!(pauses::pause_plugin)),
        (OPERATOR, routes!(pauses::resume_plugin)),
        (OPERATOR, routes!(pauses::pause_schedule)),
        (OPERATOR, routes!(pauses::resume_schedule)),
        (VIEWER, routes!(kv::list_buckets)),
        (VIEWER, routes!(kv::list_keys)),
        (VIEWER, routes!(kv::show_value)),
        (OPERATOR, routes!(kv::change::set_value)),
        (OPERATOR, routes!(kv::change::delete_value)),
        (VIEWER, routes!(schedules::list_schedules)),
        (VIEWER, routes!(schedules::show_schedule)),
        (OPERATOR, routes!(schedules::run_schedule)),
        (VIEWER, routes!(sources::list_sources)),
        (VIEWER, routes!(sources::show_source)),
        (VIEWER, routes!(sources::list_refusals)),
        (OPERATOR, routes!(sources::test::test_source)),
        (OPERATOR, routes!(sources::window::take_secret)),
        (OPERATOR, routes!(sources::window::reveal_secret)),
        (VIEWER, routes!(audit::list_audit)),
        (VIEWER, routes!(audit::export_audit)),
        (VIEWER, routes!(clock::show_clock)),
        (OPERATOR, routes!(clock::accept_clock)),
        (VIEWER, routes!(attention::list_troubles)),
        (VIEWER, routes!(health::show_stats)),
        (VIEWER, routes!(hosts::list_hosts)),
        (VIEWER, routes!(history::show_history)),
        (VIEWER, routes!(map::show_map)),
        (VIEWER, routes!(stream::show_stream)),
        (VIEWER, routes!(events::follow::follow_events)),
        (VIEWER, routes!(events::case::show_case)),
        (VIEWER, routes!(metrics::show_metrics)),
        (ANYONE, routes!(health::show_liveness)),
        (ANYONE, routes!(health::show_readiness)),
        (VIEWER, routes!(who::show_me)),
        (VIEWER, routes!(who::list_tokens)),
        (VIEWER, routes!(who::show_config)),
        (VIEWER, routes!(show_document)),
    ]
}

/// A method of a path, and the role it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The HTTP method.
    pub method: Method,
    /// The path, its parameters in braces.
    pub path: String,
    /// The role that a client needs; `None` if it needs no token.
    pub role: Option<Role>,
    /// Whether it is a page for people, and not part of the API.
    pub is_page: bool,
}

/// Every route of the admin API, and every page.
pub fn endpoints() -> &'static [Endpoint] {
    static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| {
        let mut found = Vec::new();
        for (role, (_, mut paths, _)) in list() {
            for (path, item) in &mut paths.paths {
                let methods = operations(item).into_iter().map(|(method, _)| method);
                let endpoint =
                    |method| Endpoint { method, path: path.clone(), role, is_page: false };
                found.extend(methods.map(endpoint));
            }
        }
        for page::PageRoute { role, path, methods, .. } in page::list() {
            let endpoint = |method| Endpoint { method, path: path.into(), role, is_page: true };
            found.extend(methods.into_iter().map(endpoint));
        }
        found
    });
    &ENDPOINTS
}

/// The router of the admin API and the pages, behind their guard.
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let (mut router, _) = built().split_for_parts();
    for page::PageRoute { role, path, router: page, .. } in page::list() {
        let page = page.route_layer(middleware::from_fn_with_state(role, admit));
        router = router.route(path, page);
    }
    router
        .fallback(no_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), guard))
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), page::dress))
        .layer(middleware::from_fn(metrics::count_request))
        .with_state(admin)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hookbox",
        description = "The operator's side of a hookbox host. Refusals are RFC 9457 problems. `x-role` is the role that an \
                       operation needs, `none` if it needs no token. A token is sent as `Authorization: Bearer`; without \
                       `server.admin_tokens` everybody on loopback is operator."
    ),
    tags(
        (name = "events", description = "Everything that was received or emitted"),
        (name = "deliveries", description = "One event for one plugin"),
        (name = "plugins", description = "Handlers: those that run, those that failed to load, and those that wait for approval"),
        (name = "kv", description = "Values that plugins keep from one event to the next"),
        (name = "health", description = "How the host is"),
        (name = "access", description = "Who asks, who may, and what applies"),
    )
)]
struct OpenApiDocument;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document::text(&built().into_openapi()));

/// The router with its document, each route with its role.
fn built() -> OpenApiRouter<Arc<Admin>> {
    let mut router = OpenApiRouter::with_openapi(OpenApiDocument::openapi());
    for (role, (schemas, mut paths, methods)) in list() {
        for (_, operation) in paths.paths.values_mut().flat_map(operations) {
            let extensions = operation.extensions.get_or_insert_default();
            extensions.insert("x-role".to_owned(), role.map_or("none", Role::name).into());
        }
        let methods = methods.route_layer(middleware::from_fn_with_state(role, admit));
        router = router.routes((schemas, paths, methods));
    }
    router
}

fn operations(item: &mut PathItem) -> Vec<(Method, &mut Operation)> {
    let methods = [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ];
    methods.into_iter().filter_map(|(method, found)| Some((method, found.as_mut()?))).collect()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", responses(
    (status = 200, description = "OpenAPI 3.1", body = serde_json::Value),
))]
async fn show_document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

async fn no_path(request: Request) -> ProblemJson {
    let path: String = request.uri().path().chars().take(200).collect();
    let hint = hint(&path, endpoints().iter().map(|endpoint| endpoint.path.as_str()));
    let detail =
        format!("there is nothing at `{path}`{hint} (`/api/v1/openapi.json` lists what there is)");
    ProblemJson::not_found(detail)
}

async fn wrong_method(request: Request) -> ProblemJson {
    let (path, method) = (request.uri().path(), request.method());
    let detail = format!("`{path}` does not take {method}: see the Allow header");
    ProblemJson::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
