//! The road as a newcomer walks it: the repository's own configuration and plugins, the real
//! binary, the command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Host, SECRET, Site, agent, body, replace, wait_for};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A copy of what a fresh clone holds, on ports that the system chooses.
fn clone() -> Site {
    let plugin = |name: &str| std::fs::read(root().join("plugins").join(name)).unwrap();
    let (orders, audit) = (plugin("video-orders.wasm"), plugin("audit.wasm"));
    let site = Site::new("", &[("video-orders.wasm", &orders), ("audit.wasm", &audit)]);
    let config = std::fs::read_to_string(root().join("config.toml")).unwrap();
    let config =
        config.replace("127.0.0.1:3000", "127.0.0.1:0").replace("127.0.0.1:3001", "127.0.0.1:0");
    site.put("config.toml", config);
    site
}

/// Starts the host as `cargo run --release -- serve` does, without any set-up: its secret is made
/// by itself.
fn serve(site: &Site) -> Host {
    Host::start_with(site, &[]).expect("the host starts")
}

/// Sends the event of a video that is done, with this order and whatever else is set in it; the
/// answer.
fn send(site: &Site, host: &Host, order: &str, set: &[&str]) -> String {
    let order = format!("event_data.callback_id={order}");
    let sent =
        ["send", "heygen", "avatar_video.success", "--url", &host.public_url, "--set", &order];
    site.run(&[&sent[..], set].concat()).said()
}

/// Waits until nothing is open but the joins, which wait for orders that nobody has placed.
fn settled(host: &Host) {
    wait_for("everything but the joins to be settled", || {
        let open = ["ready", "leased", "waiting"].map(|state| {
            host.api(&format!("/api/v1/deliveries?state={state}&limit=500"))["items"].clone()
        });
        let mut open = open.iter().flat_map(|items| items.as_array().unwrap());
        open.all(|delivery| delivery["plugin"] == "joins/order-videos").then_some(())
    });
}

fn only(page: &Value) -> Option<Value> {
    let items = page["items"].as_array().unwrap();
    assert!(items.len() <= 1, "{page}");
    items.first().cloned()
}

#[test]
fn a_sent_event_runs_its_plugin_and_the_plugins_event_runs_the_next() {
    let site = clone();
    let host = serve(&site);
    let sent = send(&site, &host, "order_1", &[]);
    assert!(sent.contains("accepted"), "{sent}");
    settled(&host);
    let page = host.api("/api/v1/events?subject=order_1&type=avatar_video.success");
    let event = host.event(only(&page).unwrap()["id"].as_str().unwrap());
    assert_eq!(event["deliveries"][0]["plugin"], "video-orders", "{event}");
    assert_eq!(event["deliveries"][0]["state"], "done", "{event}");
    assert_eq!(event["deliveries"][0]["attempts"][0]["outcome"], "ok", "{event}");
    let page = host.api("/api/v1/events?subject=order_1&type=order.video_ready");
    let child = host.event(only(&page).unwrap()["id"].as_str().unwrap());
    assert_eq!(child["parent_id"], event["id"], "{child}");
    assert_eq!(child["deliveries"][0]["plugin"], "audit", "{child}");
    assert_eq!(child["deliveries"][0]["state"], "done", "{child}");
    assert!(
        child["data"]["url"].as_str().is_some_and(|url| url.starts_with("https://")),
        "{child}"
    );
}

#[test]
fn an_outage_is_retried_and_seen_waiting() {
    let site = clone();
    let host = serve(&site);
    let sent = send(&site, &host, "order_2", &["--set", "event_data.simulate=outage"]);
    assert!(sent.contains("accepted"), "{sent}");
    let event = wait_for("a second attempt", || {
        let id = only(&host.api("/api/v1/events?subject=order_2"))?["id"].as_str()?.to_owned();
        let event = host.event(&id);
        (event["deliveries"][0]["attempts"].as_array()?.len() >= 2).then_some(event)
    });
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    assert!(attempts.iter().all(|attempt| attempt["outcome"] == "retry"), "{event}");
    let listed = site.ask(&host, &["deliveries", "--plugin", "video-orders", "--json"]).said();
    let page: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(page["items"][0]["plugin"], "video-orders", "{page}");
}

#[test]
fn a_failed_video_without_an_id_is_a_dead_letter_that_an_operator_can_retry() {
    let site = clone();
    let host = serve(&site);
    site.put("no-id.json", body("avatar_video.fail", "order_3"));
    let send =
        ["send", "heygen", "avatar_video.fail", "--data", "no-id.json", "--url", &host.public_url];
    let sent = site.run(&send).said();
    assert!(sent.contains("accepted"), "{sent}");
    settled(&host);
    let page = host.api("/api/v1/deliveries?state=dead");
    let id = only(&page).unwrap()["id"].as_str().unwrap().to_owned();
    site.ask(&host, &["deliveries", "retry", &id]).said();
    settled(&host);
    let delivery = only(&host.api("/api/v1/deliveries?state=dead")).unwrap();
    assert_eq!(delivery["attempts"][0]["outcome"], "reject", "{delivery}");
    assert_eq!(delivery["attempts"][0]["number"], 2, "{delivery}");
}

#[test]
fn an_old_event_is_replayed() {
    let site = clone();
    let host = serve(&site);
    send(&site, &host, "order_4", &[]);
    settled(&host);
    let page = host.api("/api/v1/events?subject=order_4&type=avatar_video.success");
    let id = only(&page).unwrap()["id"].as_str().unwrap().to_owned();
    site.ask(&host, &["events", "replay", &id, "--plugin", "audit"]).said();
    settled(&host);
    let event = host.event(&id);
    assert_eq!(event["deliveries"][1]["plugin"], "audit", "{event}");
    assert_eq!(event["deliveries"][1]["state"], "done", "{event}");
}

#[test]
fn openssl_signs_what_we_accept_under_each_of_heygens_headers() {
    let site = clone();
    let Some(host) = Host::start_with(&site, &[("HEYGEN_WEBHOOK_SECRET", SECRET)]) else {
        panic!("it starts")
    };
    for header in ["Heygen-Signature", "Signature", "X-Heygen-Signature"] {
        let body = format!(
            r#"{{"event_type":"avatar_video.success","event_data":{{"video_id":"v","note":"{header}"}}}}"#
        );
        let Some(signature) = openssl(&body) else {
            println!("SKIPPED: there is no openssl on this machine");
            return;
        };
        let post = |body: &str| {
            let response = agent()
                .post(format!("{}/webhook/heygen", host.public_url))
                .header(header, &signature)
                .send(body);
            let mut response = response.unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            (response.status().as_u16(), serde_json::from_str::<Value>(&text).unwrap())
        };
        let before = host.api("/api/v1/stats")["events"].clone();
        let flipped = body.replacen("success", "succesr", 1);
        assert_eq!(post(&flipped).0, 401, "{header}");
        assert_eq!(host.api("/api/v1/stats")["events"], before, "{header}");
        assert_eq!(post(&body).1["status"], "accepted", "{header}");
        assert_eq!(post(&body).1["status"], "duplicate", "{header}");
    }
}

/// The output of `openssl dgst -sha256 -hmac SECRET` for the body.
fn openssl(body: &str) -> Option<String> {
    let child = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", SECRET])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), body.as_bytes()).unwrap();
    let printed = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    Some(printed.trim().rsplit(' ').next().unwrap().to_owned())
}

#[test]
fn a_changed_plugin_setting_is_taken_up_without_a_restart() {
    let site = clone();
    let host = serve(&site);
    let config = std::fs::read_to_string(site.path("config.toml")).unwrap();
    assert!(config.contains("currency = \"EUR\""), "the tour changes the currency");
    replace(
        &site.path("config.toml"),
        config.replace("currency = \"EUR\"", "currency = \"USD\"").as_bytes(),
    );
    let mut number = 0;
    wait_for("an order in dollars", || {
        number += 1;
        let subject = format!("order_{number}");
        send(&site, &host, &subject, &[]);
        settled(&host);
        let child =
            only(&host.api(&format!("/api/v1/events?subject={subject}&type=order.video_ready")))?;
        let child = host.event(child["id"].as_str()?);
        (child["data"]["currency"] == "USD").then_some(())
    });
}
