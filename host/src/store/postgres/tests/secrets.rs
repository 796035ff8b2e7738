//! Secrets that hosts share, as the store keeps them.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::hosts::another;
use super::*;
use crate::event::Digest;
use crate::store::{Hosts as _, SealedSecret, SecretMark};

fn secret(name: &str, version: i64, sealed: &[u8]) -> SealedSecret {
    SealedSecret { name: name.to_owned(), version, deleted: false, sealed: sealed.to_vec() }
}

fn mark(secret: &SealedSecret) -> SecretMark {
    let digest = hex::encode(Sha256::digest(&secret.sealed));
    SecretMark { name: secret.name.clone(), version: secret.version, digest }
}

#[tokio::test]
async fn of_two_hosts_that_change_a_secret_one_is_kept_and_both_see_it() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let (other, _folder) = another(&case).await;
    let (first, second) = (secret("a.registered", 1, b"east"), secret("a.registered", 1, b"west"));
    let (one, two) =
        tokio::join!(store.keep_secret(first.clone(), 0), other.keep_secret(second.clone(), 0));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one, two);
    let kept = if one { first } else { second };
    assert_eq!(other.sealed_secrets(Vec::new()).await.unwrap(), [kept]);
    let next = SealedSecret { deleted: true, ..secret("a.registered", 2, b"gone") };
    assert!(!store.keep_secret(next.clone(), 2).await.unwrap(), "that version is not there");
    assert!(store.keep_secret(next.clone(), 1).await.unwrap());
    assert!(!other.keep_secret(secret("a.registered", 2, b"late"), 1).await.unwrap());
    assert_eq!(other.sealed_secrets(Vec::new()).await.unwrap(), [next]);
}

#[tokio::test]
async fn a_version_that_a_host_has_seen_comes_without_its_content() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    let (first, second) = (secret("a.registered", 1, b"one"), secret("b.callback", 4, b"two"));
    for secret in [&second, &first] {
        assert!(store.keep_secret(secret.clone(), 0).await.unwrap());
    }
    let empty = |secret: &SealedSecret| SealedSecret { sealed: Vec::new(), ..secret.clone() };
    let seen = async |marks| store.sealed_secrets(marks).await.unwrap();
    assert_eq!(seen(vec![mark(&first)]).await, [empty(&first), second.clone()]);
    assert_eq!(seen(vec![mark(&first), mark(&second)]).await, [empty(&first), empty(&second)]);
    // The number of a version that a failover has lost.
    let lost = secret("a.registered", 1, b"another");
    let older = SecretMark { version: 3, ..mark(&second) };
    assert_eq!(seen(vec![mark(&lost), older]).await, [first, second]);
}

/// Has the first change of a table fail as if another host were in its way.
async fn is_in_the_way(case: &OnePostgres, change: &str) {
    let sql = format!(
        "CREATE SEQUENCE hookbox.tries;
         GRANT USAGE ON SEQUENCE hookbox.tries TO {};
         CREATE FUNCTION hookbox.fail_first() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('hookbox.tries') = 1 THEN
                 RAISE EXCEPTION 'another host is in the way' USING ERRCODE = '40P01';
             END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fails_first BEFORE {change} FOR EACH ROW
         EXECUTE FUNCTION hookbox.fail_first()",
        rig::USER
    );
    case.database().await.admin().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_secret_is_kept_although_another_host_was_in_its_way() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    is_in_the_way(&case, "INSERT ON hookbox.secrets").await;
    let first = secret("a.registered", 1, b"one");
    assert!(store.keep_secret(first.clone(), 0).await.unwrap());
    assert_eq!(store.sealed_secrets(Vec::new()).await.unwrap(), [first]);
}

#[tokio::test]
async fn the_files_that_run_are_noted_although_another_host_was_in_the_way() {
    let Some(case) = one_postgres() else { return };
    let store = case.open_postgres().await;
    is_in_the_way(&case, "UPDATE OF plugins ON hookbox.hosts").await;
    let plugins = BTreeMap::from([("audit".into(), Digest([7; 32]))]);
    store.note_plugins(plugins.clone()).await.unwrap();
    assert_eq!(store.hosts().await.unwrap()[0].plugins, plugins);
}
