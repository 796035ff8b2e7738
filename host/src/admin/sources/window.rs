//! Windows in which the secret of a handshake is taken: an operator opens one, and sees the secret
//! once if the provider asks for it. Also what became of subscriptions that were confirmed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::admin::by::By;
use crate::admin::params::{Id, NoQuery, ParamsOrBody};
use crate::admin::problem::ProblemJson;
use crate::admin::sources::find;
use crate::admin::state::Admin;
use crate::clock::rfc3339;
use crate::config::Source;
use crate::ingest::{Confirmation, WindowView};

/// The longest window, in seconds.
const MAX_SECONDS: u32 = 3_600;

/// The usual window, in seconds.
const USUAL_SECONDS: u32 = 600;

/// The parameter of `POST …/take-secret`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct TakeSecretQuery {
    /// How long the secret of a handshake is waited for, in seconds: up to 3600, 600 if it is not
    /// said; 0 ends a window that is open.
    #[param(value_type = Option<u32>, maximum = 3600)]
    for_s: Option<String>,
}

impl TakeSecretQuery {
    fn seconds(&self) -> Result<u32, ProblemJson> {
        let Some(text) = self.for_s.as_deref() else { return Ok(USUAL_SECONDS) };
        let seconds = text.trim().parse().ok().filter(|seconds| *seconds <= MAX_SECONDS);
        seconds.ok_or_else(|| {
            let detail =
                format!("`for_s` must be a whole number of seconds from 0 to {MAX_SECONDS}");
            ProblemJson::bad_request(detail)
        })
    }
}

/// A window in which the secret of a handshake is taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecretWindow)]
pub(in crate::admin) struct WindowJson {
    /// `open`, `taken` or `closed`.
    pub(in crate::admin) state: &'static str,
    /// When an open one ends, RFC 3339 with milliseconds.
    pub(in crate::admin) until: Option<String>,
    /// When the secret came, RFC 3339 with milliseconds.
    pub(in crate::admin) taken_at: Option<String>,
    /// The client whose handshake brought it.
    pub(in crate::admin) client_address: Option<String>,
    /// Whether the secret can be shown, once.
    pub(in crate::admin) can_show: bool,
}

/// The secret that a handshake brought.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::admin) struct RevealedSecret {
    /// The secret, as the provider has sent it.
    secret: String,
}

/// The result of confirming a subscription.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Confirmation)]
pub(in crate::admin) struct ConfirmationJson {
    /// When, RFC 3339 with milliseconds.
    pub(in crate::admin) at: String,
    /// The host that was asked.
    pub(in crate::admin) host: String,
    /// Why it failed; absent if the subscription is confirmed.
    pub(in crate::admin) error: Option<String>,
}

impl From<Confirmation> for ConfirmationJson {
    fn from(confirmation: Confirmation) -> Self {
        let Confirmation { at_ms, host, error } = confirmation;
        Self { at: rfc3339(at_ms), host, error }
    }
}

impl WindowJson {
    /// That of a source; `None` if its handshakes bring no secret.
    pub(super) fn of(admin: &Admin, source: &Source) -> Option<Self> {
        let view = admin.activity.windows().view(&source.name, admin.clock.now_ms());
        source.provider.takes_secrets.then(|| Self::shown(view))
    }

    fn shown(view: Option<WindowView>) -> Self {
        let Some(WindowView { until_ms, taken, can_show }) = view else {
            let (until, taken_at, client_address) = (None, None, None);
            return Self { state: "closed", until, taken_at, client_address, can_show: false };
        };
        let (taken_at, client_address) = taken.unzip();
        Self {
            state: if taken_at.is_some() { "taken" } else { "open" },
            until: taken_at.is_none().then(|| rfc3339(until_ms)),
            taken_at: taken_at.map(rfc3339),
            client_address,
            can_show,
        }
    }
}

/// Take the secret of the next handshake: a window opens, and closes after the first one. The
/// secret is added to those of the source and is active at once. A restart closes the window.
#[utoipa::path(post, path = "/api/v1/sources/{name}/take-secret", tag = "events",
    params(("name" = String, Path, description = "The source"), TakeSecretQuery),
    request_body(content = Option<serde_json::Value>, description = "The parameters of the query, as the members of an object"),
    responses(
    (status = 200, description = "The window, or the secret that nobody has seen yet", body = WindowJson),
    (status = 409, description = "Its handshakes bring no secret, or none is kept", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn take_secret(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    ParamsOrBody(query): ParamsOrBody<TakeSecretQuery>,
) -> Result<Json<WindowJson>, ProblemJson> {
    let source = find(&admin.config.load(), &name)?;
    let seconds = query.seconds()?;
    check(&source)?;
    let note = by.note("sources.take_secret", &name, &format!("for {seconds} s"));
    admin.store.note(note.of_a_part()).await?;
    let now_ms = admin.clock.now_ms();
    let windows = admin.activity.windows();
    windows.open(&name, now_ms.saturating_add(i64::from(seconds) * 1_000), now_ms);
    tracing::info!(source.name = name, seconds, "an operator waits for the secret of a handshake");
    Ok(Json(WindowJson::shown(windows.view(&name, now_ms))))
}

/// Show the secret that a handshake brought, once: some providers want it back. It can be shown for
/// ten minutes.
#[utoipa::path(post, path = "/api/v1/sources/{name}/reveal-secret", tag = "events",
    params(("name" = String, Path, description = "The source")),
    responses(
    (status = 200, description = "The secret", body = RevealedSecret),
    (status = 409, description = "There is none to show", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn reveal_secret(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(name): Id<String>,
    ParamsOrBody(NoQuery {}): ParamsOrBody<NoQuery>,
) -> Result<Json<RevealedSecret>, ProblemJson> {
    find(&admin.config.load(), &name)?;
    let (windows, now_ms) = (admin.activity.windows(), admin.clock.now_ms());
    let none = || {
        let detail = format!(
            "there is no secret of `{name}` to show: it is shown once, within ten minutes, and only \
             where the provider wants it back"
        );
        ProblemJson::conflict(detail)
    };
    if !windows.view(&name, now_ms).is_some_and(|view| view.can_show) {
        return Err(none());
    }
    admin.store.note(by.note("sources.reveal_secret", &name, "").of_a_part()).await?;
    let secret = windows.reveal(&name, now_ms).ok_or_else(none)?;
    Ok(Json(RevealedSecret { secret: secret.expose_secret().to_owned() }))
}

/// Refuses a source that no handshake can bring a secret.
fn check(source: &Source) -> Result<(), ProblemJson> {
    let (name, provider) = (&source.name, &source.provider);
    if !provider.takes_secrets {
        return Err(ProblemJson::conflict(format!(
            "handshakes of `{name}` bring no secret: put it where `secrets` of [sources.{name}] says"
        )));
    }
    if !provider.names_registration {
        return Err(ProblemJson::conflict(format!(
            "`secrets` of [sources.{name}] names no place for it: add {{ registered = true }}"
        )));
    }
    let full = provider.registration.as_ref().map_or(Ok(()), |kept| kept.has_place());
    full.map_err(|what| {
        let file = crate::providers::registered::file_name(name);
        ProblemJson::conflict(format!(
            "{what} (secrets/{file} in `server.data_dir`): remove the file, and register again at the provider"
        ))
    })
}
