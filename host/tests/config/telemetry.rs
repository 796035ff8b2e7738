//! `[telemetry]`, and the keys of sources and rules that belong to it.

use hookbox::config::{OtlpEndpoint, Telemetry};

use super::home::Home;

#[test]
fn without_a_collector_nothing_is_traced() {
    let usual = Home::new().good("").telemetry;
    assert_eq!(usual, Telemetry::default());
    assert_eq!((usual.otlp, usual.subjects, usual.join_ms), (None, false, 3_600_000));
}

#[test]
fn a_collector_is_a_host_with_a_port_and_perhaps_a_path() {
    let home = Home::new();
    for (text, host, port, base) in [
        ("http://127.0.0.1:4318", "127.0.0.1", 4318, ""),
        ("http://collector:4318/", "collector", 4318, ""),
        ("http://[::1]:4318/otlp/", "::1", 4318, "/otlp"),
        ("http://collector.internal", "collector.internal", 80, ""),
    ] {
        let config = home.good(&format!("[telemetry]\notlp = \"{text}\""));
        let endpoint = OtlpEndpoint { host: host.to_owned(), port, base: base.to_owned() };
        assert_eq!(config.telemetry.otlp, Some(endpoint), "{text}");
    }
}

#[test]
fn a_wrong_collector_is_refused_with_what_would_be_right() {
    let home = Home::new();
    for text in [
        "",
        "collector:4318",
        "127.0.0.1:4318",
        "grpc://127.0.0.1:4317",
        "http://",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:4318/v1/traces",
        "http://127.0.0.1:4318/?a=b",
        "http://127.0.0.1:4318/#a",
        "http://a b:4318",
    ] {
        let says = ["no address of a collector", "\"http://127.0.0.1:4318\"", "4318 is the usual"];
        home.refuses(&format!("[telemetry]\notlp = \"{text}\""), &says);
    }
    let says = ["sends without TLS", "a collector beside the host", "http://127.0.0.1:4318"];
    home.refuses("[telemetry]\notlp = \"https://otlp.example.com\"", &says);
    let password = "[telemetry]\notlp = \"http://jo:s3cret@127.0.0.1:4318\"";
    home.refuses(password, &["holds a user's name", "the collector alone"]);
    assert!(!home.bad(password).render(false).contains("s3cret"));
    home.refuses("[telemetry]\njoin = \"0s\"", &["out of bounds", "from 1s to 366d"]);
    home.refuses("[telemetry]\nsubjects = \"yes\"", &["true or false"]);
    home.refuses("[telemetry]\notpl = \"x\"", &["did you mean `otlp`?"]);
}

#[test]
fn the_page_of_a_trace_has_the_place_of_its_id() {
    let home = Home::new();
    let of = |text: &str| format!("[telemetry]\ntrace_url = \"{text}\"");
    let config = home.good(&of("https://t.example.com/trace/{trace_id}?from=1"));
    let url = config.telemetry.url_of("4bf9");
    assert_eq!(url.as_deref(), Some("https://t.example.com/trace/4bf9?from=1"));
    home.refuses(&of("https://t.example.com/trace"), &["where the id", "{trace_id}"]);
    for text in ["{trace_id}", "javascript:alert({trace_id})", "t.example.com/{trace_id}", ""] {
        home.refuses(&of(text), &["no address of a page", "https://"]);
    }
}

#[test]
fn a_source_trusts_a_traceparent_and_a_rule_sends_none_only_when_it_says_so() {
    let home = Home::new();
    let config = home.good(
        "[sources.a]\npreset = \"heygen\"\nsecrets = [{ env = \"ACME_SECRET\" }]\n\
         trust_traceparent = true\n[sources.b]\npreset = \"heygen\"\n\
         secrets = [{ env = \"ACME_SECRET\" }]\n[plugins.audit]\nhttp = [\n\
         { host = \"a.example\", traceparent = false }, { host = \"b.example\" }]",
    );
    let trusts = |name: &str| config.sources[name].trust_traceparent;
    assert_eq!((trusts("a"), trusts("b")), (true, false));
    let rules = &config.plugin("audit").grants.http;
    assert_eq!((rules[0].traceparent, rules[1].traceparent), (false, true));
}

#[test]
fn a_change_of_what_is_sent_waits_for_a_restart_and_the_page_of_a_trace_does_not() {
    let home = Home::new();
    let other = home.good(
        "[telemetry]\notlp = \"http://127.0.0.1:4318\"\nsubjects = true\njoin = \"5m\"\n\
         trace_url = \"https://t.example.com/{trace_id}\"",
    );
    let needed = home.good("").restart_needed(&other);
    assert_eq!(needed, ["telemetry.otlp", "telemetry.subjects", "telemetry.join"]);
}
