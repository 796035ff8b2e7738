//! `hookbox:plugin/config`: what the operator wrote under `[plugins.NAME] config`.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::import::{CapabilityInfo, HostImport, Offer, Start};
use crate::config::PluginSettings;
use crate::sandbox::bindings::hookbox::plugin::config;

/// The values that a guest may read.
pub(super) struct ConfigValues(Arc<BTreeMap<String, String>>);

impl HostImport for ConfigValues {
    const OFFER: Offer = Offer {
        interfaces: &["hookbox:plugin/config"],
        version: "0.1.",
        shown: "config",
        capability: Some(CapabilityInfo {
            name: "config",
            interface: "hookbox:plugin/config",
            lets: "read `config` under `[plugins.NAME]`",
            grants,
            line: |_| "config = { name = \"value\" }".to_owned(),
        }),
    };

    fn begin(start: &Start<'_>) -> Self {
        Self(Arc::clone(&start.call.config))
    }

    fn link<T: 'static>(linker: &mut Linker<T>, of: fn(&mut T) -> &mut Self) -> Result<()> {
        config::add_to_linker::<T, HasSelf<Self>>(linker, of)
    }
}

impl config::Host for ConfigValues {
    fn get(&mut self, key: String) -> Option<String> {
        self.0.get(&key).cloned()
    }
}

fn grants(settings: &PluginSettings) -> Vec<String> {
    match settings.config.len() {
        0 => Vec::new(),
        1 => vec!["config: 1 value".to_owned()],
        count => vec![format!("config: {count} values")],
    }
}
