//! Facts of attempts: what they used, and whether a retry or a replay has helped.

use std::sync::Arc;

use hookbox::event::{AttemptRecord, NewEvent, Outcome};
use hookbox::store::{KvTransaction, LeaseQueue, Next, Settlement};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::pages::good;
use super::site::{Console, Ends, event, site};
use crate::support::NOW_MS;

/// Has the only due delivery of a plugin emit so many events.
async fn emits(site: &Console, plugin: &str, count: usize) {
    let place = Arc::new(Semaphore::new(1)).acquire_many_owned(1).await.unwrap();
    let queue = LeaseQueue::Plugin(plugin.into());
    let lease = site.admin.store.lease(queue, place).await.unwrap().leases.remove(0);
    let mut child =
        NewEvent { parent: Some(lease.event.id), ..event("order.part", "s", b"{}", &[]) };
    child.attributes.source = format!("plugins/{plugin}").into();
    let next = Next::Done { emitted: vec![child; count], kv: KvTransaction::default() };
    let record = Some(AttemptRecord::of_host(NOW_MS, Outcome::Ok, None));
    site.admin.store.settle(lease, Settlement { next, record }).await.unwrap();
}

/// A delivery of an event.
async fn delivery(site: &Console, event: &str, ordinal: usize) -> Value {
    let shown = site.get(&format!("/api/v1/events/{event}")).await;
    let delivery = shown["deliveries"][ordinal].clone();
    let id = delivery["id"].as_str().unwrap();
    assert_eq!(site.get(&format!("/api/v1/deliveries/{id}")).await, delivery, "both say the same");
    delivery
}

#[tokio::test]
async fn an_attempt_says_what_it_used_and_which_file_ran() {
    let site = site();
    let id = site.append(event("video.done", "order_1", b"{}", &["audit", "orders"])).await;
    emits(&site, "orders", 1).await;
    site.work("audit", Ends::Done).await;
    let attempt = &delivery(&site, &id.to_string(), 0).await["attempts"][0];
    assert_eq!((&attempt["cpu_ms"], &attempt["memory_bytes"]), (&json!(1.2), &json!(1_152 * 1024)));
    assert_eq!(attempt["calls"][0]["offset_ms"], 4);
    let shown = site.get(&format!("/api/v1/events/{id}")).await;
    let child = shown["children"][0].as_str().unwrap();
    assert_eq!(shown["root_id"], json!(id.to_string()));
    assert_eq!(site.get(&format!("/api/v1/events/{child}")).await["root_id"], shown["root_id"]);
    let page = good(&site, &format!("/events/{id}?tab=attempts")).await;
    assert!(page.contains("1.20 ms of CPU, 1.12 MiB of memory"), "{page}");
    assert!(page.contains(&format!("emitted <a href=\"/events/{child}\">")), "{page}");
    assert!(page.contains("<a href=\"/plugins/audit\"><code title=\"0707"), "{page}");
    assert!(!page.contains("not the one that runs now") && page.contains("looked"), "{page}");
    let page = good(&site, &format!("/events/{id}?tab=attempts&level=warn")).await;
    assert!(page.contains("1 line of a lower level") && !page.contains("looked"), "{page}");
    let refused = super::pages::page(&site, &format!("/events/{id}?level=loud")).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("must be one of trace"), "{}", refused.text);
}

#[tokio::test]
async fn a_replay_says_whether_it_went_better_than_the_delivery_before() {
    let site = site();
    let id = site.append(event("video.done", "order_1", b"{}", &["audit"])).await.to_string();
    site.work("audit", Ends::Dead).await;
    assert_eq!(delivery(&site, &id, 0).await["against"], Value::Null);
    let replay = format!("/api/v1/events/{id}/replay");
    for (ordinal, ends, verdict, before) in [
        (1, Ends::Dead, "same error", "reject"),
        (2, Ends::Waits, "other error", "reject"),
        (3, Ends::Done, "fixed", "retry"),
        (4, Ends::Done, "still well", "ok"),
        (5, Ends::Dead, "fails now", "ok"),
    ] {
        let (status, _) = site.ask("POST", &replay, Some(json!({ "plugins": ["audit"] }))).await;
        assert_eq!(status, 202);
        let waiting = delivery(&site, &id, ordinal).await;
        assert_eq!(waiting["against"], Value::Null, "it has not run");
        assert_eq!(site.work("audit", ends).await, 1);
        let against = &delivery(&site, &id, ordinal).await["against"];
        let expected = format!("dlv_{}_{}", &id[4..], ordinal - 1);
        assert_eq!(
            (&against["verdict"], &against["outcome"], &against["delivery_id"]),
            (&json!(verdict), &json!(before), &json!(expected)),
            "{against}"
        );
        let page = good(&site, &format!("/events/{id}?tab=attempts")).await;
        assert!(page.contains(&format!(">{verdict}</strong>")), "{page}");
        assert!(page.contains("before it was replayed"), "{page}");
    }
}

#[tokio::test]
async fn a_retried_dead_letter_says_whether_that_has_helped() {
    let site = site();
    let id = site.append(event("video.done", "order_1", b"{}", &["audit"])).await.to_string();
    let ordinary = site.append(event("video.done", "order_2", b"{}", &["orders"])).await;
    site.work("orders", Ends::Waits).await;
    assert_eq!(delivery(&site, &ordinary.to_string(), 0).await["against"], Value::Null);
    site.work("audit", Ends::Dead).await;
    let dead = delivery(&site, &id, 0).await;
    let retry = format!("/api/v1/deliveries/{}/retry", dead["id"].as_str().unwrap());
    for (number, ends, verdict, before) in
        [(1, Ends::Dead, "same error", "reject"), (2, Ends::Done, "fixed", "reject")]
    {
        assert_eq!(site.ask("POST", &retry, None).await.0, 200);
        assert_eq!(delivery(&site, &id, 0).await["against"], Value::Null, "it has not run");
        assert_eq!(site.work("audit", ends).await, 1);
        let against = &delivery(&site, &id, 0).await["against"];
        assert_eq!(
            (&against["verdict"], &against["outcome"], &against["attempt"]),
            (&json!(verdict), &json!(before), &json!(number)),
            "{against}"
        );
        let page = good(&site, &format!("/events/{id}?tab=attempts")).await;
        assert!(page.contains(&format!(">{verdict}</strong>")), "{page}");
        assert!(page.contains("before it was retried"), "{page}");
    }
    let unrouted = site.append(event("video.done", "order_3", b"{}", &[])).await;
    let page = good(&site, &format!("/events/{unrouted}?tab=copy")).await;
    assert!(!page.contains("golden test") && page.contains("hookbox send"), "{page}");
    let page = good(&site, &format!("/events/{id}?tab=copy")).await;
    assert!(page.contains(&format!("hookbox events case {id} --plugin audit")), "{page}");
}

#[tokio::test]
async fn of_a_large_tree_a_page_shows_a_part_and_says_so() {
    let site = site();
    let root = site.append(event("video.done", "order_1", b"{}", &["audit"])).await;
    emits(&site, "audit", 1_020).await;
    let path = format!("/api/v1/events/{root}/tree");
    let cursor = site.get(&path).await["next_cursor"].as_str().unwrap().to_owned();
    let rest = site.get(&format!("{path}?cursor={cursor}")).await;
    let last = rest["events"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
    let page = good(&site, &format!("/events/{root}")).await;
    assert!(page.contains("1,000 events of a larger tree"), "{page}");
    assert!(
        page.contains("Shown and counted here: 1,000 events of this tree; there are more"),
        "{page}"
    );
    assert!(!page.contains("others, ") && !page.contains(last), "{page}");
    let next = page.split("href=\"").find(|it| it.contains("?after=evt_")).unwrap();
    let next = next.split('"').next().unwrap();
    let page = good(&site, next).await;
    assert!(page.contains("Shown and counted here: 21 events of this tree, from evt_"), "{page}");
    assert!(page.contains(last) && page.contains("the first event"), "{page}");
    // Its own event is there, wherever it stands.
    let page = good(&site, &format!("/events/{last}")).await;
    assert!(page.contains("(this one)") && page.contains("1 event of this tree, from"), "{page}");
    let small = site.append(event("video.done", "order_2", b"{}", &[])).await;
    assert!(!good(&site, &format!("/events/{small}")).await.contains("id=\"part\""));
}
