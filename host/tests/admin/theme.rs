//! The theme of the pages.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};

use super::pages::{good, shown};
use super::site::site;

#[tokio::test]
async fn a_theme_is_kept_in_a_cookie_of_the_browser_alone() {
    let site = site();
    let choose = async |fields: &str| {
        let request = Request::post("/theme")
            .header(header::HOST, "localhost:3001")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        site.send(request.body(Body::from(fields.to_owned())).unwrap()).await
    };
    let chosen = choose("theme=dark&next=%2Fevents%3Ftype%3Da").await;
    assert_eq!(chosen.status(), StatusCode::SEE_OTHER);
    assert_eq!(chosen.headers()[header::LOCATION], "/events?type=a");
    let cookie = chosen.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("hb-theme=dark; Path=/; Max-Age=31536000; HttpOnly;"), "{cookie}");
    let with = Request::get("/events")
        .header(header::HOST, "localhost:3001")
        .header(header::COOKIE, "hb-theme=dark");
    let dark = shown(site.send(with.body(Body::empty()).unwrap()).await).await;
    assert!(dark.text.contains("<html lang=\"en\" data-theme=\"dark\">"), "{}", dark.text);
    assert!(!good(&site, "/events").await.contains("data-theme"), "that of the system");
    // The theme is chosen on a page, and leads back to it as it was.
    for here in ["/events?type=a&back=C1.C2&q=b%20c", "/sources", "/login?next=%2Fevents%3Fq%3Da"] {
        let page = good(&site, here).await;
        let next = page.rsplit_once("name=\"next\" value=\"").unwrap().1;
        assert_eq!(next.split('"').next().unwrap().replace("&#38;", "&"), here);
    }
    // A form that is refused is not on a page of its own.
    for (referer, here) in [
        (
            "http://localhost:3001/operations/op_9?list=%2Fdeliveries",
            "/operations/op_9?list=%2Fdeliveries",
        ),
        ("http://evil.example//evil.example/", "/"),
        ("", "/"),
    ] {
        let request = Request::post("/operations/op_9/pause")
            .header(header::HOST, "localhost:3001")
            .header(header::ACCEPT, "text/html")
            .header(header::REFERER, referer)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let refused = shown(site.send(request.body(Body::empty()).unwrap()).await).await;
        let next = refused.text.rsplit_once("name=\"next\" value=\"").unwrap().1;
        assert_eq!(next.split('"').next().unwrap().replace("&#38;", "&"), here);
    }
    assert_eq!(choose("theme=dark&next=//evil.example").await.headers()[header::LOCATION], "/");
    assert_eq!(choose("theme=blue").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(site.get("/api/v1/audit").await["items"], serde_json::json!([]));
}
