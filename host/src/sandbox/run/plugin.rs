//! A plugin that can be invoked.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::invoke;
use super::linked::{LinkedPlugin, PluginFacts};
use super::sandbox::Core;
use crate::sandbox::host::Capability;
use crate::sandbox::kinds::EntryPoint;
use crate::sandbox::{Call, Contract, Invocation};

/// A file that was loaded and can be invoked, any number of times at once.
pub struct Plugin(Arc<LinkedPlugin>);

impl Plugin {
    pub(in crate::sandbox) fn new(core: &Arc<Core>, entry: EntryPoint, facts: PluginFacts) -> Self {
        let (core, slots, warm) = (Arc::clone(core), core.slots.plugin(), core.warm.plugin());
        Self(Arc::new(LinkedPlugin { core, slots, warm, entry, facts }))
    }

    /// Runs one attempt, in an instance of its own unless `call` says otherwise. Needs a tokio
    /// runtime with time.
    ///
    /// Dropping the future ends the attempt.
    pub async fn invoke(&self, call: Call) -> Invocation {
        invoke::invoke(&self.0, call).await
    }

    /// How the host talks to it.
    pub fn contract(&self) -> Contract {
        self.0.facts.contract
    }

    /// The version of the contract's interface that it exports, for example `0.1.0`; `preview1` for
    /// a core module.
    pub fn interface_version(&self) -> &str {
        &self.0.facts.version
    }

    /// The interfaces that it imports, sorted.
    pub fn imports(&self) -> &[String] {
        &self.0.facts.imports
    }

    /// The capabilities that it asks for with them.
    pub fn capabilities(&self) -> BTreeSet<Capability> {
        self.0.facts.capabilities.clone()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Plugin").field(&self.0.facts).finish()
    }
}
