//! `hookbox:plugin/types`: the nouns of the other interfaces. It has no functions.

use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker};

use super::import::{HostImport, Offer, Start};
use crate::sandbox::bindings::hookbox::plugin::types;

/// Nothing.
pub(super) struct Types;

impl HostImport for Types {
    const OFFER: Offer = Offer {
        interfaces: &["hookbox:plugin/types"],
        version: "0.1.",
        shown: "",
        capability: None,
    };

    fn begin(_: &Start<'_>) -> Self {
        Self
    }

    fn link<T: 'static>(linker: &mut Linker<T>, of: fn(&mut T) -> &mut Self) -> Result<()> {
        types::add_to_linker::<T, HasSelf<Self>>(linker, of)
    }
}

impl types::Host for Types {}
