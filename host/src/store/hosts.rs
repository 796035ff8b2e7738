//! The trait for the hosts that share a store.

use std::collections::BTreeMap;

use super::{HostView, Pending, SealedSecret, SecretMark};
use crate::event::{Digest, PluginName};

/// Lists the hosts that share a store. A store of a single host lists none.
pub trait Hosts: Send + Sync + std::fmt::Debug {
    /// The hosts that are registered, by slot.
    fn hosts(&self) -> Pending<'_, Vec<HostView>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Where an event is when it is acknowledged, for people; none if it is this host's own disk.
    fn promise(&self) -> Option<String> {
        None
    }

    /// Notes which files run on this host, for the others' lists.
    fn note_plugins(&self, _: BTreeMap<PluginName, Digest>) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// The secrets that hosts share, by name. The versions in `seen` come without their content.
    fn sealed_secrets(&self, _seen: Vec<SecretMark>) -> Pending<'_, Vec<SealedSecret>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Keeps a version of a secret in the place of the version `before`, or of none if that is 0.
    /// False if another version is there, which stays.
    fn keep_secret(&self, _secret: SealedSecret, _before: i64) -> Pending<'_, bool> {
        Box::pin(async { Ok(false) })
    }
}
