//! The parts of a configuration that can be read while the rest has problems.

use std::net::SocketAddr;

use hookbox::config::AdminAddress;
use hookbox::config::source::{Secrets, Verify};

use super::home::{ACME, Home};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn the_admin_address_is_known_where_the_file_says_it_and_guessed_where_it_cannot_be_read() {
    let (usual, own) = (address("127.0.0.1:3001"), address("127.0.0.1:4001"));
    for (text, expected) in [
        ("", AdminAddress::Known(usual)),
        ("[server]\nadmin = \"127.0.0.1:4001\"\n", AdminAddress::Known(own)),
        (
            "[server]\nadmin = \"127.0.0.1:4001\"\nx = 1\n[store]\nretention = 7\n",
            AdminAddress::Known(own),
        ),
        (
            "[server]\nadmin = \"127.0.0.1:4001\"\n[routes]\n\"a\" = \"b\"\n\"a\" = \"c\"\n",
            AdminAddress::Known(own),
        ),
        ("[server]\nadmin = \"127.0.0.1:4001\"\n[routes]\na.* = \"b\"\n", AdminAddress::Known(own)),
        ("[server]\nadmin = \"nowhere\"\n", AdminAddress::Guessed(usual)),
        ("[server\nadmin = \"127.0.0.1:4001\"\n", AdminAddress::Guessed(usual)),
        ("no toml at all", AdminAddress::Guessed(usual)),
    ] {
        assert_eq!(Home::new().partial(text).admin, expected, "{text}");
    }
}

#[test]
fn a_source_is_read_by_itself_and_so_are_the_settings_of_a_plugin() {
    let text = format!(
        "{ACME}[sources.other]\npreset = \"nobody\"\n[plugins.audit]\ntimeout = \"3s\"\n[plugins.bad]\nx = 1\n"
    );
    let mut partial = Home::new().partial(&text);
    let acme = partial.take_source("acme").unwrap().unwrap();
    assert!(matches!(acme.verify, Verify::Signature(_)));
    assert!(matches!(&acme.secrets, Secrets::Set(keys) if keys.len() == 1));
    let other = partial.take_source("other").unwrap().unwrap_err();
    assert!(other.iter().all(|problem| problem.message.contains("sources.other")), "{other}");
    assert!(partial.take_source("absent").is_none());
    assert_eq!(partial.take_plugin("audit").unwrap().unwrap().limits.timeout_ms, 3_000);
    assert!(
        partial.take_plugin("bad").unwrap().unwrap_err().to_string().contains("`plugins.bad.x`")
    );
}

#[test]
fn routes_are_read_as_they_are_written() {
    let partial = Home::new()
        .partial("[routes]\n\"a.*\" = [\"audit\", { plugin = \"absent\", delay = \"1h\" }]\n\"b\" = \"audit\"\nx = 1\n");
    let expected = [
        ("a.*", vec!["\"audit\"", "{ plugin = \"absent\", delay = \"1h\" }"]),
        ("b", vec!["\"audit\""]),
        ("x", vec![]),
    ];
    let routes: Vec<(&str, Vec<&str>)> = partial
        .routes
        .iter()
        .map(|(key, names)| (key.as_str(), names.iter().map(|item| item.text.as_str()).collect()))
        .collect();
    assert_eq!(routes, expected);
}
