//! `[telemetry]`, and the keys of sources and rules that belong to it.

use std::fs;

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
    for (text, tls, host, port, base) in [
        ("http://127.0.0.1:4318", false, "127.0.0.1", 4318, ""),
        ("http://collector:4318/", false, "collector", 4318, ""),
        ("http://[::1]:4318/otlp/", false, "::1", 4318, "/otlp"),
        ("http://collector.internal", false, "collector.internal", 80, ""),
        ("https://otlp.example.com/otlp", true, "otlp.example.com", 443, "/otlp"),
        ("https://otlp.example.com:4318", true, "otlp.example.com", 4318, ""),
    ] {
        let config = home.good(&format!("[telemetry]\notlp = \"{text}\""));
        let endpoint = OtlpEndpoint { tls, host: host.to_owned(), port, base: base.to_owned() };
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
        "https://",
        "https://otlp.example.com/v1/logs",
        "http://127.0.0.1:4318/v1/traces",
        "http://127.0.0.1:4318/#a",
        "http://a b:4318",
    ] {
        let says = ["no address of a collector", "\"http://127.0.0.1:4318\"", "4318 is the usual"];
        home.refuses(&format!("[telemetry]\notlp = \"{text}\""), &says);
    }
    for (text, fault) in [
        ("http://jo:s3cret@127.0.0.1:4318", "holds a user's name"),
        ("https://otlp.example.com/?api-key=s3cret", "has a query"),
    ] {
        let secret = format!("[telemetry]\notlp = \"{text}\"");
        home.refuses(&secret, &[fault, "the collector alone"]);
        assert!(!home.bad(&secret).render(false).contains("s3cret"));
    }
    home.refuses("[telemetry]\njoin = \"0s\"", &["out of bounds", "from 1s to 366d"]);
    home.refuses("[telemetry]\nsubjects = \"yes\"", &["true or false"]);
    home.refuses("[telemetry]\notpl = \"x\"", &["did you mean `otlp`?"]);
}

#[test]
fn a_collector_may_want_credentials_which_are_never_written_out() {
    let home = Home { env: vec![("OTLP_TOKEN", "glc_s3cret"), ("TENANT", "7")], ..Home::new() };
    let of = |rest: &str| format!("[telemetry]\notlp = \"https://otlp.example.com\"\n{rest}");
    let config = home.good(&of("headers = { Authorization = { prefix = \"Bearer \", env = \
         \"OTLP_TOKEN\" }, X-Scope-OrgID = { env = \"TENANT\" } }"));
    let headers = &config.telemetry.headers;
    let names: Vec<_> = headers.iter().map(|it| (it.name.as_str(), it.value.is_ok())).collect();
    assert_eq!(names, [("authorization", true), ("x-scope-orgid", true)]);
    assert_eq!(config.warnings, []);
    let shown = format!("{config:?}{:?}", config.effective());
    assert!(shown.contains("OTLP_TOKEN") && !shown.contains("s3cret"), "{shown}");
    let literal = of("headers = { Authorization = \"Bearer s3cret\" }");
    home.refuses(&literal, &["telemetry.headers.Authorization", "literal value", "{ file ="]);
    assert!(!home.bad(&literal).render(false).contains("s3cret"));
    home.refuses(&of("headers = { Content-Type = { env = \"TENANT\" } }"), &["sets itself"]);
    home.refuses(&of("headers = \"a\""), &["a table", "OTLP_AUTHORIZATION"]);
    home.refuses(&of("ca_file = \"none.pem\""), &["telemetry.ca_file", "cannot be read"]);
    let plain = "[telemetry]\notlp = \"http://otlp.example.com\"\n";
    fs::write(home.folder.path().join("ca.pem"), rcgen_pem()).unwrap();
    home.refuses(&format!("{plain}ca_file = \"ca.pem\""), &["that speaks TLS", "https://"]);
    for key in ["ca_file = \"ca.pem\"", "headers = { A = { env = \"TENANT\" } }"] {
        home.refuses(&format!("[telemetry]\n{key}"), &["is for a collector", "`otlp`"]);
    }
    let secret = "headers = { A = { env = \"TENANT\" } }";
    let said = |text: &str| home.good(text).warnings[0].text.clone();
    assert!(said(&format!("{plain}{secret}")).contains("otlp.example.com without TLS"));
    assert!(
        said(&of("headers = { A = { env = \"GONE\" } }")).contains("`a` of `telemetry.headers`")
    );
    let near = format!("[telemetry]\notlp = \"http://[::1]:4318\"\n{secret}");
    assert_eq!(home.good(&near).warnings, []);
}

fn rcgen_pem() -> String {
    rcgen::generate_simple_self_signed(["otlp.example.com".to_owned()]).unwrap().cert.pem()
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
         headers = { A = { env = \"ACME_SECRET\" } }\ntrace_url = \"https://t.example.com/{trace_id}\"",
    );
    let needed = home.good("").restart_needed(&other);
    assert_eq!(
        needed,
        ["telemetry.otlp", "telemetry.headers", "telemetry.subjects", "telemetry.join"]
    );
}
