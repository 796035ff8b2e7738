//! Log lines carry the ids of the span that they belong to, and are sent.

use super::of;
use crate::support::{
    Answers, Collector, Host, SOURCE, Site, any_text, attribute, guest, wait_for,
};

/// A host whose plugin fails as it is told, and forwards its log lines.
fn site(collector: &Collector) -> Site {
    let config = format!(
        "{SOURCE}[routes]\n\"a.b\" = \"told\"\n[plugins.told]\nconfig = {{ do = \"fail\" }}\n\
         log = \"forward\"\nretry = {{ max_attempts = 1 }}\n{}",
        collector.section("")
    );
    Site::new(&config, &[("told.wat", &guest("as-told"))])
}

fn start(site: &Site) -> Host {
    let host = Host::start_with(site, &[("HOOKBOX_LOG", "debug")]).unwrap();
    host.until_plugin("told", "loaded");
    host
}

#[test]
fn a_line_of_an_attempt_has_the_ids_of_its_span_in_the_log_and_at_the_collector() {
    let collector = Collector::start(Answers::Ok);
    let site = site(&collector);
    let host = start(&site);
    host.send("a.b", "order_1");
    let process = collector.the_span("process test");
    let (trace, span) = (hex::encode(&process.trace_id), hex::encode(&process.span_id));
    let (_, line) = wait_for("the line", || {
        let is_it = |body: Option<String>| body.as_deref() == Some("dead letter");
        let mut lines = collector.logs().into_iter();
        lines.find(|(_, line)| is_it(line.body.as_ref().and_then(any_text)))
    });
    assert_eq!((line.trace_id, line.span_id), (process.trace_id.clone(), process.span_id.clone()));
    assert_eq!(line.severity_text, "WARN");
    assert_eq!(attribute(&line.attributes, "plugin.name").as_deref(), Some("told"));
    assert_eq!(attribute(&line.attributes, "delivery.id"), of(&process, "hookbox.delivery.id"));
    // Its reason is a text of the plugin.
    assert_eq!(attribute(&line.attributes, "reason"), None);
    let log = site.log();
    let written = log.lines().find(|line| line.contains("dead letter")).unwrap();
    assert!(written.ends_with(&format!(" trace_id={trace} span_id={span}")), "{written}");
    assert!(log.contains("reason=\"as told\""), "{log}");
    let forwarded = log.lines().find(|line| line.contains(" plugin: ")).unwrap();
    assert!(forwarded.contains(&trace), "{forwarded}");
    host.stop();
    let scopes: Vec<_> = collector.logs().into_iter().map(|(scope, _)| scope).collect();
    assert!(scopes.iter().all(|scope| scope.starts_with("hookbox")), "{scopes:?}");
}
