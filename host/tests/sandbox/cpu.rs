//! Guests that compute for long: they share run slots, and a guest that does not needs none.

use super::*;

/// Loops that were started and are not waited for.
fn loops(
    plugin: &Arc<Plugin>,
    count: usize,
    timeout_ms: u64,
) -> Vec<tokio::task::JoinHandle<Invocation>> {
    let limits = Limits { timeout_ms, memory_bytes: 16 * MIB, ..Limits::default() };
    let start = |plugin: Arc<Plugin>| {
        tokio::spawn(async move { plugin.invoke(Call { limits, ..call() }).await })
    };
    (0..count).map(|_| start(plugin.clone())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_plugin_is_served_while_loops_share_the_run_slots() {
    let looping = Arc::new(guest("../hostile/loop"));
    let spinning = loops(&looping, 8, 60_000);
    let good = Arc::new(guest("ok"));
    for _ in 0..500 {
        // In a task of its own: the test itself runs on another thread than the workers.
        let good = good.clone();
        let served = tokio::spawn(async move { good.invoke(call()).await.verdict });
        assert_eq!(served.await.unwrap(), Verdict::Ok(Vec::new()));
    }
    for attempt in spinning {
        assert!(!attempt.is_finished(), "nobody had to wait for a loop to end");
        attempt.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_computes_in_bites_between_waits_has_a_limit_of_cpu_time() {
    let plugin = sandbox(1, 0).load(&crate::hostile::file("kv-bites")).unwrap();
    let limits =
        Limits { timeout_ms: 60_000, cpu_ms: 15, memory_bytes: 16 * MIB, ..Limits::default() };
    for _ in 0..2 {
        let verdict = plugin.invoke(Call { limits, ..call() }).await.verdict;
        assert!(matches!(verdict, Verdict::Timeout(_)), "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_waits_for_its_turn_ends_when_its_time_is_up() {
    let looping = Arc::new(guest("../hostile/loop"));
    // A guest that keeps on, so that those whose time is up are mostly waiting.
    let spinning = loops(&looping, 1, 60_000);
    for attempt in loops(&looping, 8, 50) {
        let verdict = attempt.await.unwrap().verdict;
        assert!(matches!(verdict, Verdict::Timeout(_)), "{verdict:?}");
    }
    assert!(!spinning[0].is_finished());
    spinning[0].abort();
}

#[tokio::test]
async fn a_cpu_bound_guest_goes_on_on_a_single_worker() {
    // Alone on a runtime of one thread: it has to yield to itself, and its run slot is free each
    // time.
    let looped = guest("../hostile/loop").invoke(short_call()).await;
    assert!(matches!(looped.verdict, Verdict::Timeout(_)), "{:?}", looped.verdict);
    let flooded = guest("../hostile/flood").invoke(call()).await;
    assert_eq!(flooded.verdict, Verdict::Ok(Vec::new()));
}

#[tokio::test]
async fn a_cpu_bound_guest_that_nobody_waits_for_gives_its_instance_back() {
    let one = sandbox(1, 0);
    let looping = Arc::new(one.load(&file("tests/hostile/loop.wat")).unwrap());
    let good = one.load(&file("tests/guests/ok.wat")).unwrap();
    // The second one needs a run slot from its start.
    for _ in 0..2 {
        let mut spinning = loops(&looping, 1, 60_000).remove(0);
        while good.invoke(call()).await.verdict != Verdict::NoCapacity {
            tokio::task::yield_now().await;
            if spinning.is_finished() {
                // The good one had the place at that moment.
                spinning = loops(&looping, 1, 60_000).remove(0);
            }
        }
        spinning.abort();
        while good.invoke(call()).await.verdict == Verdict::NoCapacity {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_kept_instance_that_computes_for_too_long_is_stopped_like_a_fresh_one() {
    let counts = String::from_utf8(file("tests/guests/count.wat")).unwrap();
    let answers = "(i64.store (i32.const 48)";
    let loops = format!(
        "(if (i64.eq (global.get $calls) (i64.const 2)) (then (loop $more (br $more)))) {answers}"
    );
    let plugin = SANDBOX.load(counts.replace(answers, &loops).as_bytes()).unwrap();
    let limits = Limits { timeout_ms: 60_000, cpu_ms: 20, ..Limits::default() };
    let warm = || Call { reuse: true, limits, ..call() };
    assert!(matches!(plugin.invoke(warm()).await.verdict, Verdict::Retry { .. }));
    let Verdict::Timeout(text) = plugin.invoke(warm()).await.verdict else { panic!("not stopped") };
    assert!(text.starts_with("it computed for more than 20 ms"), "{text}");
}
