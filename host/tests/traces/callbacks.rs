//! Callbacks in traces: the token of their address is in none.

use super::of;
use crate::support::{Answers, Collector, Host, Site, agent, guest};

#[test]
fn the_token_of_callbacks_is_in_no_span_and_no_line() {
    let collector = Collector::start(Answers::Ok);
    let config = format!(
        "[sources.heygen]\npreset = \"heygen\"\nsecrets = [{{ env = \"TEST_SECRET\" }}]\ncallback = true\n\
         public_url = \"https://hooks.example.com\"\n[routes]\n\"avatar_video.*\" = \"worker\"\n{}",
        collector.section("")
    );
    let site = Site::new(&config, &[("worker.wat", &guest("ok"))]);
    let made = site.run(&["provider", "heygen", "callback-url"]).said();
    let token = made.trim().rsplit('/').next().unwrap();
    let host = Host::start(&site);
    let post = |path: &str| {
        let url = format!("{}/webhook/{path}", host.public_url);
        let body = r#"{"event_type":"avatar_video.success","event_data":{}}"#;
        let request = agent().post(url).header("content-type", "application/json");
        request.send(body).unwrap().status().as_u16()
    };
    assert_eq!(post(&format!("heygen/{token}")), 200);
    assert_eq!(post("%68eygen/"), 401);
    let spans = collector.wait_for_spans("POST /webhook/{source}", 2);
    let mut paths: Vec<_> = spans.iter().filter_map(|span| of(span, "url.path")).collect();
    paths.sort();
    assert_eq!(paths, ["/webhook/heygen", "/webhook/heygen/REDACTED"]);
    collector.wait_for_spans("process heygen", 1);
    drop(host);
    assert!(!collector.has_seen(token) && !site.log().contains(token));
}
