//! The sources of one configuration.

use std::collections::HashMap;
use std::sync::Arc;

use super::activity::SourceActivity;
use super::head::Head;
use super::source::SourceRuntime;
use super::verify;
use crate::config::Config;
use crate::config::source::Source;

/// The sources of one configuration.
#[derive(Debug)]
pub(super) struct Sources {
    config: Arc<Config>,
    by_name: HashMap<Arc<str>, SourceRuntime>,
}

impl Sources {
    pub(super) fn new(config: Arc<Config>, activity: &SourceActivity) -> Self {
        let runtime = |source: &Arc<Source>| {
            let runtime = SourceRuntime::new(Arc::clone(source)).counted_in(activity);
            (Arc::clone(&source.name), runtime)
        };
        activity.retain(|name| config.sources.contains_key(name));
        Self { by_name: config.sources.values().map(runtime).collect(), config }
    }

    /// The variation with which a refused request of a source would have been authentic.
    pub(super) fn hint(&self, name: &str, head: &Head, body: &[u8]) -> Option<String> {
        let SourceRuntime { verifier, .. } = self.get(name)?;
        let source = self.get(name)?.source();
        let others = self.by_name.values().filter(|other| *other.source().name != *name);
        let others = others.map(|other| (&**other.source(), &other.verifier));
        verify::find_hint(source, verifier, head, body, others)
    }

    /// The configuration they were made from.
    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(super) fn get(&self, name: &str) -> Option<&SourceRuntime> {
        self.by_name.get(name)
    }
}
