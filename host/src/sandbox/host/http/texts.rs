//! Texts that a guest sets on a request. `wasmtime_wasi_http` keeps them as long as they are, and
//! so the host would hold up to `limits.call_size` for each of `limits.handles`.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest, Method, OutgoingRequest};

/// The longest name of a method, in bytes. The longest one that is registered has 17.
const MAX_METHOD_BYTES: usize = 32;

/// The longest authority, in bytes: a name of 253 and a port, and some room for what `egress`
/// refuses in words.
const MAX_AUTHORITY_BYTES: usize = 320;

/// The interface, as `wasmtime_wasi_http` links it. Under the name of an older version, guests
/// would go on calling its own functions. The guest `requests-fat` of the gallery notices that.
const INTERFACE: &str = "wasi:http/types@0.2.12";

/// The result of `set-method` and `set-authority`, which has no error code.
type SetText = wasmtime::Result<(Result<(), ()>,)>;

/// Puts functions that bound their texts in the place of those that do not.
pub(super) fn bound<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let bounded = shadow(linker);
    linker.allow_shadowing(false);
    bounded
}

fn shadow<T: WasiHttpView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let mut types = linker.instance(INTERFACE)?;
    types.func_wrap("[method]outgoing-request.set-method", set_method::<T>)?;
    types.func_wrap("[method]outgoing-request.set-authority", set_authority::<T>)
}

fn set_method<T: WasiHttpView>(
    mut store: StoreContextMut<'_, T>,
    (request, method): (Resource<OutgoingRequest>, Method),
) -> SetText {
    if matches!(&method, Method::Other(name) if name.len() > MAX_METHOD_BYTES) {
        return Ok((Err(()),));
    }
    let mut http = store.data_mut().http();
    HostOutgoingRequest::set_method(&mut http, request, method).map(|set| (set,))
}

fn set_authority<T: WasiHttpView>(
    mut store: StoreContextMut<'_, T>,
    (request, authority): (Resource<OutgoingRequest>, Option<String>),
) -> SetText {
    if authority.as_ref().is_some_and(|text| text.len() > MAX_AUTHORITY_BYTES) {
        return Ok((Err(()),));
    }
    let mut http = store.data_mut().http();
    HostOutgoingRequest::set_authority(&mut http, request, authority).map(|set| (set,))
}
