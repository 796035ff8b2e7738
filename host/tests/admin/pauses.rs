//! Pauses: forms that ask why, and what says that something is paused.

use axum::http::{StatusCode, header};
use serde_json::json;

use super::forms::post;
use super::pages::{full, good, page};
use super::site::site;

#[tokio::test]
async fn a_plugin_is_paused_by_a_form_that_asks_why_and_is_seen_on_three_pages() {
    let site = full().await;
    assert!(good(&site, "/plugins/audit").await.contains("href=\"/plugins/audit/pause\""));
    let ask = good(&site, "/plugins/audit/pause").await;
    assert!(ask.contains("name=\"reason\"") && ask.contains("are taken in"), "{ask}");
    assert_eq!(post(&site, "/plugins/audit/pause", "").await.status, StatusCode::BAD_REQUEST);
    let done = post(&site, "/plugins/audit/pause", "reason=%3Cb%3Eslow&once=a").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    for path in ["/", "/plugins", "/plugins/audit"] {
        let text = good(&site, path).await;
        assert!(text.to_lowercase().contains("paused by local"), "{path}: {text}");
        assert!(text.contains("&lt;b&gt;slow") && !text.contains("<b>slow"), "{path}");
    }
    let ask = good(&site, "/plugins/audit/resume").await;
    assert!(ask.contains("&lt;b&gt;slow"), "{ask}");
    let done = post(&site, "/plugins/audit/resume", "once=b").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    assert_eq!(page(&site, "/plugins/audit/resume").await.status, StatusCode::CONFLICT);
    let text = good(&site, "/plugins/audit").await;
    assert!(text.contains("plugins.resume by local") && text.contains("&lt;b&gt;slow"), "{text}");
    assert!(!good(&site, "/plugins/orders").await.contains("plugins.resume"), "it is another's");
    let audit = site.get("/api/v1/audit?action=plugins").await;
    let entries = audit["items"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{audit}");
    assert_eq!(
        (&entries[1]["action"], &entries[1]["detail"], &entries[1]["via"]),
        (&json!("plugins.pause"), &json!("<b>slow"), &json!("page"))
    );
}

#[tokio::test]
async fn an_action_on_a_schedule_leads_back_to_where_it_began() {
    let site = site();
    for (list, back) in [("/schedules", "/schedules"), ("/schedules/report", "/schedules/report")] {
        for verb in ["pause", "resume"] {
            let text = good(&site, list).await;
            let action = format!("/schedules/report/{verb}");
            let from = text.split(&format!("href=\"{action}")).nth(1).unwrap();
            let ask = good(&site, &format!("{action}{}", from.split('"').next().unwrap())).await;
            assert!(ask.contains(&format!("href=\"{back}\">Cancel</a>")), "{ask}");
            let from = ask.split("name=\"from\" value=\"").nth(1);
            let from = from.map_or("", |from| from.split('"').next().unwrap());
            let done = post(&site, &action, &format!("reason=later&from={from}")).await;
            assert_eq!(done.headers[header::LOCATION], back, "{verb}");
        }
    }
    // It is no address: nobody is led elsewhere.
    let done = post(&site, "/schedules/report/pause", "reason=x&from=//evil.example").await;
    assert_eq!(done.headers[header::LOCATION], "/schedules");
}

#[tokio::test]
async fn a_pause_needs_a_reason_and_something_to_pause() {
    let site = site();
    let long = "x".repeat(501);
    for (path, status, part) in [
        ("/api/v1/plugins/audit/pause", 400, "`reason` is missing"),
        (&format!("/api/v1/plugins/audit/pause?reason={long}"), 400, "500"),
        ("/api/v1/plugins/audti/pause?reason=x", 404, "did you mean `audit`?"),
        ("/api/v1/plugins/audit/resume", 409, "not paused"),
        ("/api/v1/schedules/reprot/pause?reason=x", 404, "did you mean `report`?"),
        ("/api/v1/schedules/report/resume", 409, "not paused"),
    ] {
        let (found, detail) = site.refused("POST", path, None).await;
        assert!(found == status && detail.contains(part), "{path}: {found} {detail}");
    }
    assert_eq!(site.get("/api/v1/audit").await["items"], json!([]));
}
