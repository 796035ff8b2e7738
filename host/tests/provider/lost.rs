//! Registrations whose answers are lost, which others have removed, or which would lose a secret.

use super::{config, kept, provider, site};
use crate::support::{HeyGen, Site};

const URL: &str = "https://hooks.example.com/webhook/heygen";

/// A source that is registered as `ep_1`.
fn registered(heygen: &HeyGen) -> Site {
    heygen.takes_any_address();
    let site = site(heygen, "public_url = \"https://hooks.example.com\"");
    provider(&site, &["register"]).said();
    site
}

#[test]
fn a_change_whose_answer_never_came_is_made_again_and_has_one_effect() {
    let heygen = HeyGen::start();
    heygen.takes_any_address();
    let site = site(&heygen, "public_url = \"https://hooks.example.com\"");
    heygen.lose_an_answer();
    provider(&site, &["register"]).said();
    assert_eq!(heygen.endpoints(), ["ep_1"]);
    assert_eq!(kept(&site).unwrap()["secrets"][0]["secret"], heygen.secret());
    heygen.lose_an_answer();
    provider(&site, &["rotate"]).said();
    assert_eq!(kept(&site).unwrap()["secrets"][0]["secret"], heygen.secret());
    heygen.lose_an_answer();
    provider(&site, &["delete"]).said();
    assert_eq!((heygen.endpoints().len(), kept(&site)), (0, None));
}

#[test]
fn a_change_whose_answers_are_all_lost_says_how_to_go_on() {
    let heygen = HeyGen::start();
    let site = registered(&heygen);
    for _ in 0..3 {
        heygen.lose_an_answer();
    }
    let lost = provider(&site, &["rotate"]);
    assert!(lost.code == 1 && lost.err.contains("rotate once more"), "{lost:?}");
    let calls = heygen.requests().iter().filter(|call| call.contains("rotate-secret")).count();
    assert_eq!(calls, 3);
    provider(&site, &["rotate"]).said();
    assert_eq!(kept(&site).unwrap()["secrets"][0]["secret"], heygen.secret());
}

#[test]
fn the_secret_of_a_registration_is_not_overwritten_by_that_of_another_endpoint() {
    let heygen = HeyGen::start();
    let site = registered(&heygen);
    let before = kept(&site).unwrap();
    let other = heygen.add(URL);
    for more in [&[][..], &["--dry-run"]] {
        let refused = provider(&site, &[&["rotate", "--endpoint", &other], more].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.err.contains("is registered already, as ep_1"), "{refused:?}");
        assert!(refused.err.contains("`hookbox provider heygen delete`"), "{refused:?}");
    }
    assert_eq!(kept(&site).unwrap(), before);
    assert!(!heygen.requests().iter().any(|call| call.contains("rotate-secret")));
    // Its own id may be named, and another endpoint may be removed.
    provider(&site, &["rotate", "--endpoint", "ep_1"]).said();
    provider(&site, &["delete", "--endpoint", &other]).said();
    assert_eq!(heygen.endpoints(), ["ep_1"]);
    assert_eq!(kept(&site).unwrap()["secrets"][0]["secret"], heygen.secret());
}

#[test]
fn an_endpoint_that_is_gone_counts_as_deleted_in_both_generations() {
    for generation in ["v3", "v1"] {
        let heygen = HeyGen::start();
        let site = registered(&heygen);
        let more =
            format!("public_url = \"https://hooks.example.com\"\napi_version = \"{generation}\"");
        site.put_config(&config(&heygen, &more));
        heygen.remove("ep_1");
        let unknown = provider(&site, &["delete", "--endpoint", "ep_9"]);
        assert!(unknown.code == 1 && kept(&site).is_some(), "{unknown:?}");
        let deleted = provider(&site, &["delete"]);
        assert!(deleted.out.starts_with("deleted ep_1"), "{generation}: {deleted:?}");
        assert_eq!((deleted.code, kept(&site)), (0, None));
        provider(&site, &["register"]).said();
        assert_eq!(heygen.endpoints().len(), 1);
    }
}

#[test]
fn a_refusal_to_delete_what_is_there_leaves_the_secret_alone() {
    let heygen = HeyGen::start();
    let site = registered(&heygen);
    for status in [400, 404] {
        heygen.fail(status, "", false);
        let refused = provider(&site, &["delete"]);
        assert!(refused.code == 1 && kept(&site).is_some(), "{refused:?}");
    }
    assert_eq!(heygen.endpoints(), ["ep_1"]);
}

#[test]
fn a_secret_that_another_hosts_took_the_place_of_is_deleted_with_its_endpoint() {
    let heygen = HeyGen::start();
    let site = registered(&heygen);
    let replaced = |name: &str| site.path(&format!("data/secrets/{name}.registered.replaced"));
    for name in ["heygen", "other"] {
        site.put(&format!("data/secrets/{name}.registered.replaced"), "an older secret");
    }
    heygen.fail(400, "", false);
    assert_eq!(provider(&site, &["delete"]).code, 1);
    assert!(replaced("heygen").exists(), "it is registered as before");
    provider(&site, &["delete"]).said();
    assert_eq!((heygen.endpoints().len(), kept(&site)), (0, None));
    assert!(!replaced("heygen").exists() && replaced("other").exists());
}
