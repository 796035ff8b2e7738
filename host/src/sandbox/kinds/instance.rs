//! An instance of a plugin, of whichever kind.

use wasmtime::{Instance, InstancePre, Result, Store};
use wasmtime_wasi::p2::bindings::{Command, CommandPre};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use super::ended::Ended;
use super::{command, handler, http};
use crate::sandbox::Call;
use crate::sandbox::bindings::{Plugin, PluginPre};
use crate::sandbox::host::{AttemptState, EmittedLines};

/// A file that is linked, by how it is called.
pub(in crate::sandbox) enum EntryPoint {
    Handler(PluginPre<AttemptState>),
    Http(ProxyPre<AttemptState>),
    Command(CommandPre<AttemptState>),
    Module(InstancePre<AttemptState>),
}

/// An instance that can be called.
pub(in crate::sandbox) enum PluginInstance {
    Handler(Plugin),
    Http(Proxy),
    Command(Command, EmittedLines),
    Module(Instance, EmittedLines),
}

impl EntryPoint {
    /// Makes an instance. A command gets its event now, on its standard input.
    pub(in crate::sandbox) async fn instantiate(
        &self,
        store: &mut Store<AttemptState>,
        call: &Call,
    ) -> Result<PluginInstance> {
        Ok(match self {
            Self::Handler(entry) => PluginInstance::Handler(entry.instantiate_async(store).await?),
            Self::Http(entry) => PluginInstance::Http(entry.instantiate_async(store).await?),
            Self::Command(entry) => {
                let emitted = command::prepare(store, call);
                PluginInstance::Command(entry.instantiate_async(store).await?, emitted)
            }
            Self::Module(entry) => {
                let emitted = command::prepare(store, call);
                PluginInstance::Module(entry.instantiate_async(store).await?, emitted)
            }
        })
    }
}

impl PluginInstance {
    /// Hands it the event and waits for its answer.
    pub(in crate::sandbox) async fn call(
        &mut self,
        store: &mut Store<AttemptState>,
        call: &Call,
    ) -> Ended {
        match self {
            Self::Handler(instance) => handler::call(instance, store, call).await,
            Self::Http(proxy) => http::call(proxy, store, call).await,
            Self::Command(command, emitted) => {
                command::run_component(command, store, emitted).await
            }
            Self::Module(instance, emitted) => command::run_module(instance, store, emitted).await,
        }
    }
}
