//! Calls of plugins, and the key-value stores that they read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hookbox::config::Limits;
use hookbox::event::Event;
use hookbox::sandbox::{
    Call, Invocation, KvKeys, KvRead, KvReader, StepAnswer, StepRecorded, StepStore, StepsAnswer,
};

use super::event;

/// A call with an event that has nothing to say, and limits that no test reaches unless it sets out
/// to.
pub(crate) fn call() -> Call {
    call_with(event("avatar_video.success", "{}"))
}

/// The same call with this event.
pub(crate) fn call_with(event: Event) -> Call {
    Call {
        plugin: "guest".into(),
        event: Arc::new(event),
        attempt: 1,
        max_attempts: 8,
        idempotency_key: "dlv_0000000000000001_0".to_owned(),
        limits: Limits { timeout_ms: 60_000, memory_bytes: 16 << 20, ..Limits::default() },
        grants: Arc::default(),
        config: Arc::default(),
        kv: Arc::new(Kv::Holds(BTreeMap::new())),
        steps: Arc::new(KeptSteps::default()),
        path: "/".into(),
        reuse: false,
        trace: None,
        is_apart: false,
    }
}

/// The log of an attempt, as `level: message`.
pub(crate) fn log(invocation: &Invocation) -> Vec<String> {
    invocation.logs.iter().map(|line| format!("{}: {}", line.level, line.message)).collect()
}

/// A plugin's own key-value store, as a test needs it.
#[derive(Debug)]
pub(crate) enum Kv {
    /// Has these values: key, value and when it was written.
    Holds(BTreeMap<String, (Vec<u8>, i64)>),
    /// Has nothing, and says so after so many polls.
    Slow(usize),
    Silent,
    Broken,
    Panics,
}

impl KvReader for Kv {
    fn get<'a>(&'a self, key: &'a str) -> KvRead<'a> {
        Box::pin(async move {
            match self {
                Self::Holds(values) => Ok(values.get(key).cloned()),
                Self::Slow(polls) => {
                    for _ in 0..*polls {
                        tokio::task::yield_now().await;
                    }
                    Ok(None)
                }
                Self::Silent => std::future::pending().await,
                Self::Broken => Err("the disk is gone".to_owned()),
                Self::Panics => panic!("the host has a bug"),
            }
        })
    }

    fn keys<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> KvKeys<'a> {
        let Self::Holds(values) = self else {
            return Box::pin(async { Err("the disk is gone".to_owned()) });
        };
        let meant = values.keys().filter(|key| {
            key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after)
        });
        let keys = meant.take(limit).cloned().collect();
        Box::pin(async move { Ok(keys) })
    }
}

/// The steps of one delivery, from attempt to attempt.
#[derive(Debug, Default)]
pub(crate) struct KeptSteps(pub(crate) Mutex<BTreeMap<String, Vec<u8>>>);

impl StepStore for KeptSteps {
    fn all(&self) -> StepsAnswer<'_> {
        let all = self.0.lock().unwrap().clone();
        Box::pin(async move { Ok(all) })
    }

    fn record<'a>(&'a self, name: &'a str, value: Vec<u8>) -> StepAnswer<'a> {
        self.0.lock().unwrap().insert(name.to_owned(), value);
        Box::pin(async { Ok(StepRecorded::Kept) })
    }
}
