//! Forms: what a page sends to act.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::admin::problem::ProblemJson;
use crate::admin::state::MAX_BODY_BYTES;
use crate::event::form::{MEDIA_TYPE, fields, is_form};

/// The field by which a form that is sent twice is known.
pub(in crate::admin::page) const ONCE: &str = "once";

/// The fields of a form.
#[derive(Debug, Default)]
pub(in crate::admin::page) struct FormFields(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for FormFields {
    type Rejection = ProblemJson;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ProblemJson> {
        Self::read(request, MAX_BODY_BYTES).await
    }
}

impl FormFields {
    /// Reads a form of at most so many bytes.
    pub(in crate::admin::page) async fn read(
        request: Request,
        most: usize,
    ) -> Result<Self, ProblemJson> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        let body = to_bytes(request.into_body(), most).await.map_err(|_| {
            let detail = format!("the form is not readable or longer than {most} bytes");
            ProblemJson::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        })?;
        if !is_form(&kind) && !body.is_empty() {
            let detail = format!("a page takes forms only: `Content-Type: {MEDIA_TYPE}`");
            return Err(ProblemJson::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let mut found = Vec::new();
        for (name, value) in fields(&body) {
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned);
            let (Ok(name), Ok(value)) = (text(&name), text(&value)) else {
                return Err(ProblemJson::bad_request("a field of the form is not UTF-8"));
            };
            if !value.is_empty() {
                found.push((name, value));
            }
        }
        Ok(Self(found))
    }
}

impl FormFields {
    /// The value of a field that occurs once.
    pub(in crate::admin::page) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.remove(at).1)
    }

    /// The other fields: those that were not taken.
    pub(in crate::admin::page) fn others(self) -> Vec<(String, String)> {
        self.0
    }
}

/// A name for a form, which no other has.
pub(in crate::admin::page) fn once() -> String {
    let mut bytes = [0; 16];
    // Without randomness a form has no name, and may act twice.
    match getrandom::fill(&mut bytes) {
        Ok(()) => format!("page-{}", hex::encode(bytes)),
        Err(_) => String::new(),
    }
}

/// Leads a browser on after a form has acted.
pub(in crate::admin::page) fn see_other(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path.to_owned())]).into_response()
}
