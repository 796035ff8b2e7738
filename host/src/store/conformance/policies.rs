//! A harness whose stores know what tests say of plugins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::Harness;
use crate::event::KeyPolicy;
use crate::store::PluginPolicies;

/// The policies of plugins that a test sets.
#[derive(Debug, Default)]
pub(in crate::store) struct TestPolicies {
    keys: Mutex<BTreeMap<String, KeyPolicy>>,
    told: Mutex<BTreeSet<String>>,
}

impl TestPolicies {
    /// Orders the deliveries of a plugin.
    pub(in crate::store) fn set(&self, plugin: &str, policy: KeyPolicy) {
        self.keys.lock().unwrap().insert(plugin.to_owned(), policy);
    }

    /// From now on the dead letters of a plugin are told of.
    pub(in crate::store) fn tell_of(&self, plugin: &str) {
        self.told.lock().unwrap().insert(plugin.to_owned());
    }
}

impl PluginPolicies for TestPolicies {
    fn key(&self, plugin: &str) -> Option<KeyPolicy> {
        self.keys.lock().unwrap().get(plugin).cloned()
    }

    fn tells_of_deaths(&self, plugin: &str) -> bool {
        self.told.lock().unwrap().contains(plugin)
    }
}

/// A harness of stores that keep the laws of workflows. The store in memory does not.
pub(in crate::store) trait PolicyHarness: Harness {
    /// The policies of plugins that the stores know.
    fn policies(&self) -> &Arc<TestPolicies>;
}
