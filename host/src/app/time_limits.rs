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

    /// Tells what a reload has changed and what the store has lost, until `closing`.
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
                restored = self.store.restore_time_limits() => note_restored(&restored),
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

/// Says what became of limits that the store had lost. It notices again whatever is left.
fn note_restored(restored: &Result<u64, StoreError>) {
    match restored {
        Ok(0) => {}
        Ok(moved) => {
            tracing::warn!(
                moved,
                "the store had lost a `within` of joins or batches: it has it again"
            );
        }
        Err(error) => {
            tracing::debug!(error = %error, "the store has lost a `within` of joins or batches");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::OwnedSemaphorePermit;

    use super::*;
    use crate::config::{MakeSecrets, Surroundings};
    use crate::event::NewEvent;
    use crate::store::{
        Appended, DispatchHandle, InFlight, Lease, LeaseHolder, LeaseQueue, Leased, MaybeReady,
        NewStep, Pending, Recorded, Settled, Settlement,
    };
    use crate::tasks;

    const OTHER: &str = "nothing else is asked of it";

    /// A store that loses its limits twice, and is away the first time.
    #[derive(Debug, Default)]
    struct LosingStore {
        told: Mutex<Vec<(PluginName, Duration)>>,
        losses: AtomicUsize,
        restored: Notify,
    }

    impl Queue for LosingStore {
        fn set_time_limits(&self, limits: Vec<(PluginName, Duration)>) -> Pending<'_, u64> {
            self.told.lock().unwrap().extend(limits);
            Box::pin(async { Ok(0) })
        }

        fn restore_time_limits(&self) -> Pending<'_, u64> {
            match self.losses.fetch_add(1, Ordering::Relaxed) {
                0 => Box::pin(async { Err(StoreError::Unreachable("it is away".to_owned())) }),
                1 => Box::pin(async {
                    self.restored.notify_one();
                    Ok(1)
                }),
                _ => Box::pin(std::future::pending()),
            }
        }

        fn attach(&self, _: Arc<dyn DispatchHandle>) {
            unreachable!("{OTHER}");
        }

        fn append(&self, _: NewEvent) -> Pending<'_, Appended> {
            unreachable!("{OTHER}");
        }

        fn append_all(&self, _: Vec<NewEvent>) -> Pending<'_, Vec<Appended>> {
            unreachable!("{OTHER}");
        }

        fn has_legacy_keys(&self) -> bool {
            unreachable!("{OTHER}");
        }

        fn lease(&self, _: LeaseQueue, _: OwnedSemaphorePermit) -> Pending<'_, Leased> {
            unreachable!("{OTHER}");
        }

        fn begin(&self, _: &Lease) -> MaybeReady<'_, InFlight> {
            unreachable!("{OTHER}");
        }

        fn record(&self, _: &LeaseHolder, _: NewStep) -> Pending<'_, Recorded> {
            unreachable!("{OTHER}");
        }

        fn settle(&self, _: Lease, _: Settlement) -> Pending<'_, Settled> {
            unreachable!("{OTHER}");
        }
    }

    #[tokio::test]
    async fn limits_are_told_once_and_what_the_store_has_lost_of_them_is_restored() {
        let text = "[joins.a]\non = \"a.*\"\nkey = \"subject\"\nneed = 3\nwithin = \"2h\"\n\
                    emit = \"a\"\n";
        let surroundings = Surroundings { make_secrets: MakeSecrets::No, env: &|_| None };
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        let config = Config::parse(&folder.path().join("config.toml"), text, surroundings);
        let config = config.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        let config = Arc::new(ArcSwap::from_pointee(config));
        let store = Arc::new(LosingStore::default());
        let closing = CancellationToken::new();
        let limits = TimeLimits::begin(store.clone(), &config, &closing).await;
        let reloaded = Arc::new(Notify::new());
        let running = tasks::spawn(limits.run(reloaded, closing.clone()));
        store.restored.notified().await;
        closing.cancel();
        running.await.unwrap();
        let told = store.told.lock().unwrap();
        assert_eq!(*told, [("joins/a".into(), Duration::from_secs(7_200))]);
    }
}
