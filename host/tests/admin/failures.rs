//! Groups of failures: shown, filtered, and named by deliveries.

use serde_json::json;

use super::pages::good;
use super::site::{Ends, event, site};

#[tokio::test]
async fn what_fails_alike_is_one_group_with_its_deliveries() {
    let site = site();
    site.append(event("video.done", "a", b"{}", &["audit"])).await;
    site.append(event("video.fail", "b", b"{}", &["audit"])).await;
    assert_eq!(site.work("audit", Ends::Dead).await, 2);
    site.append(event("video.done", "c", b"{}", &["audit"])).await;
    assert_eq!(site.work("audit", Ends::Waits).await, 1);
    let page = site.get("/api/v1/failures").await;
    let groups = page["items"].as_array().unwrap();
    assert_eq!(groups.len(), 2, "{page}");
    let dead = groups.iter().find(|group| group["outcome"] == "reject").unwrap();
    let id = dead["id"].as_str().unwrap();
    assert_eq!((&dead["dead"], &dead["waiting"]), (&json!(2), &json!(0)));
    assert_eq!((&dead["plugin"], &dead["text"]), (&json!("audit"), &json!("no such order")));
    assert_eq!(dead["trend"].as_array().unwrap().len(), 24);
    assert_eq!(dead["on_running"], "fails");
    assert_eq!(dead["files"], json!([{"digest": "07".repeat(32), "count": 2, "running": true}]));
    let detail = site.get(&format!("/api/v1/failures/{id}")).await;
    for (name, value) in dead.as_object().unwrap() {
        assert_eq!(&detail[name], value, "{name} is what the listing says");
    }
    // The newest deliveries have this in common.
    assert_eq!((&detail["looked_at"], &detail["has_older"]), (&json!(2), &json!(false)));
    let once = |value: &str| json!({ "value": value, "count": 1 });
    assert_eq!(detail["types"], json!([once("video.done"), once("video.fail")]));
    assert_eq!(detail["subjects"], json!([once("a"), once("b")]));
    assert_eq!(detail["sources"], json!([{ "value": "heygen", "count": 2 }]));
    let delivery = |place: &str| detail[place]["delivery_id"].clone();
    assert_ne!(delivery("first"), delivery("last"));
    assert_eq!(delivery("last"), detail["newest"][0]["id"], "{detail}");
    assert_eq!(delivery("first"), detail["newest"][1]["id"]);
    assert_eq!(detail["first"]["attempt"]["error"], "no such order");
    let waits = groups.iter().find(|group| group["outcome"] == "retry").unwrap();
    assert_eq!((&waits["dead"], &waits["waiting"]), (&json!(0), &json!(1)));

    let listed = site.get(&format!("/api/v1/deliveries?failure={id}")).await;
    let listed = listed["items"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|delivery| delivery["failure"] == id), "{listed:?}");
    let count = async |path: &str| site.get(path).await["items"].as_array().unwrap().len();
    assert_eq!(count("/api/v1/deliveries?outcome=retry").await, 1);
    assert_eq!(count("/api/v1/deliveries?min_attempts=2").await, 0);
    assert_eq!(count("/api/v1/failures?outcome=retry&plugin=audit").await, 1);
    assert_eq!(count("/api/v1/failures?plugin=orders").await, 0);
    assert_eq!(count("/api/v1/failures?until=1").await, 0);

    let retried = format!("/api/v1/deliveries/retry?failure={id}");
    let (status, answer) = site.ask("POST", &format!("{retried}&dry_run=true"), None).await;
    assert_eq!((status.as_u16(), &answer["matched"]), (200, &json!(2)), "{answer}");
    let (_, answer) = site.ask("POST", &retried, None).await;
    assert_eq!(answer["retried"], 2, "{answer}");
    assert_eq!(site.work("audit", Ends::Done).await, 2);
    assert_eq!(count("/api/v1/failures").await, 1, "the other one is open");
    assert_eq!(count("/api/v1/failures?state=all").await, 2);
}

#[tokio::test]
async fn the_page_of_a_group_has_its_sample_and_an_empty_list_the_last_failure() {
    let site = site();
    site.append(event("video.done", "order_7", b"{}", &["audit"])).await;
    site.work("audit", Ends::Dead).await;
    let group = site.get("/api/v1/failures").await["items"][0]["id"].clone();
    let group = group.as_str().unwrap();
    site.admin.series.mark(hookbox::series::Mark {
        at_ms: site.admin.clock.now_ms(),
        what: "plugin",
        name: "audit".to_owned(),
        result: "loaded",
    });
    let page = good(&site, &format!("/failures/{group}")).await;
    for part in [
        "Of its 1 delivery.",
        "First and last attempt",
        "The newest deliveries",
        "<title>plugin audit loaded</title>",
        "plugin audit loaded <hb-time>",
        &format!("/deliveries?failure={group}&#38;subject=order_7"),
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let retried = format!("/api/v1/deliveries/retry?failure={group}");
    assert!(site.ask("POST", &retried, None).await.0.is_success());
    site.work("audit", Ends::Done).await;
    let empty = good(&site, "/failures").await;
    assert!(empty.contains("Nothing that failed is open."), "{empty}");
    let last = format!("<a href=\"/failures/{group}\">audit: no such order</a>");
    assert!(empty.contains("The last failure came") && empty.contains(&last), "{empty}");
}

#[tokio::test]
async fn groups_are_listed_in_pages() {
    let site = site();
    for plugin in ["audit", "orders"] {
        site.append(event("video.done", "a", b"{}", &[plugin])).await;
        site.work(plugin, Ends::Dead).await;
    }
    let first = site.get("/api/v1/failures?limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = site.get(&format!("/api/v1/failures?limit=1&cursor={cursor}")).await;
    assert_ne!(first["items"][0]["plugin"], second["items"][0]["plugin"]);
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_says_which_part_is_wrong() {
    let site = site();
    for (path, field) in [
        ("/api/v1/failures?state=dead", "`state`"),
        ("/api/v1/failures?outcome=ok", "`outcome`"),
        ("/api/v1/failures?cursor=AAAA", "`cursor`"),
        ("/api/v1/failures?since=today", "`since`"),
        ("/api/v1/failures?sort=dead", "`sort`"),
        ("/api/v1/deliveries?failure=f_12", "`failure`"),
        ("/api/v1/deliveries?outcome=trapp", "did you mean `trap`?"),
        ("/api/v1/deliveries?min_attempts=0", "`min_attempts`"),
    ] {
        let (status, detail) = site.refused("GET", path, None).await;
        assert!(status == 400 && detail.contains(field), "{path}: {status} {detail}");
    }
    for (id, said) in [("f_000000000000", "f_000000000000"), ("f_12", "`f_` and 12 hex digits")] {
        let (status, detail) = site.refused("GET", &format!("/api/v1/failures/{id}"), None).await;
        assert!(status == 404 && detail.contains(said), "{detail}");
    }
}
