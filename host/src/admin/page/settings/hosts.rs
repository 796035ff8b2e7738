//! The hosts that share the store.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::{PartLinks, parts};
use crate::admin::hosts::{HostJson, list_hosts};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::parts::html::{Html, shown};
use crate::admin::page::parts::when::when_text;
use crate::admin::page::request::Asked;
use crate::admin::page::{html, params};
use crate::admin::params::NoQuery;
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::text::differences;

/// The digits of a digest that tell files apart.
const SHORT: usize = 12;

#[derive(Template)]
#[template(path = "hosts.html")]
struct HostsPage {
    frame: PageFrame,
    parts: PartLinks,
    hosts: Vec<HostRow>,
    /// How the hosts differ in plugins.
    differences: Vec<Html>,
}

/// A host.
#[derive(Debug)]
struct HostRow {
    name: Html,
    is_this: bool,
    version: String,
    since: Html,
    seen: Html,
    leases: u64,
    /// The name and the file of each plugin, and whether another host runs another.
    plugins: Vec<(Html, String, bool)>,
}

impl HostRow {
    fn of(host: HostJson, differ: &[String], now_ms: i64) -> Self {
        let plugin = |(name, digest): (String, String)| {
            (shown(&name), digest.chars().take(SHORT).collect(), differ.contains(&name))
        };
        Self {
            name: shown(&host.name),
            is_this: host.this,
            version: host.version,
            since: when_text(&host.since, now_ms),
            seen: when_text(&host.seen, now_ms),
            leases: host.leases,
            plugins: host.plugins.into_iter().map(plugin).collect(),
        }
    }
}

/// Lists the hosts.
pub(in crate::admin::page) async fn show(
    State(admin): State<Arc<Admin>>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    asked.query::<NoQuery>()?;
    let Json(found) = list_hosts(State(Arc::clone(&admin)), params(NoQuery {})).await?;
    let now_ms = admin.clock.now_ms();
    let frame = PageFrame::of(&admin, &asked, "settings", "Hosts").await;
    let differ = &found.plugins_that_differ;
    let lines = |plugin: &String| {
        let files = found
            .items
            .iter()
            .map(|host| (host.name.clone(), host.plugins.get(plugin).map(String::as_str)));
        differences(plugin, &files.collect::<Vec<_>>())
            .iter()
            .map(|line| shown(line))
            .collect::<Vec<_>>()
    };
    let differences = differ.iter().flat_map(lines).collect();
    let row = |host| HostRow::of(host, differ, now_ms);
    let page = HostsPage {
        frame: frame
            .live("stats,plugins")
            .same_as("hookbox hosts".to_owned(), "/api/v1/hosts".to_owned()),
        parts: parts(&asked),
        hosts: found.items.into_iter().map(row).collect(),
        differences,
    };
    html(StatusCode::OK, &page)
}
