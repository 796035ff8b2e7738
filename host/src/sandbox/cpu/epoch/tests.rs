//! When the thread sleeps, and what wakes it.

use super::*;

fn wait_until(state: impl Fn() -> bool) {
    while !state() {
        thread::yield_now();
    }
}

#[test]
fn it_sleeps_while_nothing_runs_and_wakes_for_an_attempt() {
    let epoch = Epoch::start(Engine::default()).unwrap();
    for _ in 0..2 {
        wait_until(|| epoch.shared.asleep.load(SeqCst));
        let first = epoch.hold();
        let second = epoch.hold();
        assert!(!epoch.shared.asleep.load(SeqCst));
        drop(first);
        assert_eq!(epoch.shared.running.load(SeqCst), 1);
        drop(second);
    }
    let shared = Arc::clone(&epoch.shared);
    drop(epoch);
    assert_eq!(Arc::strong_count(&shared), 1, "its thread has ended");
}
