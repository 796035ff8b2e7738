//! The one list of routes, and the document that is made from it.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Request;
use axum::http::header;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::deliveries::change;
use super::params::closest;
use super::problem::Problem;
use super::{Admin, clock, deliveries, events, guard, health, plugins};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hookbox",
        description = "The operator's side of a hookbox host. Served on loopback only; refusals are RFC 9457 problems."
    ),
    tags(
        (name = "events", description = "What was received or emitted"),
        (name = "deliveries", description = "One event for one plugin"),
        (name = "plugins", description = "What runs"),
        (name = "health", description = "How the host is"),
    )
)]
struct Document;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let document = list().into_openapi().to_pretty_json();
    document.expect("the document is made of strings and numbers only")
});

static PATHS: LazyLock<Vec<String>> = LazyLock::new(|| list().into_openapi().paths.paths.into_keys().collect());

fn list() -> OpenApiRouter<Arc<Admin>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(events::list_events))
        .routes(routes!(events::show_event))
        .routes(routes!(events::replay_event))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::show_delivery))
        .routes(routes!(change::retry_delivery))
        .routes(routes!(change::cancel_delivery))
        .routes(routes!(change::discard_delivery))
        .routes(routes!(change::retry_deliveries))
        .routes(routes!(change::cancel_deliveries))
        .routes(routes!(change::discard_deliveries))
        .routes(routes!(change::move_deliveries))
        .routes(routes!(change::move_delivery))
        .routes(routes!(plugins::list_plugins))
        .routes(routes!(plugins::show_plugin))
        .routes(routes!(plugins::approve_plugin))
        .routes(routes!(clock::show_clock))
        .routes(routes!(clock::accept_clock))
        .routes(routes!(health::show_stats))
        .routes(routes!(health::show_metrics))
        .routes(routes!(health::show_liveness))
        .routes(routes!(health::show_readiness))
        .routes(routes!(show_document))
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", responses(
    (status = 200, description = "OpenAPI 3.1", body = serde_json::Value),
))]
async fn show_document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// Everything the operator's door serves, behind its guard.
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let (router, _) = list().split_for_parts();
    router
        .fallback(no_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), guard::guard))
        .with_state(admin)
}

async fn no_path(request: Request) -> Problem {
    let path: String = request.uri().path().chars().take(200).collect();
    let hint = closest(&path, PATHS.iter().map(String::as_str));
    let hint = hint.map(|hint| format!("; did you mean `{hint}`?")).unwrap_or_default();
    Problem::not_found(format!("there is nothing at `{path}`{hint} (`/api/v1/openapi.json` lists what there is)"))
}

async fn wrong_method(request: Request) -> Problem {
    let detail = format!("`{}` does not take {}: see the Allow header", request.uri().path(), request.method());
    Problem::new(axum::http::StatusCode::METHOD_NOT_ALLOWED, detail)
}
