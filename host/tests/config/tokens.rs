//! `server.admin_tokens` and `server.admin_url`, and what applies by name and line.

use hookbox::config::{AdminToken, Config, Role};

use super::home::Home;

#[test]
fn tokens_open_the_api_to_other_machines() {
    let home = Home::new();
    let hash = "0123456789abcdef".repeat(4);
    let token =
        |name: &str, rest: &str| format!("{{ name = \"{name}\", sha256 = \"{hash}\", {rest} }}");
    let text = |tokens: &[String]| {
        format!("[server]\nadmin = \"0.0.0.0:3001\"\nadmin_tokens = [{}]\n", tokens.join(", "))
    };
    let good = [
        token("jo", "role = \"operator\""),
        token("grafana", "role = \"viewer\""),
        token("rob", "role = \"viewer\", payloads = true"),
        token("shop", "role = \"send\""),
    ];
    let config = home.good(&text(&good));
    let read = |token: &AdminToken| (token.name.clone(), token.role, token.payloads);
    let expected = [
        ("jo", Role::Operator, true),
        ("grafana", Role::Viewer, false),
        ("rob", Role::Viewer, true),
        ("shop", Role::Send, false),
    ]
    .map(|(name, role, payloads)| (name.to_owned(), role, payloads));
    assert_eq!(config.server.admin_tokens.iter().map(read).collect::<Vec<_>>(), expected);
    assert_eq!(hex::encode(config.server.admin_tokens[0].sha256), hash);
    let warned = |config: &Config| config.warnings.iter().any(|it| it.text.contains("plain HTTP"));
    assert!(warned(&config));
    let proxied = home.good(&format!("{}admin_url = \"https://h.example.com\"", text(&good)));
    assert!(!warned(&proxied));
    assert_eq!(proxied.server.admin_url.unwrap().authority, "h.example.com");
    for (tokens, parts) in [
        (
            vec![token("jo", "role = \"admin\"")],
            ["is \"admin\"", "\"viewer\", \"send\", \"operator\""],
        ),
        (vec![token("Jo", "role = \"send\"")], ["is not a name", "a-z"]),
        (vec![token("local", "role = \"send\"")], ["is not a name", "without a token"]),
        (vec![good[0].clone(), good[0].clone()], ["two tokens of the name `jo`", "its own name"]),
        (
            vec![token("jo", "role = \"operator\", payloads = false")],
            ["does not fit", "reads payloads"],
        ),
        (vec![token("jo", "role = \"send\", payloads = true")], ["does not fit", "reads nothing"]),
        (vec![token("jo", "role = \"send\", x = 1")], ["x` is not a key", "`payloads`"]),
        (
            vec!["{ name = \"jo\", role = \"send\" }".to_owned()],
            ["not complete", "hookbox token new"],
        ),
    ] {
        home.refuses(&text(&tokens), &parts);
    }
    home.refuses(
        "[server]\nadmin_url = \"http://h.example.com\"",
        &["not such an address", "https://"],
    );
}

#[test]
fn without_a_token_the_api_stays_on_loopback() {
    Home::new().refuses(
        "[server]\nadmin = \"0.0.0.0:3001\"\nadmin_tokens = []",
        &["there is no token", "hookbox token new", "ssh -L"],
    );
}

#[test]
fn an_address_behind_a_proxy_needs_a_token_because_all_who_come_through_it_would_be_operators() {
    let home = Home::new();
    let url = "admin_url = \"https://h.example.com\"\n";
    for tokens in ["", "admin_tokens = []\n"] {
        home.refuses(
            &format!("[server]\n{url}{tokens}"),
            &[
                "`server.admin_url` is \"https://h.example.com\", by which others reach the admin API",
                "there is no token",
                "hookbox token new",
            ],
        );
    }
    // One mistake is one problem.
    let told = home.bad(&format!("[server]\nadmin = \"0.0.0.0:3001\"\n{url}")).render(false);
    assert_eq!(told.matches("there is no token").count(), 1, "{told}");
}

#[test]
fn a_token_in_the_place_of_its_hash_is_not_shown() {
    let home = Home::new();
    for tokens in
        ["[\"hbx_secret\"]", "[{ name = \"jo\", role = \"send\", sha256 = \"hbx_secret\" }]"]
    {
        let told = home.bad(&format!("[server]\nadmin_tokens = {tokens}")).render(false);
        assert!(told.contains("admin_tokens") && !told.contains("hbx_secret"), "{told}");
    }
}

#[test]
fn what_applies_has_its_line_or_is_a_default() {
    let home = Home::new();
    let hash = "0123456789abcdef".repeat(4);
    let text = format!(
        "[server]\nname = \"acme\"\nadmin_tokens = [{{ name = \"jo\", role = \"send\", sha256 = \"{hash}\" }}]\n\
         [plugins.audit]\ntimeout = \"5s\"\nconfig = {{ api_url = \"https://u:hunter2@example.com\" }}\n"
    );
    let config = home.good(&text);
    let keys = config.effective();
    let row = |key: &str| {
        let found = keys.iter().find(|it| it.key == key).unwrap_or_else(|| panic!("{key}"));
        (found.value.as_str(), found.line)
    };
    assert_eq!(row("server.name"), ("\"acme\"", Some(2)));
    assert_eq!(row("server.admin_tokens"), ("jo (send)", Some(3)));
    assert_eq!(row("plugins.audit.timeout"), ("\"5s\"", Some(5)));
    assert_eq!(row("plugins.audit.concurrency").1, None);
    assert_eq!(row("store.retention"), ("\"30d\"", None));
    let all = format!("{keys:?}");
    assert!(!all.contains("hunter2") && !all.contains(&hash), "{all}");
}
