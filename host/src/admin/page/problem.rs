//! Refusals as pages: what failed, and what still works.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::frame::PageFrame;
use super::html;
use super::parts::html::{Html, coded_lines};
use super::request::Asked;
use crate::admin::problem::{ProblemJson, ShownProblem};
use crate::admin::state::Admin;

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: PageFrame,
    status: u16,
    title: &'static str,
    detail: Html,
    next: &'static str,
}

/// The page for a refusal.
pub(super) async fn page(admin: &Admin, asked: Asked, problem: ShownProblem) -> Response {
    let ShownProblem { status, title, detail } = problem;
    let page = ProblemPage {
        frame: PageFrame::of_problem(admin, &asked, title).await,
        status: status.as_u16(),
        title,
        detail: coded_lines(&detail),
        next: match status {
            StatusCode::NOT_FOUND => {
                "It may be past its retention, or was never stored here. Look for it by its id, type or subject:"
            }
            StatusCode::CONFLICT => "It has changed meanwhile: go back and look at it again.",
            StatusCode::SERVICE_UNAVAILABLE => {
                "Try again in a moment. All that the head of this page shows still works."
            }
            _ => "Go back and correct it. Or look for something else:",
        },
    };
    let plain = || ProblemJson::new(status, detail.clone()).into_response();
    html(status, &page).unwrap_or_else(|_| plain())
}
