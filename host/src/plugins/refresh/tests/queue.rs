//! The order in which files are compiled.

use super::*;

#[tokio::test]
async fn a_small_file_does_not_wait_for_a_large_one_and_the_smallest_is_next() {
    let mut bench = Bench::new();
    let padded = |mark: u32, mib: usize| good(mark) + &" ".repeat(mib << 20);
    bench.write("a-largest.wat", padded(1, 3));
    bench.write("b-large.wat", padded(2, 2));
    bench.write("c-small.wat", good(30));
    bench.write("d-smallest.wat", good(4));
    bench.once().await;
    assert_eq!(bench.queue.compiling(), ["b-large", "d-smallest"]);
    for name in ["a-largest", "b-large", "c-small", "d-smallest"] {
        assert_eq!(bench.state(name), "compiling");
    }
    // A file that goes makes room for the next one.
    fs::remove_file(bench.path("b-large.wat")).unwrap();
    while bench.queue.compiling().contains(&"b-large") {
        bench.once().await;
    }
    bench.refresh().await;
    assert_eq!(
        (bench.state("a-largest"), bench.state("c-small"), bench.state("b-large")),
        ("loaded", "loaded", "unknown")
    );
}

#[tokio::test]
async fn plugins_that_are_routed_are_compiled_before_others() {
    let mut bench = Bench::new();
    bench.write("a-smallest.wat", good(1));
    bench.write("b-routed.wat", good(20));
    let routes = Routes::new([("x.y", vec![Target::to("b-routed")])], |_| false).unwrap();
    bench.registry = bench.registry.with_routed(&routes);
    bench.once().await;
    assert_eq!(bench.queue.compiling(), ["b-routed"]);
}

#[tokio::test]
async fn a_plugin_whose_file_changes_all_the_time_leaves_the_compiler_to_the_others() {
    let mut bench = Bench::new();
    bench.write("a-restless.wat", good(1));
    bench.write("b-larger.wat", good(20));
    bench.write("c-largest.wat", good(300));
    bench.once().await;
    assert_eq!(bench.queue.compiling(), ["a-restless"]);
    // Each time the file changes that is at work.
    let mut served = Vec::new();
    for mark in 2..4 {
        let at_work = bench.queue.compiling()[0].to_owned();
        bench.write(&format!("{at_work}.wat"), good(mark));
        bench.once().await;
        served.extend(bench.queue.compiling().into_iter().map(str::to_owned));
    }
    assert_eq!(served, ["b-larger", "c-largest"]);
}

#[tokio::test]
async fn one_plugin_never_takes_both_places_for_compiling() {
    let mut bench = Bench::new();
    bench.write("a.wat", good(1) + &" ".repeat(2 << 20));
    bench.once().await;
    assert_eq!(bench.queue.compiling(), ["a"]);
    // A small file in place of the large one goes into the other line, and leaves the first one to
    // others.
    bench.write("a.wat", good(2));
    bench.write("b.wat", good(3) + &" ".repeat(2 << 20));
    bench.once().await;
    assert_eq!(bench.queue.compiling(), ["a", "b"]);
    // Two files of one name are none.
    bench.write("a.wasm", good(4));
    bench.once().await;
    assert!(!bench.queue.compiling().contains(&"a"));
    assert_eq!(bench.state("a"), "failed");
}
