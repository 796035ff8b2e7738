//! Tells the store how long joins and batches take at most, also those that are open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::event::PluginName;
use crate::store::{Queue, StoreError};

/// The pause after the store did not take it.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The time limits that the store was told.
pub(super) struct TimeLimits {
    store: Arc<dyn Queue>,
    config: Arc<ArcSwap<Config>>,
    told: BTreeMap<PluginName, Duration>,
}

impl TimeLimits {
    /// Tells the limits before the host leases anything: a join that has more time since a restart
    /// does not end by the limit before.
    pub(super) async fn begin(
        store: Arc<dyn Queue>,
        config: &Arc<ArcSwap<Config>>,
        shutdown: &CancellationToken,
    ) -> Self {
        let mut limits = Self { store, config: Arc::clone(config), told: BTreeMap::new() };
        tokio::select! {
            () = shutdown.cancelled() => {}
            told = limits.tell() => {
                if let Err(error) = told {
                    tracing::warn!(error = %error, "open joins and batches keep their `within` for now");
                }
            }
        }
        limits
    }

    /// Tells what a reload has changed, until `closing`.
    pub(super) async fn run(mut self, reloaded: Arc<Notify>, closing: CancellationToken) {
        loop {
            let told = tokio::select! {
                () = closing.cancelled() => return,
                told = self.tell() => told,
            };
            if let Err(error) = &told {
                tracing::debug!(error = %error, "open joins and batches keep their `within` for now");
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = reloaded.notified() => {}
                () = tokio::time::sleep(RETRY_AFTER), if told.is_err() => {}
            }
        }
    }

    /// Tells the limits that are new or other ones.
    async fn tell(&mut self) -> Result<(), StoreError> {
        let config = self.config.load_full();
        let terms = config.routes.gatherings.iter().map(|section| &section.terms);
        let changed: Vec<_> = terms
            .filter(|terms| self.told.get(&terms.plugin) != Some(&terms.within))
            .map(|terms| (terms.plugin.clone(), terms.within))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let moved = self.store.set_time_limits(changed.clone()).await?;
        if moved > 0 {
            tracing::info!(moved, "open joins and batches end at another time");
        }
        self.told.extend(changed);
        Ok(())
    }
}
