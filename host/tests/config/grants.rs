//! Grants and limits of a plugin: how they are read, and how impossible ones are refused.

use std::fs;
use std::sync::Arc;

use hookbox::config::{HostPattern, HttpRule, Limits};
use secrecy::ExposeSecret;

use super::home::Home;

const TOKEN: (&str, &str) = ("API_TOKEN", "sk-0123456789");

fn rules(home: &Home, rules: &str) -> Vec<Arc<HttpRule>> {
    home.good(&format!("[plugins.audit]\nhttp = {rules}")).plugin("audit").grants.http.clone()
}

fn refuses(rule: &str, says: &[&str]) {
    let home = Home {
        env: vec![
            TOKEN,
            ("SHORT", "1234567"),
            ("LINES", "0123456789\nX: y"),
            ("SPACES", "ab        "),
        ],
        ..Home::new()
    };
    home.refuses(&format!("[plugins.audit]\nhttp = [{rule}]"), says);
}

#[test]
fn a_rule_is_https_on_its_port_for_every_method_and_path_and_public_addresses_only() {
    let home = Home::new();
    let rule = &rules(&home, "[{ host = \"API.Example.com\" }]")[0];
    let expected = HttpRule {
        tls: true,
        host: HostPattern::Name("api.example.com".to_owned()),
        port: 443,
        methods: None,
        path: "/".to_owned(),
        private: false,
        headers: Vec::new(),
        idempotency_key: true,
        traceparent: true,
        authorities: None,
    };
    assert_eq!(**rule, expected);
    let plain = &rules(&home, "{ scheme = \"http\", host = \"a.example.com\" }")[0];
    assert_eq!((plain.tls, plain.port), (false, 80));
    assert!(
        home.good("").plugin("audit").grants.http.is_empty(),
        "there is no way out without a rule"
    );
}

#[test]
fn every_key_of_a_rule_is_read() {
    let home = Home { env: vec![TOKEN], ..Home::new() };
    fs::write(home.folder.path().join("key"), "0123456789\n").unwrap();
    let rule = &rules(
        &home,
        r#"[{ scheme = "http", host = "*.Example.com", port = 8080, methods = ["POST", "GET"], path = "/v1/", private = true,
             idempotency_key = false, headers = { Authorization = { prefix = "Bearer ", env = "API_TOKEN" },
             X-Key = { file = "key" }, X-None = { env = "ABSENT" } } }]"#,
    )[0];
    assert_eq!(rule.host, HostPattern::Below(".example.com".to_owned()));
    assert_eq!(rule.host.to_string(), "*.example.com");
    assert_eq!(
        (rule.port, rule.path.as_str(), rule.private, rule.idempotency_key),
        (8080, "/v1/", true, false)
    );
    assert_eq!(rule.methods.as_deref(), Some(&["GET".to_owned(), "POST".to_owned()][..]));
    let headers: Vec<_> = rule
        .headers
        .iter()
        .map(|header| {
            let value = header.value.as_ref().map(|value| value.expose_secret());
            (header.name.as_str(), header.prefix.as_str(), value.map_err(String::as_str))
        })
        .collect();
    let expected = [
        ("authorization", "Bearer ", Ok("sk-0123456789")),
        ("x-key", "", Ok("0123456789")),
        ("x-none", "", Err("the environment variable `ABSENT`")),
    ];
    assert_eq!(headers, expected);
    assert!(!format!("{rule:?}").contains("0123456789"), "a secret is shown");
}

#[test]
fn a_host_is_a_name_an_address_or_everything_below_a_name() {
    let home = Home::new();
    for (text, shown) in [
        ("localhost", "localhost"),
        ("10.0.0.7", "10.0.0.7"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a_b.example.com", "a_b.example.com"),
    ] {
        assert_eq!(
            rules(&home, &format!("[{{ host = \"{text}\", private = true }}]"))[0].host.to_string(),
            shown
        );
    }
    for (text, says) in [
        ("", "write a name"),
        ("*", "a star stands alone before at least two parts"),
        ("*.com", "before at least two parts"),
        ("api*.example.com", "a star stands alone"),
        ("a.example.com.", "write a name"),
        ("a..example.com", "write a name"),
        ("user@example.com", "write a name"),
        ("0x7f.1", "write a name"),
        ("2130706433", "write a name"),
        ("127.1", "write a name"),
        ("bücher.example", "punycode"),
        ("https://a.example.com/v1", "scheme = \\\"https\\\", host = \\\"a.example.com\\\""),
        ("a.example.com:8443", "port = 8443"),
        ("fe80::1%eth0", "write a name"),
    ] {
        refuses(
            &format!("{{ host = \"{text}\" }}"),
            &["is not the name of a host", &says.replace('\\', "")],
        );
    }
}

#[test]
fn a_rule_that_cannot_be_meant_is_refused() {
    let host = "host = \"a.example.com\"";
    for (rule, says) in [
        ("\"https://a.example.com\"".to_owned(), "which is no rule"),
        ("{ methods = [\"GET\"] }".to_owned(), "names no host"),
        (format!("{{ {host}, scheme = \"ftp\" }}"), "it can be \"https\", \"http\""),
        (format!("{{ {host}, port = 0 }}"), "from 1 to 65535"),
        (format!("{{ {host}, methods = [] }}"), "is empty"),
        (format!("{{ {host}, methods = [\"get\"] }}"), "it can be \"GET\""),
        (format!("{{ {host}, methods = [\"CONNECT\"] }}"), "it can be \"GET\""),
        (format!("{{ {host}, path = \"v1\" }}"), "which no path begins with"),
        (format!("{{ {host}, path = \"/v1/../admin\" }}"), "which no path begins with"),
        (format!("{{ {host}, path = \"/%2e\" }}"), "which no path begins with"),
        (format!("{{ {host}, path = \"/a?b\" }}"), "which no path begins with"),
        (format!("{{ {host}, private = \"yes\" }}"), "must be true or false"),
        (
            format!("{{ {host}, headers = {{ \"a b\" = {{ env = \"API_TOKEN\" }} }} }}"),
            "not the name of a header",
        ),
        (
            format!("{{ {host}, headers = {{ Host = {{ env = \"API_TOKEN\" }} }} }}"),
            "the host sets itself",
        ),
        (format!("{{ {host}, headers = {{ A = \"sk-0123456789\" }} }}"), "holds a literal value"),
        (
            format!("{{ {host}, headers = {{ A = {{ prefix = \"Bearer \" }} }} }}"),
            "exactly one place",
        ),
        (format!("{{ {host}, headers = {{ A = {{ env = \"SHORT\" }} }} }}"), "too short"),
        (
            format!("{{ {host}, headers = {{ A = {{ env = \"LINES\" }} }} }}"),
            "not visible ASCII in one line",
        ),
        (
            format!(
                "{{ {host}, headers = {{ A = {{ env = \"API_TOKEN\", prefix = \"a\\n\" }} }} }}"
            ),
            "cannot stand in a header",
        ),
        (
            format!(
                "{{ {host}, headers = {{ A = {{ env = \"API_TOKEN\" }}, a = {{ env = \"API_TOKEN\" }} }} }}"
            ),
            "is there twice",
        ),
        (
            format!("{{ {host}, headers = {{ Range = {{ env = \"API_TOKEN\" }} }} }}"),
            "the host sets itself",
        ),
        (format!("{{ {host}, headers = {{ A = {{ env = \"SPACES\" }} }} }}"), "too short"),
        ("{ host = \"10.0.0.7\" }".to_owned(), "add `private = true`"),
        ("{ host = \"localhost\" }".to_owned(), "add `private = true`"),
        ("{ host = \"0.0.0.0\", private = true }".to_owned(), "which is no host's address"),
        (format!("{{ {host}, ca_file = \"absent.pem\" }}"), "cannot be read"),
        (format!("{{ {host}, ca_file = \"plugins/audit.wat\" }}"), "holds no certificate"),
    ] {
        refuses(&rule, &[says]);
    }
}

#[test]
fn a_literal_credential_is_never_shown() {
    let rule = "{ host = \"a.example.com\", headers = { Authorization = \"sk-0123456789\" } }";
    let problems = Home::new().bad(&format!("[plugins.audit]\nhttp = [{rule}]"));
    for shown in
        [problems.render(false), problems.render(true), problems.summary(), format!("{problems:?}")]
    {
        assert!(!shown.contains("0123456789"), "a secret is shown: {shown}");
    }
}

#[test]
fn limits_are_read_and_those_that_contradict_each_other_refused() {
    let home = Home::new();
    let limits = |text: &str| home.good(&format!("[plugins.audit]\n{text}")).plugin("audit").limits;
    assert_eq!(limits(""), Limits::default());
    assert_eq!(limits("timeout = \"2s\"").cpu_ms, 2_000, "it computes as long as it may run");
    let read = limits(
        "timeout = \"2s\"\nlimits = { cpu = \"1s\", emitted = 0, http_sent = \"1MiB\", call_size = \"8MiB\" }",
    );
    assert_eq!(
        (read.cpu_ms, read.emitted, read.http_sent_bytes, read.call_bytes),
        (1_000, 0, 1 << 20, 8 << 20)
    );
    for (text, says) in [
        ("limits = { cpu = \"11s\" }", "longer than `timeout`"),
        ("limits = { emitted = 5000 }", "from 0 to 4096"),
        ("limits = { emitted_size = \"5MiB\" }", "larger than `call_size`"),
        ("limits = { log_size = \"1GiB\" }", "from 1KiB to 1MiB"),
        ("limits = { handles = 1 }", "from 16 to 100000"),
        ("limits = { emited = 1 }", "did you mean `emitted`?"),
    ] {
        home.refuses(&format!("[plugins.audit]\n{text}"), &[says]);
    }
}
