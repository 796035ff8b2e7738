//! The list of everything that guests may import.

use std::fmt;

use wasmtime::Result;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::WasiHttpView;

use super::import::{CapabilityInfo, HostImport, Offer, Start};
use super::{config, http, kv, log, steps, types, wasi};
use crate::config::PluginSettings;
use crate::sandbox::Invocation;

/// Makes the list, and what holds the state of each entry for one attempt.
macro_rules! imports {
    ($($field:ident: $state:ty,)+) => {
        const OFFERS: &[Offer] = &[$(<$state as HostImport>::OFFER),+];

        /// The state of every import for one attempt.
        pub(in crate::sandbox) struct HostState {
            $(pub(super) $field: $state,)+
        }

        impl HostState {
            pub(super) fn begin(start: &Start<'_>) -> Self {
                Self { $($field: <$state>::begin(start),)+ }
            }

            pub(super) fn renew(&mut self, start: &Start<'_>) {
                $(self.$field.renew(start);)+
            }

            pub(super) fn record(&mut self, invocation: &mut Invocation) {
                $(self.$field.record(invocation);)+
            }

            /// Defines every import for components.
            pub(in crate::sandbox) fn link<T>(linker: &mut Linker<T>) -> Result<()>
            where
                T: AsMut<Self> + WasiView + WasiHttpView + 'static,
            {
                $(<$state>::link(linker, |data: &mut T| &mut data.as_mut().$field)?;)+
                Ok(())
            }
        }
    };
}

// Lines are recorded before requests are closed. Capabilities are shown in this order.
imports! {
    types: types::Types,
    log: log::LogImport,
    http: http::Outgoing,
    kv: kv::Overlay,
    steps: steps::Steps,
    config: config::ConfigValues,
    wasi: wasi::Wasi,
}

/// Everything that guests may import.
pub(in crate::sandbox) fn offers() -> &'static [Offer] {
    OFFERS
}

/// Something that a plugin can do beyond computing on the event that it is given, by what it
/// imports.
///
/// Nothing else that the host offers reaches out or stays: toolchains link most of WASI by
/// themselves, and behind it is nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(usize);

impl Capability {
    /// Every capability.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..OFFERS.len()).filter(|index| OFFERS[*index].capability.is_some()).map(Self)
    }

    /// The name that people see.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Reads the name that people see.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|capability| capability.name() == name)
    }

    /// The interface whose import stands for it, without a version.
    pub fn interface(self) -> &'static str {
        self.info().interface
    }

    /// Its effect, as the end of a sentence.
    pub fn lets(self) -> &'static str {
        self.info().lets
    }

    /// The configuration's grants of it, one text each; no text holds a secret.
    pub fn grants(self, settings: &PluginSettings) -> Vec<String> {
        (self.info().grants)(settings)
    }

    /// Whether the configuration grants any of it, which is of use for nothing else.
    pub fn is_granted(self, settings: &PluginSettings) -> bool {
        !self.grants(settings).is_empty()
    }

    /// A line of `[plugins.NAME]` that grants some of it: an example, because the operator knows
    /// names and hosts better.
    pub fn grant_line(self, plugin: &str) -> String {
        (self.info().line)(plugin)
    }

    fn info(self) -> &'static CapabilityInfo {
        OFFERS[self.0].capability.as_ref().expect("`all` makes only those that are one")
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_have_every_capability_and_say_what_it_lets_a_plugin_do() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text.lines().skip_while(|line| !line.starts_with("| capability |")).skip(2);
        let rows: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();
        let expected: Vec<_> = Capability::all()
            .map(|it| format!("| `{it}` | `{}` | {} |", it.interface(), it.lets()))
            .collect();
        assert_eq!(rows, expected, "the table in docs/operations.md is the list");
    }

    #[test]
    fn a_capability_has_a_name_of_its_own() {
        for capability in Capability::all() {
            assert_eq!(Capability::from_name(capability.name()), Some(capability));
        }
        assert_eq!(Capability::from_name("everything"), None);
    }
}
