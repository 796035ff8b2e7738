//! A fresh sandbox for one event: instance, call, verdict, and everything given back.

use std::collections::BTreeMap;
use std::future::ready;
use std::rc::Rc;
use std::sync::Arc;

use hookbox::config::PluginSettings;
use hookbox::event::{Event, EventId};
use hookbox::sandbox::{
    Call, KvKeys, KvRead, KvReader, Sandbox, SandboxOptions, StepAnswer, StepRecorded, StepStore,
    StepsAnswer, Verdict,
};
use tokio::runtime::Builder;

use crate::requests::{NOW_MS, PLUGIN, Provider, repository};
use crate::stage::Stage;

/// The committed plugin, called with an event of 230 bytes.
pub(crate) fn stage() -> Stage {
    let file = repository().join("plugins").join(PLUGIN).with_extension("wasm");
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let sandbox = Sandbox::new(SandboxOptions::default()).expect("a sandbox");
    let plugin = Rc::new(sandbox.load(&bytes).expect("the committed plugin is taken"));
    let runtime = Rc::new(Builder::new_current_thread().enable_time().build().expect("a runtime"));
    let (provider, settings) = (Provider::new(), PluginSettings::default());
    let attributes = provider.event(&provider.source_runtime(), 1, 230).attributes;
    let event = Arc::new(Event {
        id: EventId::first_at(NOW_MS),
        attributes,
        parent: None,
        root: None,
        hops: 0,
        trace: None,
    });
    Box::new(move || {
        let (plugin, runtime) = (plugin.clone(), runtime.clone());
        let call = Call {
            plugin: PLUGIN.into(),
            event: event.clone(),
            attempt: 1,
            max_attempts: settings.retry.max_attempts,
            idempotency_key: "dlv_0000000000000001_0".to_owned(),
            limits: settings.limits,
            grants: settings.grants.clone(),
            config: Arc::new(BTreeMap::new()),
            kv: Arc::new(Nothing),
            steps: Arc::new(Nothing),
            path: settings.path.clone(),
            reuse: false,
            trace: None,
            is_apart: false,
        };
        Box::new(move || {
            let invocation = runtime.block_on(plugin.invoke(call));
            assert_eq!((invocation.verdict, invocation.logs.len()), (Verdict::Ok(Vec::new()), 1));
        })
    })
}

/// No key has a value.
#[derive(Debug)]
struct Nothing;

impl KvReader for Nothing {
    fn get<'a>(&'a self, _key: &'a str) -> KvRead<'a> {
        Box::pin(ready(Ok(None)))
    }

    fn keys<'a>(&'a self, _: &'a str, _: Option<&'a str>, _: usize) -> KvKeys<'a> {
        Box::pin(ready(Ok(Vec::new())))
    }
}

impl StepStore for Nothing {
    fn all(&self) -> StepsAnswer<'_> {
        Box::pin(ready(Ok(BTreeMap::new())))
    }

    fn record<'a>(&'a self, _: &'a str, _: Vec<u8>) -> StepAnswer<'a> {
        Box::pin(ready(Ok(StepRecorded::Kept)))
    }
}
