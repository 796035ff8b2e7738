//! A browser chooses the theme of its pages.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::form::{FormFields, see_other};
use super::parts::link::safe;
use super::theme::{COOKIE, THEMES, known};
use crate::admin::problem::ProblemJson;

/// A year, in seconds.
const KEPT_FOR_S: u32 = 31_536_000;

/// Keeps the theme that was chosen, and goes on with the page.
pub(super) async fn act(mut form: FormFields) -> Result<Response, ProblemJson> {
    let next = safe(form.take("next"));
    let theme = form.take("theme").unwrap_or_default();
    let theme = known(&theme).ok_or_else(|| {
        ProblemJson::bad_request(format!("`theme` is one of `{}`", THEMES.join("`, `")))
    })?;
    let age_s = if theme == THEMES[0] { 0 } else { KEPT_FOR_S };
    let cookie = format!("{COOKIE}={theme}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict");
    Ok(([(header::SET_COOKIE, cookie)], see_other(&next)).into_response())
}

/// There is nothing to look at: a theme is chosen below every page.
pub(super) async fn lead() -> Response {
    see_other("/")
}
