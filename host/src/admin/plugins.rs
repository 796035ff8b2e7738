//! Plugins: what runs, since when, and what leads to it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Admin;
use super::events::no_plugin;
use super::params::{Ask, Id, NoQuery};
use super::problem::Problem;
use super::view::{Counts, Listing};
use crate::clock::rfc3339;
use crate::config::Config;
use crate::event::PluginName;
use crate::plugins::{Loaded, Slot};
use crate::store::Stats;

/// A plugin on the shelf.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Plugin {
    /// The file's name without its ending.
    name: String,
    /// `loaded`; `stale`: an older good file runs because the newest is bad; `compiling`: nothing runs yet, deliveries
    /// wait; `failed`: nothing runs; `missing`: the file was removed.
    state: &'static str,
    /// SHA-256 of the file that runs.
    digest: Option<String>,
    /// How the host talks to it, and the version of that interface.
    contract: Option<String>,
    /// `fresh`: every event gets an instance of its own; `reuse`: instances are kept for the next event.
    instance: Option<&'static str>,
    /// Why the newest file was not taken.
    error: Option<String>,
    /// When the file that runs was loaded, RFC 3339 with milliseconds.
    loaded_at: Option<String>,
    /// Where it was read from.
    path: Option<String>,
    /// Interfaces it imports.
    imports: Vec<String>,
    /// What it is allowed beyond the sandbox.
    grants: Vec<String>,
    /// Patterns of the routes that lead to it.
    routes: Vec<String>,
    /// Its deliveries by state.
    deliveries: Counts,
}

/// List the plugins, by name.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", responses(
    (status = 200, description = "Every plugin, on one page", body = Listing<Plugin>),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list_plugins(
    State(admin): State<Arc<Admin>>,
    Ask(NoQuery {}): Ask<NoQuery>,
) -> Json<Listing<Plugin>> {
    let (shelf, config, stats) = (admin.shelf.load(), admin.config.load(), admin.store.stats());
    let items = shelf.slots().map(|(name, slot)| Plugin::of(name, slot, &config, &stats)).collect();
    Json(Listing { items, next_cursor: None })
}

/// Show one plugin.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path, description = "The plugin's name")), responses(
    (status = 200, description = "The plugin", body = Plugin),
    (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn show_plugin(
    State(admin): State<Arc<Admin>>,
    Ask(NoQuery {}): Ask<NoQuery>,
    Id(name): Id<String>,
) -> Result<Json<Plugin>, Problem> {
    let (shelf, config, stats) = (admin.shelf.load(), admin.config.load(), admin.store.stats());
    let (name, slot) = shelf
        .slots()
        .find(|(known, _)| known.as_ref() == name)
        .ok_or_else(|| no_plugin(&name, shelf.slots().map(|(known, _)| known.as_ref())))?;
    Ok(Json(Plugin::of(name, slot, &config, &stats)))
}

impl Plugin {
    fn of(name: &PluginName, slot: &Slot, config: &Config, stats: &Stats) -> Self {
        let loaded = slot.loaded.as_deref();
        let reuse = config.plugin(name).reuse;
        let instance = |loaded: &Loaded| if reuse && loaded.plugin.contract().reusable() { "reuse" } else { "fresh" };
        let leads_here = config.routes.iter().filter(|route| route.plugins.contains(name));
        let contract =
            loaded.map(|loaded| format!("{}@{}", loaded.plugin.contract(), loaded.plugin.interface_version()));
        Self {
            name: name.to_string(),
            state: slot.state(),
            digest: loaded.map(|loaded| loaded.digest.to_string()),
            contract,
            instance: loaded.map(instance),
            error: slot.problem.clone(),
            loaded_at: loaded.map(|loaded| rfc3339(loaded.loaded_at_ms)),
            path: loaded.map(|loaded| loaded.path.display().to_string()),
            imports: loaded.map(|loaded| loaded.plugin.imports().to_vec()).unwrap_or_default(),
            grants: Vec::new(),
            routes: leads_here.map(|route| route.pattern.clone()).collect(),
            deliveries: stats.plugins.get(name).copied().map(Counts::from).unwrap_or_default(),
        }
    }
}
