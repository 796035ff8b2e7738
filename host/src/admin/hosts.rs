//! The hosts that share the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::{Json, extract};
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{NoQuery, Params};
use super::problem::ProblemJson;
use super::state::Admin;
use crate::clock::rfc3339;
use crate::event::{PluginName, State};
use crate::store::HostView;

/// The hosts that share the store.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HostList {
    /// In the order of their slots; this host alone if the store is not shared.
    pub(super) items: Vec<HostJson>,
    /// The plugins of which hosts run different files, or one host none.
    pub(super) plugins_that_differ: Vec<String>,
    /// Where an event is when it is acknowledged, by the settings of the database's server; absent
    /// if the store is not shared.
    pub(super) acknowledged: Option<String>,
}

/// A host.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Host)]
pub(super) struct HostJson {
    /// The name of its configuration.
    pub(super) name: String,
    /// Its place among the hosts, from 0 to 255; absent if the store is not shared.
    pub(super) slot: Option<u8>,
    /// The version of its program.
    pub(super) version: String,
    /// Since when it runs, RFC 3339 with milliseconds.
    pub(super) since: String,
    /// When the store heard of it last, RFC 3339 with milliseconds.
    pub(super) seen: String,
    /// The deliveries that it has leased.
    pub(super) leases: u64,
    /// The SHA-256 of the file of each plugin that runs there, by name.
    pub(super) plugins: BTreeMap<String, String>,
    /// Whether it is the host that answers.
    pub(super) this: bool,
}

/// List the hosts that share the store, with what each runs and holds.
#[utoipa::path(get, path = "/api/v1/hosts", tag = "health", responses(
    (status = 200, description = "The hosts", body = HostList),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(super) async fn list_hosts(
    extract::State(admin): extract::State<Arc<Admin>>,
    Params(NoQuery {}): Params<NoQuery>,
) -> Result<Json<HostList>, ProblemJson> {
    let mut hosts = admin.store.hosts().await?;
    if hosts.is_empty() {
        let stats = admin.store.stats().await?;
        let leases =
            stats.plugins.values().map(|counts| counts.0[usize::from(State::Leased.code())]).sum();
        hosts.push(alone(&admin, leases));
        let mut items: Vec<_> = hosts.into_iter().map(HostJson::of).collect();
        items.iter_mut().for_each(|host| host.slot = None);
        let plugins_that_differ = Vec::new();
        return Ok(Json(HostList { items, plugins_that_differ, acknowledged: None }));
    }
    let differ = differing(&hosts).into_iter().map(|name| name.to_string()).collect();
    let items = hosts.into_iter().map(HostJson::of).collect();
    let acknowledged = admin.store.promise();
    Ok(Json(HostList { items, plugins_that_differ: differ, acknowledged }))
}

/// The host of a store that is not shared.
fn alone(admin: &Admin, leases: u64) -> HostView {
    let registry = admin.registry.load_full();
    let file = |(name, _)| Some((PluginName::clone(name), registry.loaded(name)?.digest));
    HostView {
        slot: 0,
        name: admin.config.load().server.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since_ms: admin.started_ms,
        seen_ms: admin.clock.now_ms(),
        leases,
        plugins: registry.entries().filter_map(file).collect(),
        is_this: true,
    }
}

/// The plugins of which not all hosts run the same file.
fn differing(hosts: &[HostView]) -> BTreeSet<&PluginName> {
    let names = hosts.iter().flat_map(|host| host.plugins.keys());
    let differs = |name: &&PluginName| {
        let mut files = hosts.iter().map(|host| host.plugins.get(*name));
        let first = files.next();
        files.any(|file| Some(file) != first)
    };
    names.filter(differs).collect()
}

impl HostJson {
    fn of(host: HostView) -> Self {
        Self {
            name: host.name,
            slot: Some(host.slot),
            version: host.version,
            since: rfc3339(host.since_ms),
            seen: rfc3339(host.seen_ms),
            leases: host.leases,
            plugins: host
                .plugins
                .into_iter()
                .map(|(name, digest)| (name.to_string(), digest.to_string()))
                .collect(),
            this: host.is_this,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Digest;

    #[test]
    fn a_plugin_differs_if_a_host_runs_another_file_or_none() {
        let host = |files: &[(&str, u8)]| HostView {
            slot: 0,
            name: String::new(),
            version: String::new(),
            since_ms: 0,
            seen_ms: 0,
            leases: 0,
            plugins: files.iter().map(|(name, of)| ((*name).into(), Digest([*of; 32]))).collect(),
            is_this: false,
        };
        let hosts = [host(&[("a", 1), ("b", 1)]), host(&[("a", 1), ("b", 2), ("c", 1)])];
        let names: Vec<_> = differing(&hosts).into_iter().map(|name| name.to_string()).collect();
        assert_eq!(names, ["b", "c"]);
        assert!(differing(&hosts[..1]).is_empty());
    }
}
