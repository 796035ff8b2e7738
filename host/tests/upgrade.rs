//! A data folder that a host of the last version has left: taken along whole, once.

use std::fs;

use serde_json::json;

use crate::support::{Host, ROUTE, SOURCE, Site};

mod under_load;

/// The file that ran last.
const RAN: &str = include_str!("upgrade/ran.wat");

/// Its digest.
const RAN_DIGEST: &str = "da9cb12c3af38d64d6e0b2f84c661227e73e5254008a96fa49a7aa9fb7501c86";

/// A file of machine code.
const CODE: &str = "key.da9cb12c3af38d64d6e0b2f84c661227e73e5254008a96fa49a7aa9fb7501c86";

/// A site as a host of schema version 5 left it that had handled two events, and held a newer file
/// of its plugin.
fn left_by_version_5() -> Site {
    let import = "(component (import \"hookbox:plugin/kv@0.1.0\" (instance))";
    let held = RAN.replacen("(component", import, 1);
    let site = Site::of_worker(held.as_bytes(), "");
    for folder in ["data", "data/approved", "data/cache"] {
        fs::create_dir(site.path(folder)).unwrap();
    }
    let store = rusqlite::Connection::open(site.path("data/hookbox.db")).unwrap();
    store.execute_batch(include_str!("upgrade/store.sql")).unwrap();
    fs::write(site.path("data/approved/worker.json"), include_str!("upgrade/worker.json")).unwrap();
    fs::write(site.path("data/approved").join(format!("worker.{RAN_DIGEST}")), RAN).unwrap();
    fs::write(site.path("data/cache").join(CODE), "of another version").unwrap();
    site
}

#[test]
fn a_data_folder_of_the_last_version_is_taken_along_with_what_was_approved() {
    let site = left_by_version_5();
    for start in 1..=2 {
        let host = Host::start(&site);
        let worker = host.until_plugin("worker", "held");
        assert_eq!(worker["digest"], RAN_DIGEST, "what ran last goes on");
        assert_eq!(worker["held"]["capabilities_added"], json!(["kv"]));
        host.send("step.one", format!("key_{start}"));
        assert_eq!(
            host.settled()["deliveries"]["done"],
            2 + start,
            "with the two of the last version"
        );
        assert!(!site.path("data/approved").exists() && !site.path("data/cache").exists());
        assert_eq!(
            fs::read_to_string(site.path("data/compiled").join(format!("{RAN_DIGEST}.plugin")))
                .unwrap(),
            RAN
        );
        assert!(
            site.path("data/compiled").join(CODE).exists(),
            "machine code is there under the new name"
        );
        host.kill();
    }
    let host = Host::start(&site);
    host.until_plugin("worker", "held");
    assert_eq!(host.api_status("POST", "/api/v1/plugins/worker/approve", None).0, 200);
    assert_ne!(host.until_plugin("worker", "loaded")["digest"], RAN_DIGEST);
}

#[test]
fn what_was_approved_is_taken_along_to_another_data_folder() {
    let site = left_by_version_5();
    site.put_config(&format!("data_dir = \"own\"\n{SOURCE}{ROUTE}"));
    let host = Host::start(&site);
    assert_eq!(host.until_plugin("worker", "held")["digest"], RAN_DIGEST, "what ran last goes on");
    assert!(!site.path("data/approved").exists());
    assert_eq!(
        fs::read_to_string(site.path("own/compiled").join(format!("{RAN_DIGEST}.plugin"))).unwrap(),
        RAN
    );
}

#[test]
fn a_folder_of_another_program_keeps_its_name() {
    let site = left_by_version_5();
    fs::write(site.path("data/cache/other"), "of another program").unwrap();
    Host::start(&site).kill();
    assert_eq!(fs::read_dir(site.path("data/cache")).unwrap().count(), 2);
}

#[test]
fn check_tells_what_would_be_held_from_a_data_folder_of_the_last_version_and_leaves_it_alone() {
    let site = left_by_version_5();
    let store = fs::read(site.path("data/hookbox.db")).unwrap();
    let said = site.run(&["check"]).out;
    assert!(said.contains("held: the newest file asks for kv"), "{said}");
    assert!(fs::read(site.path("data/hookbox.db")).unwrap() == store);
    assert_eq!(fs::read_dir(site.path("data/approved")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(site.path("data")).unwrap().count(), 3, "nothing is made");
}
