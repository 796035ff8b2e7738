//! Tells those who work by the configuration that there is another one.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::dispatch::Dispatcher;

/// The tasks that are told.
#[derive(Debug, Default)]
pub(super) struct Reloaded {
    /// Ticks of schedules.
    pub(super) schedules: Arc<Notify>,
    /// Logs of providers.
    pub(super) logs: Arc<Notify>,
    /// Notes of the files that run, for other hosts.
    pub(super) hosts: Arc<Notify>,
    /// Time limits of joins and batches.
    pub(super) limits: Arc<Notify>,
    /// Secrets that hosts share.
    pub(super) secrets: Arc<Notify>,
}

impl Reloaded {
    /// Tells them, and the dispatcher first.
    pub(super) fn teller(&self, dispatcher: &Arc<Dispatcher>) -> impl Fn() + Send + Sync + use<> {
        let dispatcher = Arc::clone(dispatcher);
        let others = [&self.schedules, &self.logs, &self.hosts, &self.limits, &self.secrets];
        let others = others.map(Arc::clone);
        move || {
            dispatcher.refresh();
            others.iter().for_each(|other| other.notify_one());
        }
    }
}
