//! Files behind links, and plugins without a file.

use std::os::unix::fs::symlink;

use super::*;
use crate::config::Routes;

#[tokio::test]
async fn a_link_that_stays_in_the_folder_is_followed_and_its_swap_taken() {
    let mut bench = Bench::new();
    for release in [1, 2] {
        fs::create_dir(bench.path(&format!("release-{release}"))).unwrap();
        bench.write(&format!("release-{release}/a.wat"), good(release));
    }
    symlink("release-1", bench.path("current")).unwrap();
    symlink("current/a.wat", bench.path("a.wat")).unwrap();
    bench.refresh().await;
    assert_eq!((bench.state("a"), bench.digest("a")), ("loaded", Some(sha(&good(1)))));
    symlink("release-2", bench.path("next")).unwrap();
    fs::rename(bench.path("next"), bench.path("current")).unwrap();
    bench.refresh().await;
    assert_eq!((bench.state("a"), bench.digest("a")), ("loaded", Some(sha(&good(2)))));
}

#[tokio::test]
async fn a_routed_plugin_is_missing_until_its_file_comes_and_whenever_it_goes() {
    let mut bench = Bench::new();
    let routes = Routes::new([("x.y", vec![Target::to("a")])], |_| false).unwrap();
    bench.registry = bench.registry.with_routed(&routes);
    bench.refresh().await;
    assert_eq!(bench.state("a"), "missing");
    assert!(bench.problem("a").contains("its deliveries wait"), "{}", bench.problem("a"));
    bench.write("a.wat", "garbage");
    bench.refresh().await;
    assert_eq!(bench.state("a"), "failed");
    fs::remove_file(bench.path("a.wat")).unwrap();
    bench.refresh().await;
    assert_eq!(bench.state("a"), "missing");
    assert!(bench.problem("a").contains("its deliveries wait"), "{}", bench.problem("a"));
    bench.write("a.wat", good(1));
    bench.refresh().await;
    assert_eq!((bench.state("a"), bench.problem("a")), ("loaded", String::new()));
    fs::remove_file(bench.path("a.wat")).unwrap();
    bench.refresh().await;
    assert!(bench.problem("a").contains("removed"), "{}", bench.problem("a"));
}
