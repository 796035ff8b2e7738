//! Seeing workflows: the tree of an event, open joins, and what waits, through the command line.

use super::{Host, Value, events, json, site, wait_for};

#[test]
fn a_delivery_that_its_plugins_rate_holds_back_says_so_leased_or_not() {
    let site = site("[routes]\n\"order.paid\" = \"next\"\n[plugins.next]\nrate = \"1/h\"\n");
    let host = Host::start(&site);
    let first = host.send("order.paid", "order_1");
    host.until_done(&first);
    // The next one is leased a second's worth ahead, and the one behind it waits in the store.
    for (number, state, place) in [(2, "leased", "has leased it"), (3, "ready", "wait before it")] {
        let id = host.send("order.paid", format!("order_{number}"));
        let delivery = || host.event(&id)["deliveries"][0].clone();
        wait_for(&format!("order_{number} to be {state} and to wait for the rate"), || {
            let now = delivery();
            (now["state"] == state && now["waits_for"]["kind"] == "rate").then_some(())
        });
        let text = delivery()["waits_for"]["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with("its turn by the rate of `next`, which starts 1/h"), "{text}");
        assert!(text.contains(place), "{text}");
        assert_eq!(delivery()["attempts"], json!([]), "a rate spends no attempt");
        let shown = site.ask(&host, &["events", &id]).said();
        assert!(shown.contains("waits for its turn by the rate of `next`"), "{shown}");
    }
    host.kill();
}

const JOIN: &str = "[joins.videos]\non = \"video.*\"\nkey = \"subject\"\nneed = 2\nwithin = \"1h\"\n\
                    emit = \"order.ready\"\n";

#[test]
fn the_tree_of_a_join_is_shown_from_each_of_its_events() {
    let site = site(&format!("[routes]\n\"order.ready\" = \"next\"\n{JOIN}"));
    let host = Host::start(&site);
    let first = host.send("video.a", "order_1");
    let open: Value = serde_json::from_str(&site.ask(&host, &["joins", "--json"]).said()).unwrap();
    let join = &open["items"][0];
    assert_eq!((&join["name"], &join["key"]), (&json!("joins/videos"), &json!("order_1")));
    assert_eq!((&join["count"], &join["need"]), (&json!(1), &json!(2)));
    assert_eq!(join["first_event_id"], json!(first));
    let table = site.ask(&host, &["joins", "--key", "order_1"]).said();
    assert!(table.contains("1/2") && table.contains("joins/videos"), "{table}");
    let shown = site.ask(&host, &["events", &first]).said();
    assert!(shown.contains("waits for members, of which 1 of 2 came"), "{shown}");
    let second = host.send("video.b", "order_1");
    wait_for("the join", || (!events(&host, "order.ready").is_empty()).then_some(()));
    host.settled();
    let ready = events(&host, "order.ready")[0]["id"].as_str().unwrap().to_owned();
    let tree = site.ask(&host, &["events", "tree", &ready]).said();
    assert_eq!(site.ask(&host, &["events", "tree", &first]).said(), tree);
    for part in [
        format!("video.a  {first}"),
        "└─ joins/videos  done".to_owned(),
        "key order_1, 2 counted, complete by need".to_owned(),
        format!("member video.b  {second}  tree {second}"),
        format!("└─ order.ready  {ready}"),
        "└─ next  done".to_owned(),
    ] {
        assert!(tree.contains(&part), "`{part}` is not in\n{tree}");
    }
    assert!(tree.lines().all(|line| line.chars().count() <= 80), "{tree}");
    let other = site.ask(&host, &["events", "tree", &second]).said();
    assert!(other.contains("member of joins/videos"), "{other}");
    assert!(site.ask(&host, &["joins"]).said().contains("no open join or batch"));
}
