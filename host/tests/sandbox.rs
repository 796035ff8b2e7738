//! The sandbox with guests of every kind: good ones, broken ones and some hostile ones. Each ends
//! as its own outcome within its limit. The gallery of hostile ones is in `hostile.rs`.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use hookbox::config::Limits;
use hookbox::sandbox::{
    Call, Contract, Emitted, Invocation, LoadError, Plugin, Sandbox, SandboxOptions, Verdict,
};

use crate::support::{KeptSteps, Kv, call, call_with, event, file, log};

mod compiling;
mod cpu;
mod examples;
mod kinds;
mod loading;

const MIB: usize = 1 << 20;

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| sandbox(32, 4));

fn sandbox(max_instances: u32, max_warm: u32) -> Sandbox {
    let options = SandboxOptions { max_instances, max_warm, ..SandboxOptions::default() };
    Sandbox::new(options).expect("an engine and its pool")
}

fn guest(name: &str) -> Plugin {
    SANDBOX
        .load(&file(&format!("tests/guests/{name}.wat")))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn refusal(bytes: &[u8]) -> String {
    SANDBOX.load(bytes).expect_err("this file should be refused").to_string()
}

/// A call whose time is soon up.
fn short_call() -> Call {
    let limits = Limits { timeout_ms: 50, memory_bytes: 16 * MIB, ..Limits::default() };
    Call { limits, ..call() }
}

async fn invoke(name: &str, call: Call) -> Invocation {
    guest(name).invoke(call).await
}

#[tokio::test]
async fn a_handler_succeeds_with_nothing_to_say() {
    let plugin = guest("ok");
    assert_eq!(
        (plugin.contract(), plugin.contract().to_string().as_str()),
        (Contract::Handler, "handler")
    );
    assert_eq!(plugin.interface_version(), "0.1.0");
    assert_eq!(plugin.imports(), ["hookbox:plugin/types@0.1.0"]);
    let done = plugin.invoke(call()).await;
    assert_eq!(done.verdict, Verdict::Ok(Vec::new()));
    assert_eq!((done.logs.len(), done.kv_reads.len(), done.kv_writes.len()), (0, 0, 0));
    assert_eq!(done.memory_peak_bytes, 2 << 16);
    assert!(done.duration_us > 0);
}

#[tokio::test]
async fn a_body_reaches_the_guest_and_comes_back_byte_for_byte() {
    let body = "{\"a\": 1}\r\n\u{0}é".repeat(10_000);
    let done = invoke("emit", call_with(event("a", &body))).await;
    let expected = Emitted {
        kind: "guest.echoed".to_owned(),
        subject: Some("order_1".to_owned()),
        content_type: Some("application/json".to_owned()),
        data: body.into_bytes(),
        delay_ms: 20,
    };
    assert_eq!(done.verdict, Verdict::Ok(vec![expected]));
}

#[tokio::test]
async fn a_handler_asks_for_a_retry_or_rejects() {
    let retry =
        |after_ms| Verdict::Retry { reason: "not today".to_owned(), after_ms: Some(after_ms) };
    assert_eq!(invoke("retry", call()).await.verdict, retry(1500));
    assert_eq!(invoke("retry-once", call()).await.verdict, retry(1));
    assert_eq!(
        invoke("retry-once", Call { attempt: 2, ..call() }).await.verdict,
        Verdict::Ok(Vec::new())
    );
    let rejected = Verdict::Reject("no such order\\n\\u{1b}[31m".to_owned());
    assert_eq!(
        invoke("reject", call()).await.verdict,
        rejected,
        "what acts on a terminal is escaped"
    );
}

#[tokio::test]
async fn a_trap_names_what_happened_and_where() {
    let trap = |text: &str| Verdict::Trap(text.to_owned());
    assert_eq!(
        invoke("../hostile/trap", call()).await.verdict,
        trap("wasm `unreachable` instruction executed (in handle)")
    );
    let Verdict::Trap(text) = invoke("../hostile/recursion", call()).await.verdict else {
        panic!("no trap")
    };
    assert_eq!(
        text,
        "call stack exhausted; `server.plugin_stack` sets how deep it may go (in deeper < deeper < deeper < deeper)"
    );
    let Verdict::Trap(text) = invoke("../hostile/bad-utf8", call()).await.verdict else {
        panic!("no trap")
    };
    assert!(text.contains("utf-8"), "{text}");
    let exited = trap("the handler exited with code 0 instead of returning");
    assert_eq!(invoke("../hostile/exit", call()).await.verdict, exited);
}

#[tokio::test]
async fn a_guest_that_does_not_end_is_stopped_wherever_it_is() {
    for name in ["loop", "loop-start", "loop-realloc", "loop-post-return"] {
        let stopped = invoke(&format!("../hostile/{name}"), short_call()).await;
        let Verdict::Timeout(text) = stopped.verdict else {
            panic!("{name}: {:?}", stopped.verdict)
        };
        assert!(text.contains("within 50 ms") && text.contains("`timeout`"), "{text}");
    }
    let waiting = Call { kv: Arc::new(Kv::Silent), ..short_call() };
    assert!(
        matches!(invoke("kv", waiting).await.verdict, Verdict::Timeout(_)),
        "a guest that waits in the host"
    );
}

#[tokio::test]
async fn memory_is_limited_over_all_memories_and_tables() {
    for name in ["memory", "memories", "memory-start"] {
        let stopped = invoke(&format!("../hostile/{name}"), call()).await;
        let Verdict::Memory(text) = stopped.verdict else {
            panic!("{name}: {:?}", stopped.verdict)
        };
        assert!(text.contains("16.0 MiB") && text.contains("`memory`"), "{text}");
        assert!(stopped.memory_peak_bytes <= 16 * MIB, "{name}: {}", stopped.memory_peak_bytes);
    }
    let small = Limits { timeout_ms: 60_000, memory_bytes: 2 << 16 | 50_000, ..Limits::default() };
    let stopped = invoke("../hostile/tables", Call { limits: small, ..call() }).await;
    assert!(matches!(stopped.verdict, Verdict::Memory(_)), "{:?}", stopped.verdict);
}

#[tokio::test]
async fn a_guest_that_lives_with_a_refusal_of_memory_is_not_held_to_it() {
    let done = invoke("memory-refused", call()).await;
    assert_eq!(done.verdict, Verdict::Ok(Vec::new()));
    assert!(done.memory_peak_bytes > 15 * MIB);
}

#[tokio::test]
async fn one_memory_has_a_limit_that_no_setting_raises() {
    let limits = Limits { timeout_ms: 60_000, memory_bytes: 1024 * MIB, ..Limits::default() };
    let stopped = invoke("../hostile/memory", Call { limits, ..call() }).await;
    let Verdict::Memory(text) = stopped.verdict else { panic!("{:?}", stopped.verdict) };
    assert!(text.contains("256.0 MiB"), "{text}");
}

#[tokio::test]
async fn a_hundred_megabytes_of_log_cost_nothing() {
    let done = invoke("../hostile/flood", call()).await;
    assert_eq!(done.verdict, Verdict::Ok(Vec::new()));
    let bytes: usize = done.logs.iter().map(|line| line.message.len()).sum();
    assert!(bytes <= (64 << 10) + 200, "{bytes}");
    assert!(
        log(&done)
            .last()
            .is_some_and(|line| line.starts_with("warn: the rest of the log was dropped"))
    );
}

#[tokio::test]
async fn what_a_handler_returns_is_limited() {
    let refused = invoke("../hostile/giant-list", call()).await;
    assert_eq!(
        refused.verdict,
        over("passed more than 4.0 MiB to the host in one call", "limits.call_size")
    );
    let refused = invoke("../hostile/emit-reserved", call()).await;
    let Verdict::Error(text) = refused.verdict else { panic!("{:?}", refused.verdict) };
    assert!(text.contains("`hookbox.forged`") && text.contains("the host's own prefix"), "{text}");
}

/// The text about a guest that exceeded a limit.
fn over(what: &str, key: &str) -> Verdict {
    Verdict::Error(format!(
        "the handler {what}; `{key}` under its [plugins] section sets the limit"
    ))
}

#[tokio::test]
async fn a_guest_that_computes_for_longer_than_it_may_is_stopped_before_its_time_is_up() {
    let limits = Limits { timeout_ms: 60_000, cpu_ms: 20, ..Limits::default() };
    let stopped = invoke("../hostile/loop", Call { limits, ..call() }).await;
    let text =
        "it computed for more than 20 ms; `limits.cpu` under its [plugins] section sets the limit";
    assert_eq!(stopped.verdict, Verdict::Timeout(text.to_owned()));
    let waits = Call {
        kv: Arc::new(Kv::Silent),
        limits: Limits { timeout_ms: 50, cpu_ms: 20, ..limits },
        ..call()
    };
    let Verdict::Timeout(text) = invoke("kv", waits).await.verdict else { panic!("not stopped") };
    assert!(text.starts_with("it did not finish within 50 ms"), "waiting is not computing: {text}");
}

#[tokio::test]
async fn handles_are_limited() {
    let stopped = invoke("../hostile/handles", call()).await;
    assert_eq!(stopped.verdict, over("held more than 1000 resources at once", "limits.handles"));
}

#[tokio::test]
async fn an_instance_finds_nothing_of_the_one_before() {
    let one = sandbox(1, 0);
    let plugin = one.load(&file("tests/guests/residue.wat")).unwrap();
    for _ in 0..20 {
        assert_eq!(plugin.invoke(call()).await.verdict, Verdict::Ok(Vec::new()));
    }
}

#[tokio::test]
async fn random_bytes_are_limited_in_one_call() {
    let stopped = invoke("../hostile/random", call()).await;
    assert_eq!(
        stopped.verdict,
        over("asked for more than 65536 random bytes in one call", "limits.random_size")
    );
}

#[tokio::test]
async fn config_is_what_the_operator_wrote() {
    let config = Arc::new(BTreeMap::from([("greeting".to_owned(), "good\nmorning".to_owned())]));
    let done = invoke("config", Call { config, ..call() }).await;
    assert_eq!(
        (done.verdict.clone(), log(&done)),
        (Verdict::Ok(Vec::new()), vec!["info: good\\nmorning".to_owned()])
    );
    assert_eq!(invoke("config", call()).await.verdict, Verdict::Reject(String::new()));
}

#[tokio::test]
async fn standard_error_is_a_log() {
    let done = invoke("print", call()).await;
    assert_eq!(
        (done.verdict.clone(), log(&done)),
        (Verdict::Ok(Vec::new()), vec!["warn: first".into(), "warn: second".into()])
    );
}

#[tokio::test]
async fn values_are_read_with_their_version_and_written_by_the_settlement() {
    let done = invoke("kv", call()).await;
    assert_eq!(done.verdict, Verdict::Ok(Vec::new()));
    assert_eq!(done.kv_reads, [("seen".to_owned(), None)]);
    assert_eq!(
        done.kv_writes,
        [("old".to_owned(), None), ("seen".to_owned(), Some(b"x".to_vec()))]
    );
    let values = BTreeMap::from([("seen".to_owned(), (b"xxx".to_vec(), 41))]);
    let done = invoke("kv", Call { kv: Arc::new(Kv::Holds(values)), ..call() }).await;
    assert_eq!(done.kv_reads, [("seen".to_owned(), Some(41))]);
    assert_eq!(done.kv_writes[1], ("seen".to_owned(), Some(b"xxxx".to_vec())));
}

#[tokio::test]
async fn a_store_that_fails_is_an_error_to_the_guest_and_a_panic_is_one_to_the_attempt() {
    let failed = invoke("kv", Call { kv: Arc::new(Kv::Broken), ..call() }).await;
    assert!(
        matches!(failed.verdict, Verdict::Trap(_)),
        "this guest traps on it: {:?}",
        failed.verdict
    );
    let failed = invoke("kv", Call { kv: Arc::new(Kv::Panics), ..call() }).await;
    assert_eq!(failed.verdict, Verdict::Error("host fault: the host has a bug".to_owned()));
    assert_eq!(invoke("kv", call()).await.verdict, Verdict::Ok(Vec::new()), "the host goes on");
}

#[tokio::test]
async fn a_step_is_recorded_once_and_recalled_by_the_next_call() {
    let steps = Arc::new(KeptSteps::default());
    let plugin = guest("poll");
    assert_eq!(plugin.interface_version(), "0.1.1");
    assert_eq!(plugin.capabilities().len(), 0, "a step reaches only its own delivery");
    let first = plugin.invoke(Call { steps: steps.clone(), ..call() }).await;
    assert_eq!(
        (first.verdict, first.again),
        (Verdict::Ok(vec![]), Some(Duration::from_millis(20)))
    );
    assert_eq!((&*first.steps[0].name, first.steps[0].bytes), ("charge", 4));
    assert!(first.steps[0].recorded_after_ms.is_some());
    assert_eq!(steps.0.lock().unwrap()["charge"], b"paid");
    let second = plugin.invoke(Call { steps, ..call() }).await;
    assert_eq!(second.again, None);
    assert!(matches!(&second.verdict, Verdict::Ok(emitted) if emitted.len() == 1), "{second:?}");
    assert_eq!(second.steps[0].recorded_after_ms, None, "it was recalled");
}

#[tokio::test]
async fn a_warm_instance_knows_nothing_of_the_steps_of_another_delivery() {
    let one = sandbox(1, 1);
    let plugin = one.load(&file("tests/guests/poll.wat")).unwrap();
    for _ in 0..3 {
        let done = plugin.invoke(Call { reuse: true, ..call() }).await;
        assert!(done.again.is_some() && done.steps.len() == 1, "{done:?}");
    }
}

/// Polls once.
async fn is_pending(attempt: &mut (impl Future + Unpin)) -> bool {
    let mut attempt = Pin::new(attempt);
    poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx).is_pending())).await
}

#[tokio::test]
async fn a_full_pool_is_no_fault_of_the_attempt() {
    let one = sandbox(1, 0);
    let plugin = one.load(&file("tests/guests/kv.wat")).unwrap();
    let mut holder = pin!(plugin.invoke(Call { kv: Arc::new(Kv::Silent), ..call() }));
    assert!(is_pending(&mut holder).await);
    assert_eq!(plugin.invoke(call()).await.verdict, Verdict::NoCapacity);
}

#[tokio::test]
async fn an_attempt_can_be_dropped_at_any_point() {
    let one = sandbox(1, 0);
    let plugin = one.load(&file("tests/guests/kv.wat")).unwrap();
    for polls in 0..6 {
        let mut attempt = Box::pin(plugin.invoke(Call { kv: Arc::new(Kv::Slow(10)), ..call() }));
        for _ in 0..polls {
            assert!(is_pending(&mut attempt).await);
        }
        drop(attempt);
        // At once, unless it has become busy.
        let verdict = loop {
            let verdict = plugin.invoke(call()).await.verdict;
            if verdict != Verdict::NoCapacity {
                break verdict;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(verdict, Verdict::Ok(Vec::new()), "its place is free again");
    }
}
