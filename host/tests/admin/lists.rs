//! Listings: the filters that their forms keep, the way back, and what is done from them.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::Value;

use super::forms::post;
use super::pages::{full, good};
use super::site::{Console, event, site};

/// The value of an attribute that follows a text.
fn value(text: &str, before: &str) -> Option<String> {
    let found = text.split_once(before)?.1.split('"').next()?;
    Some(found.replace("&#38;", "&").replace("&amp;", "&"))
}

#[tokio::test]
async fn a_form_keeps_the_filters_that_it_does_not_show() {
    let site = full().await;
    let group = site.get("/api/v1/failures?outcome=reject").await["items"][0]["id"].clone();
    let group = group.as_str().unwrap();
    let path =
        format!("/deliveries?failure={group}&outcome=reject&min_attempts=1&source=github&limit=9");
    let text = good(&site, &path).await;
    let form = text.split_once("class=\"filters\"").unwrap().1.split_once("</form>").unwrap().0;
    for (name, held) in [
        ("failure", group),
        ("outcome", "reject"),
        ("min_attempts", "1"),
        ("source", "github"),
        ("limit", "9"),
    ] {
        let field = format!("<input type=\"hidden\" name=\"{name}\" value=\"{held}\">");
        assert!(form.contains(&field), "{field}: {form}");
        assert!(text.contains(&format!("{name}: {held} <span")), "a chip of {name}: {text}");
    }
    let text = good(&site, "/events?min_attempts=1&emitted=false&state=dead&cursor=").await;
    let form = text.split_once("class=\"filters\"").unwrap().1.split_once("</form>").unwrap().0;
    assert_eq!(form.matches("type=\"hidden\"").count(), 2, "{form}");
    // A plugin that is gone is still what the list is of.
    for path in ["/events", "/deliveries", "/failures"] {
        let text = good(&site, &format!("{path}?plugin=gone")).await;
        assert!(text.contains("<option selected>gone</option>"), "{path}: {text}");
    }
}

#[tokio::test]
async fn newer_leads_back_page_by_page() {
    for list in ["/events", "/deliveries"] {
        let site = site();
        for n in 0..7 {
            site.append(event("video.done", &format!("order_{n}"), b"{}", &["audit"])).await;
        }
        let mut pages = vec![format!("{list}?type=video.done&limit=2")];
        while let Some(next) =
            value(&good(&site, pages.last().unwrap()).await, "rel=\"next\" href=\"")
        {
            pages.push(next);
        }
        assert_eq!(pages.len(), 4, "{pages:?}");
        let rows = |text: &str| {
            let rows = text.split("<tr data-row=\"").skip(1);
            rows.map(|row| row.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        // Whatever comes in meanwhile, a page holds what it held.
        let before = rows(&good(&site, &pages[2]).await);
        site.append(event("video.done", "late", b"{}", &["audit"])).await;
        let last = good(&site, &pages[3]).await;
        let newer = value(&last, "rel=\"prev\" href=\"").unwrap();
        assert_eq!(newer, pages[2]);
        assert_eq!(rows(&good(&site, &newer).await), before);
        let newer = value(&good(&site, &newer).await, "rel=\"prev\" href=\"").unwrap();
        assert_eq!(newer, pages[1]);
        let second = good(&site, &newer).await;
        assert!(!second.contains("rel=\"prev\"") && second.contains(">newest</a>"), "{second}");
    }
}

async fn lines(site: &Console, query: &str) -> Vec<Value> {
    let request = Request::builder()
        .uri(format!("/api/v1/audit/export{query}"))
        .header(header::HOST, "localhost:3001");
    let response = site.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_audit_log_is_exported_whole_and_by_its_filters() {
    let site = site();
    assert!(lines(&site, "").await.is_empty());
    for n in 0..3 {
        let path = format!("/api/v1/kv/audit/value?key=k{n}&force=true");
        assert_eq!(site.ask("PUT", &path, Some(n.into())).await.0, StatusCode::OK);
    }
    let (status, _) = site.ask("POST", "/api/v1/plugins/audit/pause?reason=x", None).await;
    assert_eq!(status, StatusCode::OK);
    let listed = site.get("/api/v1/audit").await["items"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 4);
    assert_eq!(lines(&site, "").await, listed);
    assert_eq!(lines(&site, "?limit=2").await, listed[..2]);
    assert_eq!(lines(&site, "?action=plugins").await, listed[..1]);
    let page = good(&site, "/settings/audit?action=plugins&limit=1").await;
    assert!(page.contains("href=\"/api/v1/audit/export?action=plugins\""), "{page}");
}

#[tokio::test]
async fn rows_are_discarded_together_and_one_is_undiscarded() {
    let site = full().await;
    let dead = site.get("/api/v1/deliveries?state=dead").await["items"].clone();
    let [a, b] = [0, 1].map(|at| dead[at]["id"].as_str().unwrap().to_owned());
    let list = good(&site, "/deliveries?state=dead").await;
    assert!(list.contains("<button data-key=\"d\" name=\"action\" value=\"discard\">"), "{list}");
    let ask =
        good(&site, &format!("/operations/new?chosen=rows&ids={a}&ids={b}&action=discard")).await;
    assert!(ask.contains("Discard 2 deliveries?"), "{ask}");
    let own = format!("/deliveries/{a}/discard");
    assert_eq!(post(&site, &own, "once=a").await.status, StatusCode::SEE_OTHER);
    let event = a.replace("dlv_", "evt_");
    let event = event.rsplit_once('_').unwrap().0;
    let text = good(&site, &format!("/events/{event}?tab=attempts")).await;
    let own = format!("/deliveries/{a}/undiscard");
    assert!(text.contains(&format!("href=\"{own}\"")), "{text}");
    let ask = good(&site, &own).await;
    for part in ["It is a dead letter again", &*format!("hookbox deliveries undiscard {a}")] {
        assert!(ask.contains(part), "{part}: {ask}");
    }
    let done = post(&site, &own, "once=b").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text);
    assert_eq!(site.get(&format!("/api/v1/deliveries/{a}")).await["state"], "dead");
}

#[tokio::test]
async fn what_is_done_to_selected_rows_leads_back_to_the_list_with_its_filters() {
    let site = full().await;
    for (list, action) in [
        ("/deliveries?state=dead&plugin=audit&limit=9", "/operations/new?action=retry&ids="),
        ("/events?type=video.done&limit=9", "/replays/new?id="),
    ] {
        let text = good(&site, list).await;
        let row = value(&text, "<tr data-row=\"").unwrap();
        assert_eq!(value(&text, "name=\"list\" value=\"").unwrap(), list);
        let list_field = list.replace('?', "%3F").replace('=', "%3D").replace('&', "%26");
        let path = format!("{action}{row}&chosen=rows&list={list_field}");
        let ask = good(&site, &path).await;
        let cancel = ask.split_once("class=\"button\" data-key=\"u\" href=\"").unwrap().1;
        let cancel = cancel.split('"').next().unwrap().replace("&#38;", "&");
        assert_eq!(cancel, list);
    }
}

#[tokio::test]
async fn what_fails_and_what_plugins_emitted_are_views_and_all_that_match_can_be_exported() {
    let site = full().await;
    let mut made = event("order.made", "order_9", b"{}", &[]);
    made.attributes.source = "plugins/orders".into();
    let made = site.append(made).await.to_string();
    let text = good(&site, "/events?state=failing").await;
    // Three are dead, and one waits after a failure.
    assert_eq!(text.matches("<tr data-row=").count(), 4, "{text}");
    assert!(text.contains("aria-current=\"true\">failing</a>"), "{text}");
    let text = good(&site, "/events?emitted=true").await;
    assert!(text.contains(&format!("<tr data-row=\"{made}\"")), "{text}");
    assert_eq!(text.matches("<tr data-row=").count(), 1, "{text}");
    assert!(text.contains("aria-current=\"true\">emitted by plugins</a>"), "{text}");
    assert_eq!(
        value(&text, "class=\"button\" href=\"/api/v1/events/export").unwrap(),
        "?emitted=true"
    );
    assert!(text.contains("<hb-copy data-ids=\"copy ids\">"), "{text}");
}
