//! The store's address, and what belongs to it.

use std::fs;

use hookbox::config::{PostgresPlace, RequiredPromise, StorePlace};
use secrecy::ExposeSecret;

use super::home::Home;

const URL: &str = "postgres://hookbox:hunter2hunter2@db.example.com:5433/hooks?sslmode=require";

fn postgres(home: &Home, text: &str) -> PostgresPlace {
    match home.good(text).store.place {
        StorePlace::Postgres(place) => place,
        StorePlace::Sqlite(path) => panic!("the store is {}", path.display()),
    }
}

#[test]
fn a_server_without_a_password_is_named_in_the_file() {
    let home = Home::new();
    for url in ["postgres://hookbox@db/hooks", "postgresql://db/hooks?sslmode=disable"] {
        let place = postgres(&home, &format!("[store]\nurl = \"{url}\""));
        assert_eq!(place.url.expose_secret(), url);
        assert_eq!(place.ca_file, None);
    }
}

#[test]
fn an_address_with_a_password_is_kept_elsewhere() {
    let mut home = Home::new();
    home.env.push(("DATABASE_URL", URL));
    let place = postgres(&home, "[store]\nurl = { env = \"DATABASE_URL\" }");
    assert_eq!(place.url.expose_secret(), URL);
    fs::write(home.folder.path().join("url"), format!("{URL}\n")).unwrap();
    let place = postgres(&home, "[store]\nurl = { file = \"url\" }");
    assert_eq!(place.url.expose_secret(), URL);
    assert_eq!(place.shown(), "postgres://db.example.com:5433/hooks");
    assert!(!format!("{place:?}").contains("hunter2"));
}

#[test]
fn a_password_in_the_file_is_refused_and_not_shown() {
    let home = Home::new();
    for url in [URL, "postgres://db/hooks?password=hunter2hunter2"] {
        let problems = home.bad(&format!("[store]\nurl = \"{url}\"")).render(false);
        assert!(problems.contains("holds a password"), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}

#[test]
fn what_holds_no_address_is_refused_and_not_shown() {
    let mut home = Home::new();
    home.env.push(("OTHER_URL", "mysql://user:hunter2hunter2@db/hooks"));
    home.refuses("[store]\nurl = { env = \"DATABASE_URL\" }", &["`DATABASE_URL`", "absent"]);
    let problems = home.bad("[store]\nurl = { env = \"OTHER_URL\" }").render(false);
    assert!(problems.contains("which holds no address"), "{problems}");
    assert!(!problems.contains("hunter2"), "{problems}");
    home.refuses("[store]\nurl = \"postgres://\"", &["is not the address of a store"]);
    home.refuses("[store]\nurl = { env = \"A\", file = \"b\" }", &["exactly one place"]);
}

#[test]
fn authorities_are_those_of_a_file_that_is_there() {
    let home = Home::new();
    let with = "[store]\nurl = \"postgres://db/hooks\"\nca_file = \"ca.pem\"";
    home.refuses(with, &["`store.ca_file`", "where no file is"]);
    fs::write(home.folder.path().join("ca.pem"), "").unwrap();
    assert_eq!(postgres(&home, with).ca_file, Some(home.folder.path().join("ca.pem")));
    home.refuses("[store]\nca_file = \"ca.pem\"", &["is for a store in Postgres"]);
}

#[test]
fn the_promise_and_the_tail_of_acknowledged_batches_are_those_of_the_file() {
    let home = Home::new();
    let place = postgres(&home, "[store]\nurl = \"postgres://db/hooks\"");
    assert_eq!((place.require, place.tail_bytes), (RequiredPromise::Primary, 32 << 20));
    let more = "[store]\nurl = \"postgres://db/hooks\"\nrequire = \"replicated\"\ntail = \"0B\"";
    let other = postgres(&home, more);
    assert_eq!((other.require, other.tail_bytes), (RequiredPromise::Replicated, 0));
    let unknown = "[store]\nurl = \"postgres://db/hooks\"\nrequire = \"two\"";
    home.refuses(unknown, &["`store.require`", "is \"two\"", "write \"primary\""]);
    for key in ["require = \"primary\"", "tail = \"1MiB\""] {
        home.refuses(&format!("[store]\n{key}"), &["is for a store in Postgres"]);
    }
    let before = home.good("[store]\nurl = \"postgres://db/hooks\"");
    assert_eq!(before.restart_needed(&home.good(more)), ["store.url"]);
}

#[test]
fn a_pooler_is_named_for_a_server_only() {
    let home = Home::new();
    let url = "[store]\nurl = \"postgres://db/hooks\"\n";
    assert_eq!(postgres(&home, url).pooler, None);
    for is_there in [true, false] {
        let place = postgres(&home, &format!("{url}pooler = {is_there}"));
        assert_eq!(place.pooler, Some(is_there));
    }
    home.refuses(&format!("{url}pooler = \"yes\""), &["`store.pooler`", "true"]);
    home.refuses("[store]\npooler = true", &["`store.pooler`", "is for a store in Postgres"]);
}

#[test]
fn another_server_takes_effect_after_a_restart() {
    let home = Home::new();
    let one = home.good("[store]\nurl = \"postgres://one/hooks\"");
    let other = home.good("[store]\nurl = \"postgres://two/hooks\"");
    assert_eq!(one.restart_needed(&other), ["store.url"]);
    assert_eq!(one.server.data_dir, home.folder.path().join("data"));
}

/// 32 bytes in hex digits, and the same in base64.
const KEYS: [&str; 2] = [
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
];

#[test]
fn a_key_for_secrets_is_32_bytes_in_base64_or_hex() {
    let mut home = Home::new();
    let text = "[store]\nurl = \"postgres://db/hooks\"\nsecret_key = { file = \"key\" }";
    let mut found = Vec::new();
    for key in KEYS {
        fs::write(home.folder.path().join("key"), format!("{key}\n")).unwrap();
        let config = home.good(text);
        let shown = config.effective().into_iter().find(|it| it.key == "store.secret_key").unwrap();
        assert_eq!((shown.value.as_str(), shown.line), ("set, not shown", None));
        assert!(!format!("{config:?}").contains(&key[..8]));
        found.push(config);
    }
    assert!(found[0].restart_needed(&found[1]).is_empty(), "it is the same key");
    fs::write(home.folder.path().join("key"), "f".repeat(64)).unwrap();
    assert_eq!(found[0].restart_needed(&home.good(text)), ["store.secret_key"]);
    assert_eq!(home.good("[store]\nurl = \"postgres://db/hooks\"").store.secret_key, None);
    home.env.push(("SEAL_KEY", KEYS[1]));
    let text = text.replace("file = \"key\"", "env = \"SEAL_KEY\"");
    assert_eq!(home.good(&text).store.secret_key, found[0].store.secret_key);
}

#[test]
fn what_holds_no_key_for_secrets_is_refused_and_not_shown() {
    let home = Home::new();
    let text = "[store]\nurl = \"postgres://db/hooks\"\nsecret_key = { file = \"key\" }";
    home.refuses(text, &["`store.secret_key`", "empty or absent", "32 random bytes"]);
    for key in ["hunter2hunter2", &KEYS[0][2..], &KEYS[1].repeat(2)] {
        fs::write(home.folder.path().join("key"), key).unwrap();
        let problems = home.bad(text).render(false);
        assert!(problems.contains("which holds no key"), "{problems}");
        assert!(!problems.contains(key), "{problems}");
    }
    let literal = format!("[store]\nurl = \"postgres://db/hooks\"\nsecret_key = \"{}\"", KEYS[0]);
    let problems = home.bad(&literal).render(false);
    assert!(problems.contains("is not the place of a key"), "{problems}");
    assert!(!problems.contains(KEYS[0]), "{problems}");
}

#[test]
fn a_key_for_secrets_is_for_hosts_that_share_a_store() {
    let home = Home::new();
    fs::write(home.folder.path().join("key"), KEYS[0]).unwrap();
    let text = "[store]\nsecret_key = { file = \"key\" }";
    home.refuses(text, &["`store.secret_key`", "for hosts that share a store", "leave it out"]);
    // Nothing else is said where the address is missing.
    let absent = "[store]\nurl = { env = \"DATABASE_URL\" }\nsecret_key = { file = \"key\" }";
    assert!(!home.bad(absent).render(false).contains("for hosts that share"));
}
