//! Which spans there are, and which is a part of which.

use std::time::Duration;

use hookbox::clock::Clock;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use super::{Called, SECRET_WORD, SENDERS, SUBJECT, attempt_of, chain, has, of, post};
use crate::support::{Answers, Collector, Host, NOW_MS, SOURCE, Site, attribute, guest, wait_for};

fn is_part_of(span: &Span, parent: &Span) {
    assert_eq!(span.trace_id, parent.trace_id, "{span:?}");
    assert_eq!(span.parent_span_id, parent.span_id, "{span:?} in {parent:?}");
    assert!(span.links.is_empty(), "{span:?}");
}

fn is(span: &Span, kind: SpanKind) {
    assert_eq!(span.kind, i32::from(kind), "{span:?}");
    assert!(span.start_time_unix_nano > 0, "{span:?}");
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
}

/// The spans that are parts of one, by name.
fn parts(collector: &Collector, of: &Span) -> Vec<(String, Span)> {
    let spans = collector.spans().into_iter().filter(|span| span.parent_span_id == of.span_id);
    let mut parts: Vec<_> = spans.map(|span| (span.name.clone(), span)).collect();
    parts.sort_by(|(one, _), (other, _)| one.cmp(other));
    parts
}

#[test]
fn a_chain_of_events_with_a_request_is_one_tree() {
    let (collector, called) = (Collector::start(Answers::Ok), Called::start());
    let site = chain(&called, &collector.section(""), "", "");
    let host = Host::start(&site);
    let id = post(&host, &called.body(), None);
    host.settled();
    collector.wait_for_spans("process plugins/echo", 1);
    let request = collector.the_span("POST /webhook/{source}");
    is(&request, SpanKind::Server);
    assert!(request.parent_span_id.is_empty() && request.links.is_empty(), "{request:?}");
    has(
        &request,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/webhook/{source}"),
            ("http.response.status_code", "200"),
            ("url.path", "/webhook/raw"),
            ("client.address", "127.0.0.1"),
        ],
    );
    let append = collector.the_span("append raw");
    is(&append, SpanKind::Producer);
    is_part_of(&append, &request);
    let size = called.body().len().to_string();
    has(
        &append,
        &[
            ("messaging.system", "hookbox"),
            ("messaging.operation.name", "append"),
            ("messaging.operation.type", "send"),
            ("messaging.destination.name", "raw"),
            ("messaging.message.id", &id),
            ("messaging.message.conversation_id", &id),
            ("messaging.message.body.size", &size),
            ("cloudevents.event_id", &id),
            ("cloudevents.event_source", "raw"),
            ("cloudevents.event_type", "call.made"),
            ("cloudevents.event_spec_version", "1.0"),
        ],
    );
    assert_eq!(of(&append, "cloudevents.event_subject"), None);
    let event = host.event(&id);
    of_the_attempts(&collector, &event, &append);
    of_what_was_emitted(&host, &collector, &event);
    assert_eq!(event["trace_id"].as_str(), Some(hex::encode(&append.trace_id).as_str()));
    assert_eq!(event["trace_url"], Value::Null);
    assert!(collector.spans().iter().all(|span| span.trace_id == request.trace_id));
    let resource = collector.resource();
    let of_host = |name: &str| attribute(&resource, name).unwrap();
    assert_eq!(of_host("service.name"), "hookbox");
    assert_eq!(of_host("service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(of_host("service.instance.id").len(), 36);
}

/// The attempts of the first event, with the request of one of them.
fn of_the_attempts(collector: &Collector, event: &Value, append: &Span) {
    let sends = attempt_of(collector, "process raw", "sends");
    let delivery = &event["deliveries"][0];
    assert_eq!(delivery["plugin"], "sends");
    is(&sends, SpanKind::Consumer);
    is_part_of(&sends, append);
    let (id, digest) =
        (delivery["id"].as_str().unwrap(), &delivery["attempts"][0]["plugin_digest"]);
    has(
        &sends,
        &[
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.destination.name", "raw"),
            ("messaging.consumer.group.name", "sends"),
            ("messaging.message.id", event["id"].as_str().unwrap()),
            ("faas.name", "sends"),
            ("faas.version", digest.as_str().unwrap()),
            ("faas.trigger", "pubsub"),
            ("faas.invocation_id", &format!("{id}#1")),
            ("faas.coldstart", "true"),
            ("hookbox.delivery.id", id),
            ("hookbox.attempt.number", "1"),
            ("hookbox.attempt.outcome", "ok"),
        ],
    );
    for name in ["wait_ms", "cpu_ms", "memory_peak"] {
        let value = of(&sends, &format!("hookbox.attempt.{name}")).unwrap();
        assert!(value.parse::<i64>().unwrap() >= i64::from(name == "memory_peak"), "{name}");
    }
    let parts = parts(collector, &sends);
    let [(_, get), (settle_name, settle)] = &parts[..] else { panic!("{parts:?}") };
    is(get, SpanKind::Client);
    has(
        get,
        &[
            ("http.request.method", "GET"),
            ("server.address", "127.0.0.1"),
            ("http.response.status_code", "418"),
            ("error.type", "418"),
        ],
    );
    let url = of(get, "url.full").unwrap();
    assert!(url.ends_with("/v1/orders?token=*"), "{url}");
    assert_eq!(get.name, "GET");
    assert_eq!(settle_name, "settle raw");
    is(settle, SpanKind::Client);
    has(settle, &[("messaging.operation.type", "settle"), ("hookbox.settlement.result", "kept")]);
}

/// The event that was emitted, its span and its attempt.
fn of_what_was_emitted(host: &Host, collector: &Collector, event: &Value) {
    let echo = attempt_of(collector, "process raw", "echo");
    let parts = parts(collector, &echo);
    let [(append_name, append), (settle_name, _)] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((append_name.as_str(), settle_name.as_str()), ("append plugins/echo", "settle raw"));
    is(append, SpanKind::Producer);
    let child = event["children"][0].as_str().unwrap();
    has(
        append,
        &[
            ("messaging.message.id", child),
            ("messaging.message.conversation_id", event["id"].as_str().unwrap()),
            ("messaging.destination.name", "plugins/echo"),
            ("cloudevents.event_type", "guest.echoed"),
        ],
    );
    let next = attempt_of(collector, "process plugins/echo", "next");
    is_part_of(&next, append);
    assert_eq!(host.event(child)["trace_id"], event["trace_id"]);
}

#[test]
fn a_request_of_a_plugin_carries_its_span_unless_the_rule_says_no() {
    for (rule, is_sent) in [("", true), (", traceparent = false", false)] {
        let (collector, called) = (Collector::start(Answers::Ok), Called::start());
        let site = chain(&called, &collector.section(""), "", rule);
        let host = Host::start(&site);
        post(&host, &called.body(), None);
        let get = collector.the_span("GET");
        let own = format!("00-{}-{}-01", hex::encode(&get.trace_id), hex::encode(&get.span_id));
        assert_eq!(called.traceparents(), [is_sent.then_some(own)]);
        host.settled();
    }
}

#[test]
fn a_request_that_no_rule_allows_has_a_span_that_says_so() {
    let (collector, called) = (Collector::start(Answers::Ok), Called::start());
    let site = chain(&called, &collector.section(""), "", ", path = \"/other\"");
    let host = Host::start(&site);
    post(&host, &called.body(), None);
    let get = collector.the_span("GET");
    has(&get, &[("hookbox.egress.refused", "true"), ("error.type", "refused")]);
    assert_eq!(of(&get, "http.response.status_code"), None);
    host.settled();
}

#[test]
fn a_host_without_a_collector_traces_nothing_and_sends_nothing_on() {
    let called = Called::start();
    let site = chain(&called, "", "", "");
    let host = Host::start(&site);
    let id = post(&host, &called.body(), Some(SENDERS));
    host.settled();
    assert_eq!(called.traceparents(), [None]);
    assert_eq!(host.event(&id)["trace_id"], Value::Null);
}

#[test]
fn the_senders_span_is_linked_and_is_the_parent_where_the_source_trusts_it() {
    for trusts in [false, true] {
        let (collector, called) = (Collector::start(Answers::Ok), Called::start());
        let of_source = format!("trust_traceparent = {trusts}");
        let site = chain(&called, &collector.section(""), &of_source, "");
        let host = Host::start(&site);
        post(&host, &called.body(), Some(SENDERS));
        let request = collector.the_span("POST /webhook/{source}");
        let (trace, span) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        if trusts {
            assert_eq!(hex::encode(&request.trace_id), trace);
            assert_eq!(hex::encode(&request.parent_span_id), span);
            assert!(request.links.is_empty(), "{request:?}");
        } else {
            assert_ne!(hex::encode(&request.trace_id), trace);
            assert!(request.parent_span_id.is_empty(), "{request:?}");
            let [link] = &request.links[..] else { panic!("{request:?}") };
            assert_eq!(
                (hex::encode(&link.trace_id), hex::encode(&link.span_id)),
                (trace.into(), span.into())
            );
        }
        host.settled();
    }
}

#[test]
fn a_refused_request_has_a_span_with_the_reason_that_is_no_error_of_the_host() {
    let collector = Collector::start(Answers::Ok);
    let site = Site::of_worker(&guest("ok"), &collector.section(""));
    let host = Host::start(&site);
    let url = format!("{}/webhook/test", host.public_url);
    let reply = crate::support::agent().post(url).header("x-signature", "00").send("{}").unwrap();
    assert_eq!(reply.status(), 401);
    let request = collector.the_span("POST /webhook/{source}");
    has(&request, &[("http.response.status_code", "401")]);
    assert!(of(&request, "hookbox.refusal.reason").is_some(), "{request:?}");
    assert_eq!(of(&request, "error.type"), None);
    assert_eq!(request.status, None);
    assert_eq!(collector.spans().len(), 1);
}

#[test]
fn a_duplicate_is_said_to_be_one_and_a_failed_attempt_fails() {
    let collector = Collector::start(Answers::Ok);
    let site = Site::of_worker(&guest("reject"), &collector.section(""));
    let host = Host::start(&site);
    let id = host.send("step.one", "order_1");
    host.settled();
    assert_eq!(host.send("step.one", "order_1"), id);
    let appends = collector.wait_for_spans("append test", 2);
    let said: Vec<_> = appends.iter().map(|span| of(span, "hookbox.event.duplicate")).collect();
    assert_eq!(said, [None, Some("true".to_owned())]);
    let process = collector.the_span("process test");
    has(&process, &[("error.type", "reject"), ("hookbox.attempt.outcome", "reject")]);
    assert_eq!(process.status.unwrap().code, 2);
}

#[test]
fn an_event_of_a_schedule_begins_a_trace_and_a_dead_letter_goes_on_with_it() {
    let collector = Collector::start(Answers::Ok);
    let config = format!(
        "[routes]\n\"report.due\" = \"ship\"\n\"plugins/ship:hookbox.dead\" = \"next\"\n\
         [schedules.report]\nevery = \"365d\"\nemit = \"report.due\"\n{}",
        collector.section("")
    );
    let (reject, ok) = (guest("reject"), guest("ok"));
    let site = Site::new(&config, &[("ship.wat", &reject), ("next.wat", &ok)]);
    let host = Host::start(&site);
    site.ask(&host, &["schedules", "run", "report"]).said();
    let append = collector.the_span("append schedules/report");
    assert!(append.parent_span_id.is_empty(), "{append:?}");
    let process = collector.the_span("process schedules/report");
    is_part_of(&process, &append);
    has(&process, &[("faas.trigger", "timer")]);
    let told = collector.the_span("append plugins/ship");
    is_part_of(&told, &process);
    has(&told, &[("cloudevents.event_type", "hookbox.dead")]);
    is_part_of(&collector.the_span("process plugins/ship"), &told);
    host.settled();
}

#[test]
fn an_attempt_long_after_its_event_is_a_trace_of_its_own_with_a_link() {
    let collector = Collector::start(Answers::Ok);
    let routes = "[routes]\n\"step.one\" = { plugin = \"worker\", delay = \"2h\" }\n\
                  \"step.soon\" = { plugin = \"worker\", delay = \"50m\" }\n";
    let config = format!("{SOURCE}{routes}{}", collector.section(""));
    let site = Site::new(&config, &[("worker.wat", &guest("ok"))]);
    site.keep_secret_in_file();
    let clock = Clock::manual(NOW_MS);
    let host = Host::start_by(&site, &clock);
    host.until_plugin("worker", "loaded");
    host.send("step.one", "order_1");
    host.send("step.soon", "order_2");
    let appends = collector.wait_for_spans("append test", 2);
    clock.set(NOW_MS + i64::try_from(Duration::from_secs(3_000).as_millis()).unwrap());
    let soon = collector.the_span("process test");
    is_part_of(&soon, &appends[1]);
    clock.set(NOW_MS + i64::try_from(Duration::from_secs(7_200).as_millis()).unwrap());
    let late = collector.wait_for_spans("process test", 2).remove(1);
    assert_ne!(late.trace_id, appends[0].trace_id);
    assert!(late.parent_span_id.is_empty(), "{late:?}");
    let [link] = &late.links[..] else { panic!("{late:?}") };
    assert_eq!((&link.trace_id, &link.span_id), (&appends[0].trace_id, &appends[0].span_id));
}

#[test]
fn what_an_operator_makes_begins_a_trace_and_names_the_one_it_was_made_of() {
    let (collector, called) = (Collector::start(Answers::Ok), Called::start());
    let section = collector.section("trace_url = \"https://t.example.com/{trace_id}\"");
    let site = chain(&called, &section, "", "");
    let host = Host::start(&site);
    let id = post(&host, &called.body(), None);
    let first = collector.the_span("append raw");
    let shown = host.event(&id);
    let trace = hex::encode(&first.trace_id);
    assert_eq!(shown["trace_url"], format!("https://t.example.com/{trace}"));
    let page = host.api(&format!("/events/{id}"));
    let link = format!("<a href=\"https://t.example.com/{trace}\">{trace}</a>");
    assert!(page.as_str().unwrap().contains(&link), "{page}");
    assert!(site.ask(&host, &["events", &id]).said().contains(&trace));
    site.ask(&host, &["events", "edit", &id, "--subject", "order_2"]).said();
    let edited = collector.wait_for_spans("append raw", 2).remove(1);
    assert_eq!(edited.links[0].span_id, first.span_id);
    assert_ne!(edited.trace_id, first.trace_id);
    let lines = site.ask(&host, &["events", "export", "--type", "call.made"]).said();
    assert!(lines.contains(&format!("\"traceparent\":\"00-{trace}-")), "{lines}");
    // This host has them, and another one does not.
    let site = chain(&called, &section, "", "");
    let other = Host::start(&site);
    site.put("lines", lines);
    site.ask(&other, &["events", "import", "lines"]).said();
    // The oldest is imported first.
    let imported = collector.wait_for_spans("append raw", 4).remove(2);
    assert_eq!(imported.links[0].span_id, first.span_id);
    other.settled();
    host.settled();
}

#[test]
fn nothing_that_may_be_personal_is_sent_unless_subjects_are_asked_for() {
    for subjects in [false, true] {
        let (collector, called) = (Collector::start(Answers::Ok), Called::start());
        let section = collector.section(&format!("subjects = {subjects}"));
        let site = chain(&called, &section, "", "");
        let env = [("HOOKBOX_LOG", "debug")];
        let host = Host::start_with(&site, &env).unwrap();
        host.until_plugin("sends", "loaded");
        host.until_plugin("next", "loaded");
        host.until_plugin("echo", "loaded");
        post(&host, &called.body(), None);
        collector.wait_for_spans("process plugins/echo", 1);
        wait_for("log lines", || (collector.logs().len() > 3).then_some(()));
        let append = collector.the_span("append raw");
        let subject = of(&append, "cloudevents.event_subject");
        assert_eq!(subject.as_deref(), subjects.then_some(SUBJECT));
        host.settled();
        host.stop();
        assert!(!collector.has_seen(SECRET_WORD));
        assert_eq!(collector.has_seen(SUBJECT), subjects);
    }
}
