//! The client that asks for a change, as the audit log names it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

use super::problem::ProblemJson;
use super::role::{Identity, Role};
use crate::store::{Actor, AuditNote, Via};

/// The header by which a repeated request is known (draft-ietf-httpapi-idempotency-key-header).
const KEY_HEADER: &str = "idempotency-key";

/// The most bytes of its value.
const MAX_KEY_BYTES: usize = 255;

/// The client that asks for a change, how, and under which key.
#[derive(Debug, Clone)]
pub(super) struct By {
    actor: Actor,
    key: Option<String>,
}

impl By {
    /// The same for a form, which names itself in a field: a form that is sent twice acts once.
    pub(super) fn once(self, form: Option<String>) -> Self {
        let fits = |key: &String| {
            (1..=MAX_KEY_BYTES).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        };
        Self { key: form.filter(fits).or(self.key), ..self }
    }

    /// The note of an action that this request asks for.
    pub(super) fn note(&self, action: &'static str, target: &str, detail: &str) -> AuditNote {
        AuditNote {
            key: self.key.clone(),
            ..AuditNote::new(self.actor.clone(), action, target, detail)
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = ProblemJson;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ProblemJson> {
        // The check of roles has let the request pass, so there is one.
        let identity = parts.extensions.get::<Identity>().cloned();
        let Identity { name, role, .. } =
            identity.unwrap_or_else(|| Identity::local(Role::Operator));
        let actor = Actor { name, role: role.name(), via: via(parts) };
        Ok(Self { actor, key: idempotency_key(&parts.headers)?.map(str::to_owned) })
    }
}

/// The way in which a request came.
fn via(parts: &Parts) -> Via {
    let agent = parts.headers.get(header::USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    match parts.uri.path().starts_with("/api/") {
        false => Via::Page,
        true if agent.starts_with(b"hookbox/") => Via::Command,
        true => Via::Api,
    }
}

/// The `Idempotency-Key` of a request, if it has one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ProblemJson> {
    let mut values = headers.get_all(KEY_HEADER).iter();
    let Some(first) = values.next() else { return Ok(None) };
    let text = first.to_str().ok().filter(|text| {
        (1..=MAX_KEY_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    });
    if text.is_none() || values.next().is_some() {
        let detail = format!(
            "`Idempotency-Key` must be one value of 1 to {MAX_KEY_BYTES} visible ASCII characters"
        );
        return Err(ProblemJson::bad_request(detail));
    }
    Ok(text)
}
