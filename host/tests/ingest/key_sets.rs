//! Sets of keys by address: one that never ends, and one that another host gives.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hookbox::config::{Config, Source};
use hookbox::ingest::KeyFetcher;

use super::host::{Host, Options, request};
use super::keys::{PROVIDER, ok, stand_in_named};
use super::providers::ProviderVector;

/// A source of fal, whose keys are in a set at a fixed address.
fn fal() -> (ProviderVector, Source) {
    let mut all = ProviderVector::all().into_iter();
    let vector = all.find(|it| it.preset == "fal" && it.expect == "accept").expect("there is one");
    let source = Source { name: "fal".into(), ..Source::clone(&vector.source()) };
    (vector, source)
}

async fn posted_to_fal(keys: KeyFetcher) -> (u16, usize) {
    let (vector, source) = fal();
    let now_s = vector.now_ms() / 1_000;
    let options = Options { sources: vec![source], keys, now_s, ..Options::default() };
    let host = Host::start(options).await;
    let headers: Vec<_> = vector.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let sent = request("POST", "/webhook/fal", &headers, &vector.body());
    (host.exchange(sent).await.status, host.events().await.len())
}

#[tokio::test]
async fn a_set_of_keys_that_never_ends_is_read_no_further_than_its_limit() {
    const FAL: &str = "rest.alpha.fal.ai";
    let keys = fal().0.params["jwks"].to_string();
    let (whole, _) = stand_in_named(FAL, ok(&keys), false).await;
    assert_eq!(posted_to_fal(whole).await, (200, 1));
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    for begun in [keys.as_str(), r#"{"keys":["#] {
        let (endless, connections) =
            stand_in_named(FAL, format!("{head}{begun}").into_bytes(), true).await;
        assert_eq!(posted_to_fal(endless).await, (503, 0));
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_host_with_the_certificate_of_another_one_is_not_believed() {
    let keys = fal().0.params["jwks"].to_string();
    for name in ["fal.ai", "rest.alpha.fal.ai.evil.example", PROVIDER] {
        let (other, connections) = stand_in_named(name, ok(&keys), false).await;
        assert_eq!(posted_to_fal(other).await, (503, 0), "{name}");
        assert_eq!(connections.load(Ordering::Relaxed), 1, "it was asked");
    }
}

#[tokio::test]
async fn a_key_that_was_fetched_is_kept_when_the_configuration_is_read_again() {
    const FAL: &str = "rest.alpha.fal.ai";
    let (vector, source) = fal();
    let jwks = vector.params["jwks"].to_string();
    let (keys, connections) = stand_in_named(FAL, ok(&jwks), false).await;
    let now_s = vector.now_ms() / 1_000;
    let options = Options { sources: vec![source], keys, now_s, ..Options::default() };
    let host = Host::start(options).await;
    let headers: Vec<_> = vector.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let sent = request("POST", "/webhook/fal", &headers, &vector.body());
    assert_eq!(host.exchange(&sent).await.status, 200);
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    host.config.store(Arc::new(Config::clone(&host.config.load())));
    assert_eq!(host.exchange(&sent).await.status, 200);
    assert_eq!(connections.load(Ordering::Relaxed), 1, "nobody was asked again");
}
