//! Tells the other hosts of a shared store which files run here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::event::PluginName;
use crate::plugins::Registry;
use crate::store::Hosts;

/// The pause after the store did not take it.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Notes it at the start and after each change, until `closing`.
pub(super) async fn run(
    store: Arc<dyn Hosts>,
    registry: Arc<ArcSwap<Registry>>,
    changed: Arc<Notify>,
    closing: CancellationToken,
) {
    let mut noted = None;
    loop {
        let loaded = registry.load_full();
        let file = |(name, _)| Some((PluginName::clone(name), loaded.loaded(name)?.digest));
        let now: BTreeMap<_, _> = loaded.entries().filter_map(file).collect();
        if noted.as_ref() != Some(&now) {
            match store.note_plugins(now.clone()).await {
                Ok(()) => noted = Some(now),
                Err(error) => {
                    tracing::debug!(error = %error, "the plugins of this host cannot be noted");
                    tokio::select! {
                        () = closing.cancelled() => return,
                        () = tokio::time::sleep(RETRY_AFTER) => continue,
                    }
                }
            }
        }
        tokio::select! {
            () = closing.cancelled() => return,
            () = changed.notified() => {}
        }
    }
}
