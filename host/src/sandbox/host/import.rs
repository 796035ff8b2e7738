//! The interface of an import that the host offers.

use std::time::Instant;

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::WasiHttpView;

use super::guest_log::GuestLog;
use crate::config::PluginSettings;
use crate::egress::Egress;
use crate::sandbox::{Call, Invocation};

/// Something that guests may import. The implementing type is what it holds for one attempt.
pub(super) trait HostImport: Sized + Send + 'static {
    /// Its texts, for plugins that import it and for people.
    const OFFER: Offer;

    /// Begins the first attempt of a store.
    fn begin(start: &Start<'_>) -> Self;

    /// Begins another attempt in the same store.
    fn renew(&mut self, start: &Start<'_>) {
        *self = Self::begin(start);
    }

    /// Defines its functions; `of` finds its state in that of the store.
    fn link<T>(linker: &mut Linker<T>, of: fn(&mut T) -> &mut Self) -> Result<()>
    where
        T: WasiView + WasiHttpView + 'static;

    /// Adds what is to be known of the attempt. Called once, when it has ended.
    fn record(&mut self, _: &mut Invocation) {}
}

/// The input of an attempt that imports need.
pub(in crate::sandbox) struct Start<'a> {
    pub(in crate::sandbox) call: &'a Call,
    pub(in crate::sandbox) egress: &'a Egress,
    pub(in crate::sandbox) deadline: Instant,
    /// Takes the lines of the attempt.
    pub(in crate::sandbox) log: &'a GuestLog,
}

/// An import, described.
#[derive(Debug)]
pub(in crate::sandbox) struct Offer {
    /// Names of interfaces without their version. A name that ends with `/` stands for a package.
    pub(in crate::sandbox) interfaces: &'static [&'static str],
    /// How the versions that are offered begin.
    pub(in crate::sandbox) version: &'static str,
    /// Its name in the refusal of an unknown import; empty if the refusal does not mention it.
    pub(in crate::sandbox) shown: &'static str,
    /// Whether importing it is something that an operator has to know of.
    pub(in crate::sandbox) capability: Option<CapabilityInfo>,
}

/// A capability, described.
#[derive(Debug)]
pub(in crate::sandbox) struct CapabilityInfo {
    /// The name that people see.
    pub(in crate::sandbox) name: &'static str,
    /// The interface whose import stands for it, without its version.
    pub(in crate::sandbox) interface: &'static str,
    /// Its effect, as `docs/operations.md` says it.
    pub(in crate::sandbox) lets: &'static str,
    /// The configuration's grants of it, one text each, without any secret.
    pub(in crate::sandbox) grants: fn(&PluginSettings) -> Vec<String>,
    /// A line of `[plugins.NAME]` that grants some of it, for the plugin of this name.
    pub(in crate::sandbox) line: fn(&str) -> String,
}
