//! How providers reach the host: `public_url` and `trusted_proxies`.

use super::home::{Home, signature};

const TWILIO: &str =
    "[sources.twilio]\npreset = \"twilio\"\nsecrets = [{ env = \"ACME_SECRET\" }]\n";

fn warned(home: &Home, text: &str) -> String {
    let config = home.good(text);
    config.warnings.iter().map(|it| it.text.clone()).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_address_that_is_none_is_refused_with_what_would_be_right() {
    let home = Home::new();
    for (url, says) in [
        ("hooks.example.com", "does not begin with https://"),
        ("ftp://hooks.example.com", "does not begin with https://"),
        ("https://hooks.example.com/", "ends with a slash (take the slash at the end away)"),
        ("https://hooks.example.com/hooks", "has a path (write scheme and host alone"),
        ("https://hooks.example.com?a=b", "has a query"),
        ("https://jo:secret@hooks.example.com", "has a user part"),
        ("https://", "names no host"),
        ("https://:443", "names no host"),
        ("https://hooks.example.com:0", "names no host"),
        ("https://hooks.example.com:x", "names no host"),
        ("https://hooks example.com", "names no host"),
    ] {
        home.refuses(
            &format!("[server]\npublic_url = \"{url}\"\n"),
            &["`server.public_url` ", says],
        );
        home.refuses(
            &format!(
                "{TWILIO}public_url = \"{url}\"\n[server]\npublic_url = \"https://a.example\"\n"
            ),
            &["`sources.twilio.public_url` ", says],
        );
    }
    for url in
        ["https://hooks.example.com:8443", "https://[2001:db8::1]", "https://[2001:db8::1]:8443"]
    {
        assert_eq!(warned(&home, &format!("[server]\npublic_url = \"{url}\"\n")), "");
    }
}

#[test]
fn an_address_without_tls_is_warned_of_unless_it_is_of_this_machine() {
    let home = Home::new();
    let of = |url: &str| warned(&home, &format!("[server]\npublic_url = \"{url}\"\n"));
    for url in ["http://hooks.example.com", "http://192.0.2.1:3000", "http://[2001:db8::1]"] {
        assert!(of(url).contains("`server.public_url` is not https"), "{url}");
    }
    for url in ["http://localhost:3000", "http://127.0.0.1:3000", "http://[::1]:3000"] {
        assert_eq!(of(url), "", "{url}");
    }
}

#[test]
fn a_signature_over_the_address_takes_the_one_of_the_source_or_of_the_server() {
    let home = Home::new();
    home.refuses(
        TWILIO,
        &["`sources.twilio` signs the {url}", "under [server] or in the section", "`public_url ="],
    );
    let server = "[server]\npublic_url = \"https://server.example\"\n";
    let source = "public_url = \"https://source.example\"\n";
    let verify = "verify = { public_url = \"https://verify.example/below\" }\n";
    for (text, url) in [
        (format!("{TWILIO}{server}"), "https://server.example"),
        (format!("{TWILIO}{source}{server}"), "https://source.example"),
        (format!("{TWILIO}{source}"), "https://source.example"),
        (format!("{TWILIO}{source}{verify}{server}"), "https://verify.example/below"),
    ] {
        let config = home.good(&text);
        let (_, signature) = signature(&config, "twilio");
        assert_eq!(signature.public_url.as_deref(), Some(url), "{text}");
        for other in &signature.others {
            assert_eq!(other.public_url.as_deref(), Some(url), "{text}");
        }
    }
    home.refuses(
        &format!("{}{source}", super::home::ACME),
        &["`sources.acme.public_url` has no use", "nothing of this source depends on its address"],
    );
}

#[test]
fn a_network_that_trusts_everybody_is_warned_of() {
    let home = Home::new();
    let of = |list: &str| warned(&home, &format!("[server]\ntrusted_proxies = {list}\n"));
    assert!(of("[\"10.0.0.0/8\", \"0.0.0.0/0\"]").contains("trusts every address"));
    assert_eq!(of("[\"10.0.0.0/8\", \"::1\"]"), "");
}
