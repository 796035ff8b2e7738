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
use super::role::{Role, admit};
use super::state::Admin;
use super::{
    audit, clock, deliveries, erase, events, export, failures, health, history, joins, kv, map,
    operations, pauses, plugins, replay, schedules, sources, start, stream, tree,
};
use crate::names::hint;

/// A route with the role it needs.
type RoleRoute = (Role, UtoipaMethodRouter<Arc<Admin>>);

/// Every route.
fn list() -> Vec<RoleRoute> {
    events_and_deliveries().into_iter().chain(others()).collect()
}

/// The routes of events, deliveries and what is done to many.
fn events_and_deliveries() -> Vec<RoleRoute> {
    use Role::Operator;
    vec![
        (Operator, routes!(events::list_events)),
        (Operator, routes!(events::show_event)),
        (Operator, routes!(events::body::show_body)),
        (Operator, routes!(replay::replay_event)),
        (Operator, routes!(export::export_events)),
        (Operator, routes!(export::import_events)),
        (Operator, routes!(erase::erase_event)),
        (Operator, routes!(erase::erase_subject)),
        (Operator, routes!(tree::show_tree)),
        (Operator, routes!(joins::list_joins)),
        (Operator, routes!(start::start_event)),
        (Operator, routes!(change::cancel_event)),
        (Operator, routes!(deliveries::list_deliveries)),
        (Operator, routes!(deliveries::show_delivery)),
        (Operator, routes!(failures::list_failures)),
        (Operator, routes!(failures::show_failure)),
        (Operator, routes!(change::retry_delivery)),
        (Operator, routes!(change::cancel_delivery)),
        (Operator, routes!(change::discard_delivery)),
        (Operator, routes!(change::retry_deliveries)),
        (Operator, routes!(change::cancel_deliveries)),
        (Operator, routes!(change::discard_deliveries)),
        (Operator, routes!(change::move_deliveries)),
        (Operator, routes!(change::move_delivery)),
        (Operator, routes!(operations::list_operations)),
        (Operator, routes!(operations::plan_operation)),
        (Operator, routes!(operations::show_operation)),
        (Operator, routes!(operations::start_operation)),
        (Operator, routes!(operations::pause_operation)),
        (Operator, routes!(operations::resume_operation)),
        (Operator, routes!(operations::cancel_operation)),
        (Operator, routes!(operations::undo_operation)),
        (Operator, routes!(change::undiscard_delivery)),
    ]
}

/// The routes of everything else.
fn others() -> Vec<RoleRoute> {
    use Role::Operator;
    vec![
        (Operator, routes!(plugins::list_plugins)),
        (Operator, routes!(plugins::show_plugin)),
        (Operator, routes!(plugins::approve_plugin)),
        (Operator, routes!(pauses::pause_plugin)),
        (Operator, routes!(pauses::resume_plugin)),
        (Operator, routes!(pauses::pause_schedule)),
        (Operator, routes!(pauses::resume_schedule)),
        (Operator, routes!(kv::list_buckets)),
        (Operator, routes!(kv::list_keys)),
        (Operator, routes!(kv::show_value)),
        (Operator, routes!(kv::change::set_value)),
        (Operator, routes!(kv::change::delete_value)),
        (Operator, routes!(schedules::list_schedules)),
        (Operator, routes!(schedules::run_schedule)),
        (Operator, routes!(sources::list_sources)),
        (Operator, routes!(sources::show_source)),
        (Operator, routes!(sources::list_refusals)),
        (Operator, routes!(sources::test::test_source)),
        (Operator, routes!(audit::list_audit)),
        (Operator, routes!(clock::show_clock)),
        (Operator, routes!(clock::accept_clock)),
        (Operator, routes!(health::show_stats)),
        (Operator, routes!(history::show_history)),
        (Operator, routes!(map::show_map)),
        (Operator, routes!(stream::show_stream)),
        (Operator, routes!(health::show_metrics)),
        (Operator, routes!(health::show_liveness)),
        (Operator, routes!(health::show_readiness)),
        (Operator, routes!(show_document)),
    ]
}

/// A method of a path, and the role it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The HTTP method.
    pub method: Method,
    /// The path, its parameters in braces.
    pub path: String,
    /// The role that a client needs.
    pub role: Role,
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
        .with_state(admin)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hookbox",
        description = "The operator's side of a hookbox host. Served on loopback only; refusals are RFC 9457 problems. \
                       `x-role` is the role that an operation needs."
    ),
    tags(
        (name = "events", description = "What was received or emitted"),
        (name = "deliveries", description = "One event for one plugin"),
        (name = "plugins", description = "What runs"),
        (name = "kv", description = "What plugins keep from one event to the next"),
        (name = "health", description = "How the host is"),
    )
)]
struct OpenApiDocument;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let document = built().into_openapi().to_pretty_json();
    document.expect("the document is made of strings and numbers only")
});

/// The router with its document, each route with its role.
fn built() -> OpenApiRouter<Arc<Admin>> {
    let mut router = OpenApiRouter::with_openapi(OpenApiDocument::openapi());
    for (role, (schemas, mut paths, methods)) in list() {
        for (_, operation) in paths.paths.values_mut().flat_map(operations) {
            let extensions = operation.extensions.get_or_insert_default();
            extensions.insert("x-role".to_owned(), role.name().into());
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
