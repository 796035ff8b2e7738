//! Secrets of registrations, which hosts share by way of the store.

use std::fs;

use hookbox_tools::cluster::Cluster;
use serde_json::json;

use crate::support::{API_KEY, HeyGen, Host, Ran, Site, cluster, guest, shared_site, wait_for};

/// The key of most hosts, in hex digits.
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// The file of a registration.
const FILE: &str = "data/secrets/heygen.registered";

/// The folder of a host with a source of the provider; `more` belongs to `[store]`.
fn site(cluster: &Cluster, heygen: &HeyGen, name: &str, more: &str) -> Site {
    let sections = format!(
        "{more}\n[sources.heygen]\npreset = \"heygen\"\napi_url = \"{}\"\napi_key = {{ file = \"api.key\" }}\n\
         secrets = [{{ registered = true }}]\n[routes]\n\"avatar_video.*\" = \"worker\"\n",
        heygen.url
    );
    let site = shared_site(cluster, name, &sections, &[("worker.wat", &guest("ok"))]);
    site.put("api.key", API_KEY);
    site.put("seal.key", format!("{KEY}\n"));
    site
}

fn sealed(cluster: &Cluster, heygen: &HeyGen, name: &str) -> Site {
    site(cluster, heygen, name, "secret_key = { file = \"seal.key\" }")
}

fn provider(site: &Site, arguments: &[&str]) -> Ran {
    site.run(&[&["provider", "heygen"], arguments].concat())
}

fn address(host: &Host) -> String {
    format!("{}/webhook/heygen", host.public_url)
}

/// The status that an event gets at a host if it is signed with this secret.
fn status(heygen: &HeyGen, host: &Host, secret: &str) -> u16 {
    let (id, body) = heygen.happen("avatar_video.success", &json!({ "video_id": "v1" }), 1);
    HeyGen::deliver(&address(host), &id, &body, secret).0
}

fn until(what: &str, heygen: &HeyGen, host: &Host, secret: &str, wanted: impl Fn(u16) -> bool) {
    wait_for(what, || wanted(status(heygen, host, secret)).then_some(()));
}

#[test]
fn a_rotation_at_one_host_is_active_at_the_other_and_so_is_a_removal() {
    let Some(cluster) = cluster(&[]) else { return };
    let heygen = HeyGen::start();
    let [east_site, west_site] = ["east", "west"].map(|name| sealed(&cluster, &heygen, name));
    let (east, west) = (Host::start(&east_site), Host::start(&west_site));
    provider(&east_site, &["register", "--url", &address(&east)]).said();
    let first = heygen.secret();
    until("the first secret", &heygen, &west, &first, |status| status == 200);
    provider(&west_site, &["rotate"]).said();
    let second = heygen.secret();
    assert_ne!(first, second);
    until("the second secret", &heygen, &east, &second, |status| status == 200);
    assert_eq!(status(&heygen, &east, &first), 200, "the first one has a day left");
    let contents = [&east_site, &west_site].map(|site| fs::read(site.path(FILE)).unwrap());
    assert_eq!(contents[0], contents[1]);
    let stored = cluster.sql(
        "SELECT string_agg(k::text || encode(k.sealed, 'escape'), ' ') FROM hookbox.secrets k",
    );
    assert!(stored.contains("heygen.registered"), "{stored}");
    for secret in [&first, &second] {
        let hex = hex::encode(secret.as_bytes());
        assert!(!stored.contains(secret.as_str()) && !stored.contains(&hex), "{stored}");
    }
    let logs = format!("{}{}", east_site.log(), west_site.log());
    assert!(!logs.contains(&first) && !logs.contains(&second), "{logs}");
    provider(&east_site, &["delete"]).said();
    until("the removal", &heygen, &west, &second, |status| status != 200);
    assert!(!west_site.path(FILE).exists());
}

#[test]
fn a_host_with_an_empty_folder_has_all_secrets_before_its_first_webhook() {
    let Some(cluster) = cluster(&[]) else { return };
    let heygen = HeyGen::start();
    let east_site = sealed(&cluster, &heygen, "east");
    let east = Host::start(&east_site);
    provider(&east_site, &["register", "--url", &address(&east)]).said();
    wait_for("the secret to be stored", || {
        let rows = "SELECT count(*) FROM hookbox.secrets WHERE name = 'heygen.registered'";
        (cluster.sql(rows) == "1").then_some(())
    });
    let west_site = sealed(&cluster, &heygen, "west");
    let west = Host::start_with(&west_site, &[]).unwrap();
    assert_eq!(status(&heygen, &west, &heygen.secret()), 200);
    let log = west_site.log();
    assert!(!log.contains("no secret yet"), "{log}");
    // A host with another key does not start, and changes nothing.
    let before = cluster.sql("SELECT k FROM hookbox.secrets k ORDER BY name");
    let north = sealed(&cluster, &heygen, "north");
    north.put("seal.key", "f".repeat(64));
    let refused = north.run(&["serve"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["`store.secret_key` is not the key", "the other hosts have", "127.0.0.1"] {
        assert!(refused.err.contains(part), "{part} is not in {}", refused.err);
    }
    assert_eq!(cluster.sql("SELECT k FROM hookbox.secrets k ORDER BY name"), before);
}

#[test]
fn of_two_files_that_changed_the_stored_one_is_used_and_the_other_one_is_kept() {
    let Some(cluster) = cluster(&[]) else { return };
    let heygen = HeyGen::start();
    let [east_site, west_site] = ["east", "west"].map(|name| sealed(&cluster, &heygen, name));
    let (east, west) = (Host::start(&east_site), Host::start(&west_site));
    provider(&east_site, &["register", "--url", &address(&east)]).said();
    let first = heygen.secret();
    until("the first secret", &heygen, &west, &first, |status| status == 200);
    east.stop();
    west.stop();
    provider(&east_site, &["rotate"]).said();
    provider(&west_site, &["rotate"]).said();
    let files = [&east_site, &west_site].map(|site| fs::read(site.path(FILE)).unwrap());
    assert_ne!(files[0], files[1]);
    let _east = Host::start(&east_site);
    wait_for("the stored version", || {
        let versions = "SELECT version FROM hookbox.secrets WHERE name = 'heygen.registered'";
        (cluster.sql(versions) == "2").then_some(())
    });
    let _west = Host::start(&west_site);
    assert_eq!(fs::read(west_site.path(FILE)).unwrap(), files[0]);
    assert_eq!(fs::read(west_site.path(&format!("{FILE}.replaced"))).unwrap(), files[1]);
    assert!(west_site.log().contains("have changed a secret"), "{}", west_site.log());
}

#[test]
fn without_a_key_each_host_has_its_own_secrets_and_says_so_once() {
    let Some(cluster) = cluster(&[]) else { return };
    let heygen = HeyGen::start();
    let east_site = site(&cluster, &heygen, "east", "");
    let east = Host::start(&east_site);
    provider(&east_site, &["register", "--url", &address(&east)]).said();
    until("the secret", &heygen, &east, &heygen.secret(), |status| status == 200);
    let log = east_site.log();
    let said = "secrets of registrations stay on the host that has them";
    assert_eq!(log.matches(said).count(), 1, "{log}");
    assert_eq!(cluster.sql("SELECT count(*) FROM hookbox.secrets"), "0");
}
