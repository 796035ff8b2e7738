//! The client itself, the tokens, and the configuration that applies.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{NoQuery, Params};
use super::problem::ProblemJson;
use super::role::Identity;
use super::state::Admin;
use crate::clock::rfc3339;
use crate::config::{About, EffectiveKey};

/// The client that asks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(super) struct MeJson {
    /// The name of its token; `local` without one.
    pub(super) name: String,
    /// `viewer`, `send` or `operator`.
    pub(super) role: &'static str,
    /// Whether it reads payloads, header values, logs and the values of keys.
    pub(super) payloads: bool,
    /// Whether it has logged in, and shows no token of its own.
    pub(super) session: bool,
}

/// The tokens of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenList {
    /// In the order of the file; without one everybody on loopback is operator.
    pub(super) items: Vec<TokenJson>,
}

/// A token: neither it nor its hash is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenJson {
    /// The name that the audit log has for its client.
    pub(super) name: String,
    /// `viewer`, `send` or `operator`.
    pub(super) role: &'static str,
    /// Whether its client reads payloads.
    pub(super) payloads: bool,
    /// When it was used last, since the start of the host; RFC 3339 with milliseconds.
    pub(super) last_used_at: Option<String>,
}

/// The configuration that is in force.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Configuration)]
pub(super) struct ConfigJson {
    /// The file, absolute.
    pub(super) file: String,
    /// When the configuration that is in force was read, RFC 3339 with milliseconds.
    pub(super) read_at: Option<String>,
    /// Whether the file as it is now applies; if not, `error` says why.
    pub(super) applies: bool,
    /// Why the newest state of the file does not apply.
    pub(super) error: Option<String>,
    /// Keys whose change waits for a restart.
    pub(super) waits_for_restart: Vec<String>,
    /// The warnings of `hookbox check`.
    pub(super) warnings: Vec<ConfigWarning>,
    /// Every key of the file, and the defaults of `[server]`, `[store]` and plugins.
    pub(super) keys: Vec<ConfigKey>,
}

/// A warning about the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigWarning {
    /// `source` or `plugin`, if it is about one.
    pub(super) kind: Option<&'static str>,
    /// Its name.
    pub(super) name: Option<String>,
    /// The matter and its remedy.
    pub(super) text: String,
}

/// A key of the configuration.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigKey {
    /// With its sections, as it would be written.
    pub(super) key: String,
    /// The value as it would be written; of secrets whether they are set.
    pub(super) value: String,
    /// The line of the file that says so, from 1; absent for a default.
    pub(super) line: Option<usize>,
}

/// Show the client that asks: its name and its role.
#[utoipa::path(get, path = "/api/v1/me", tag = "access", responses(
    (status = 200, description = "The client", body = MeJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_me(client: Identity, Params(NoQuery {}): Params<NoQuery>) -> Json<MeJson> {
    Json(MeJson {
        name: client.name.to_string(),
        role: client.role.name(),
        payloads: client.sees.payloads(),
        session: client.has_session,
    })
}

/// List the tokens of the configuration: their names and roles.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", responses(
    (status = 200, description = "Every token", body = TokenList),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_tokens(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Json<TokenList> {
    let config = admin.config.load();
    let items = config.server.admin_tokens.iter().map(|token| TokenJson {
        name: token.name.clone(),
        role: token.role.name(),
        payloads: token.payloads,
        last_used_at: admin.access.last_used(&token.name).map(rfc3339),
    });
    Json(TokenList { items: items.collect() })
}

/// Show the configuration that is in force: each key with its value and the line it comes from.
#[utoipa::path(get, path = "/api/v1/config", tag = "access", responses(
    (status = 200, description = "The configuration", body = ConfigJson),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn show_config(
    State(admin): State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Json<ConfigJson> {
    let config = admin.config.load();
    let condition = admin.status.get();
    let warning = |it: &crate::config::Warning| ConfigWarning {
        kind: it.about.as_ref().map(About::kind),
        name: it.about.as_ref().map(|about| about.name().to_owned()),
        text: it.text.clone(),
    };
    let key = |EffectiveKey { key, value, line }| ConfigKey { key, value, line };
    Json(ConfigJson {
        file: config.path.display().to_string(),
        read_at: condition.read_ms.map(rfc3339),
        applies: condition.config.is_none(),
        error: condition.config.map(|trouble| trouble.text),
        waits_for_restart: condition.restart_needed.iter().map(ToString::to_string).collect(),
        warnings: config.warnings.iter().map(warning).collect(),
        keys: config.effective().into_iter().map(key).collect(),
    })
}
