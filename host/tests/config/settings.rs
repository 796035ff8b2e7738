//! `[server]`, `[store]`, `[routes]` and `[plugins.NAME]`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hookbox::config::{Approve, BreakerPolicy, PluginLog, PluginSettings};
use hookbox::event::{KeyPolicy, KeySource};
use hookbox::retry::{Jitter, RetryPolicy};

use super::home::{ACME, Home};

#[test]
fn addresses_are_checked() {
    let home = Home::new();
    home.refuses(
        "[server]\nadmin = \"192.0.2.1:3001\"",
        &["not a loopback address", "admin_tokens"],
    );
    home.refuses("[server]\nadmin = \"127.0.0.1:3000\"", &["the same address"]);
    home.refuses("[server]\nlisten = \"0.0.0.0:3001\"", &["the same address"]);
    home.refuses("[server]\nlisten = 3000", &["must be a string", "listen = \"127.0.0.1:3000\""]);
    let config = home.good("[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"");
    assert_eq!(config.server.listen, config.server.admin);
    home.good("[server]\nadmin = \"[::1]:3001\"");
}

#[test]
fn trusted_proxies_are_networks_and_addresses() {
    let home = Home::new();
    let trusted = |value: &str| {
        home.good(&format!("[server]\ntrusted_proxies = {value}")).server.trusted_proxies
    };
    let inside = |value: &str, address: &str| trusted(value).contain(address.parse().unwrap());
    assert!(inside("[\"127.0.0.1/32\", \"2001:db8::/32\"]", "127.0.0.1"));
    assert!(inside("[\"127.0.0.1/32\", \"2001:db8::/32\"]", "2001:db8::7"));
    assert!(inside("\"192.0.2.1\"", "192.0.2.1") && !inside("\"192.0.2.1\"", "192.0.2.2"));
    assert!(!inside("[]", "127.0.0.1"));
    assert_eq!(home.good("").server.trusted_proxies, trusted("[]"));
}

#[test]
fn bad_trusted_proxies_are_refused_with_what_would_be_right() {
    let home = Home::new();
    let cases = [
        (
            "[\"10.1.2.3/8\"]",
            "\"10.0.0.0/8\" for the network, or \"10.1.2.3\" for this address alone",
        ),
        ("[\"2001:db8::1/32\"]", "write \"2001:db8::/32\" for the network"),
        ("[\"10.0.0.0/33\"]", "from 0 to 32 after the `/`"),
        ("[\"::/129\"]", "from 0 to 128 after the `/`"),
        ("[\"10.0.0.0/\"]", "whose length is not one"),
        ("[\"10.0.0.0/+8\"]", "whose length is not one"),
        ("[\"localhost\"]", "names are not looked up"),
        ("[\"\"]", "not a network of IP addresses"),
        ("[\"127.0.0.1:3000\"]", "write \"127.0.0.1\", without the port"),
        ("[\"::ffff:10.1.2.3/104\"]", "write it as IPv4: \"10.0.0.0/8\""),
        ("[1]", "must be a string"),
        ("true", "`server.trusted_proxies` is true or false, but must be a string"),
    ];
    for (value, says) in cases {
        home.refuses(&format!("[server]\ntrusted_proxies = {value}"), &[says]);
    }
    let problem = home.bad("[server]\ntrusted_proxies = [\"10.0.0.0/8\",\n\"10.1.2.3/8\"]");
    assert_eq!(problem.iter().map(|problem| problem.line).collect::<Vec<_>>(), [3], "{problem}");
    let many = vec!["\"10.0.0.0/8\""; 257].join(", ");
    home.refuses(
        &format!("[server]\ntrusted_proxies = [{many}]"),
        &["lists 257 networks", "at most 256"],
    );
}

#[test]
fn idle_connections_are_kept_for_a_duration_within_bounds() {
    let home = Home::new();
    assert_eq!(home.good("").server.keep_alive_ms, 75_000);
    assert_eq!(home.good("[server]\nkeep_alive = \"10m\"").server.keep_alive_ms, 600_000);
    for (value, says) in [
        ("\"999ms\"", "`server.keep_alive` is \"999ms\", out of bounds"),
        ("\"2h\"", "write a duration from 1s to 1h"),
        ("75", "must be a duration in quotes"),
        ("\"75\"", "is \"75\", which is not a duration"),
    ] {
        home.refuses(&format!("[server]\nkeep_alive = {value}"), &[says]);
    }
    home.refuses("[server]\nkeepalive = \"75s\"", &["did you mean `keep_alive`?"]);
}

#[test]
fn a_source_may_take_longer_bodies_than_others() {
    let home = Home::new();
    let text = |source: &str| {
        format!(
            "[server]\nmax_body = \"2MiB\"\n[sources.x]\n{source}\nsecrets = [{{ env = \"ACME_SECRET\" }}]\n"
        )
    };
    let max_body = |source: &str| {
        let config = home.good(&text(source));
        config.max_body_bytes(&config.sources["x"])
    };
    assert_eq!(max_body("preset = \"heygen\""), 2 << 20);
    assert_eq!(max_body("preset = \"heygen\"\nmax_body = \"64MiB\""), 64 << 20);
    assert_eq!(max_body("preset = \"github\""), 25 << 20, "GitHub sends up to 25 MB");
    assert_eq!(max_body("preset = \"github\"\nmax_body = \"1KiB\""), 1 << 10);
    let says =
        ["`sources.x.max_body` is \"1GiB\", out of bounds", "write a size from 1KiB to 64MiB"];
    home.refuses(&text("preset = \"heygen\"\nmax_body = \"1GiB\""), &says);
}

#[test]
fn what_a_plugin_logs_is_stored_or_forwarded_as_well() {
    let home = Home::new();
    let log = |line: &str| home.good(&format!("[plugins.audit]\n{line}")).plugin("audit").log;
    assert_eq!(log(""), PluginLog::Store);
    assert_eq!(
        (log("log = \"store\""), log("log = \"forward\"")),
        (PluginLog::Store, PluginLog::Forward)
    );
    home.refuses("[plugins.audit]\nlog = \"forwards\"", &["did you mean `forward`?"]);
}

#[test]
fn paths_start_at_the_file() {
    let home = Home::new();
    fs::create_dir(home.folder.path().join("other")).unwrap();
    let config = home
        .good("[server]\nplugins_dir = \"other\"\n[store]\nurl = \"sqlite:///var/lib/hookbox.db\"");
    assert_eq!(config.server.plugins_dir, home.folder.path().join("other"));
    assert_eq!(config.store.sqlite_path().unwrap(), Path::new("/var/lib/hookbox.db"));
    let config = home.good("[store]\nurl = \"sqlite:hooks.db\"");
    assert_eq!(config.store.sqlite_path().unwrap(), home.folder.path().join("hooks.db"));
    home.refuses("[server]\nplugins_dir = \"absent\"", &["plugins folder", "cannot be read"]);
    for url in ["hooks.db", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro", "mysql://x", ""] {
        home.refuses(&format!("[store]\nurl = \"{url}\""), &["is not the address of a store"]);
    }
}

#[test]
fn the_data_folder_is_that_of_the_store_unless_the_file_names_another() {
    let home = Home::new();
    let dir = |text: &str| home.good(text).server.data_dir;
    assert_eq!(dir(""), home.folder.path().join("data"));
    assert_eq!(dir("[store]\nurl = \"sqlite:/var/lib/hookbox.db\""), Path::new("/var/lib"));
    assert_eq!(dir("[server]\ndata_dir = \"/var/lib/hookbox\""), Path::new("/var/lib/hookbox"));
    let config = home.good("[server]\ndata_dir = \"x/../own\"\n[store]\nurl = \"sqlite:hooks.db\"");
    let own = home.folder.path().join("own");
    assert_eq!(
        (config.server.data_dir.as_path(), config.store.folder()),
        (own.as_path(), home.folder.path())
    );
    assert_eq!(
        (config.server.secrets_dir(), config.server.compiled_dir()),
        (own.join("secrets"), own.join("compiled"))
    );
}

#[test]
fn a_data_folder_that_can_be_none_is_refused() {
    let home = Home::new();
    fs::write(home.folder.path().join("file"), "").unwrap();
    let says = [
        "`server.data_dir` is \"file\"",
        "it is a file, not a folder",
        "name a folder, which is made",
    ];
    home.refuses("[server]\ndata_dir = \"file\"", &says);
    home.refuses(
        "[server]\ndata_dir = \"\"",
        &["`server.data_dir` is not a path", "write for example \"data\""],
    );
    home.refuses("[server]\ndata_dir = 1", &["`server.data_dir`", "must be a string"]);
    home.refuses("[server]\ndatadir = \"data\"", &["did you mean `data_dir`?"]);
}

#[test]
fn trees_and_the_store_are_bounded_and_the_bounds_are_checked() {
    let home = Home::new();
    let config = home.good("");
    assert_eq!((config.server.tree_events, config.server.tree_bytes), (10_000, 64 << 20));
    assert_eq!(config.store.max_bytes, None);
    let config =
        home.good("[server]\ntree_events = 5\ntree_size = \"1MiB\"\n[store]\nmax_size = \"10GiB\"");
    assert_eq!((config.server.tree_events, config.server.tree_bytes), (5, 1 << 20));
    assert_eq!(config.store.max_bytes, Some(10 << 30));
    home.refuses(
        "[server]\ntree_events = 0",
        &["`server.tree_events` is 0, out of bounds", "from 1 to 10000000"],
    );
    home.refuses(
        "[server]\ntree_size = 64",
        &["`server.tree_size`", "must be a size in quotes", "from 1MiB to 64GiB"],
    );
    home.refuses(
        "[store]\nmax_size = \"1MiB\"",
        &["`store.max_size` is \"1MiB\", out of bounds", "from 64MiB"],
    );
}

#[test]
fn the_dedupe_window_is_within_the_retention() {
    let home = Home::new();
    let config = home.good("[store]\nretention = \"2d\"");
    assert_eq!(config.store.dedupe_window_ms, config.store.retention_ms);
    home.refuses(
        "[store]\nretention = \"2d\"\ndedupe_window = \"3d\"",
        &["longer than `store.retention` (2d)"],
    );
    home.refuses("[store]\ndedupe_window = \"1s\"", &["out of bounds", "of at least 1m,"]);
}

#[test]
fn a_plugins_settings_are_read() {
    let config = Home::new().good(
        r#"[plugins.audit]
timeout = "1m30s"
memory = "8MiB"
concurrency = 2
approve = "auto"
retry = { max_attempts = 3, initial = "250ms", factor = 3, max = "10s", jitter = "none" }
[plugins.audit.config]
currency = "EUR"
limit = 3
rate = 1.5
strict = true
tags = ["a", "b"]
since = 2026-01-02
deep = { a = 1 }
"#,
    );
    let plugin = config.plugin("audit");
    assert_eq!(
        (plugin.limits.timeout_ms, plugin.limits.memory_bytes, plugin.concurrency),
        (90_000, 8 << 20, 2)
    );
    assert_eq!((plugin.approve, PluginSettings::default().approve), (Approve::Auto, Approve::Ask));
    let retry = RetryPolicy {
        max_attempts: 3,
        initial_ms: 250,
        factor: 3.0,
        max_ms: 10_000,
        jitter: Jitter::None,
    };
    assert_eq!(plugin.retry, retry);
    let config: Vec<_> =
        plugin.config.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("currency", "EUR"),
        ("deep", "{\"a\":1}"),
        ("limit", "3"),
        ("rate", "1.5"),
        ("since", "\"2026-01-02\""),
        ("strict", "true"),
        ("tags", "[\"a\",\"b\"]"),
    ];
    assert_eq!(config, expected);
}

#[test]
fn a_breaker_is_on_by_default_and_can_be_set_or_turned_off() {
    let home = Home::new();
    let breaker =
        |text: &str| home.good(&format!("[plugins.audit]\n{text}")).plugin("audit").breaker;
    assert_eq!(breaker(""), Some(BreakerPolicy { failures: 20, pause_ms: 30_000 }));
    assert_eq!(
        breaker("breaker = { failures = 3 }"),
        Some(BreakerPolicy { failures: 3, pause_ms: 30_000 })
    );
    let set = breaker("breaker = { failures = 3, pause = \"1m30s\" }");
    assert_eq!(set, Some(BreakerPolicy { failures: 3, pause_ms: 90_000 }));
    assert_eq!(set.unwrap().pause(), "1m30s");
    assert_eq!(breaker("breaker = false"), None);
}

#[test]
fn a_plugins_bad_settings_are_refused() {
    let home = Home::new();
    let cases = [
        ("timeout = \"9ms\"", "from 10ms to 15m"),
        ("timeout = \"16m\"", "from 10ms to 15m"),
        ("timeout = 10", "must be a duration in quotes"),
        ("memory = \"1023KiB\"", "from 1MiB to 256MiB"),
        ("memory = \"257MiB\"", "from 1MiB to 256MiB"),
        ("memory = \"64\"", "which is not a size"),
        ("concurrency = 0", "from 1 to 256"),
        ("concurrency = -1", "is -1, out of bounds"),
        ("concurrency = 1.5", "must be a whole number"),
        ("instance = \"warm\"", "it can be \"fresh\""),
        ("approve = \"atuo\"", "did you mean `auto`"),
        ("approve = true", "must be a string"),
        ("breaker = true", "take it out: the default is { failures = 20, pause = \"30s\" }"),
        ("breaker = 20", "or `breaker = false` to turn it off"),
        ("breaker = { failures = 0 }", "from 1 to 10000"),
        ("breaker = { failures = \"20\" }", "must be a whole number"),
        ("breaker = { pause = \"99ms\" }", "from 100ms to 1d"),
        ("breaker = { pause = 30 }", "must be a duration in quotes"),
        ("breaker = { failure = 3 }", "did you mean `failures`?"),
        ("path = \"hook\"", "begins with `/`"),
        ("path = \"/a b\"", "is \"/a b\", which is no path"),
        ("path = \"/a#b\"", "which is no path"),
        ("path = 1", "must be a string"),
        ("config = \"EUR\"", "must be a table"),
        ("config = { x = nan }", "JSON cannot carry"),
        ("config = { x = [inf] }", "JSON cannot carry"),
        ("retry = { factor = 0.5 }", "from 1 to 100"),
        ("retry = { factor = nan }", "from 1 to 100"),
        ("retry = { initial = \"8d\" }", "from 1ms to 7d"),
        ("retry = { initial = \"2h\" }", "a `max` of at least 2h"),
        ("retry = { initial = \"10s\", max = \"5s\" }", "a `max` of at least 10s"),
        ("retry = { max_attempts = 1001 }", "from 1 to 1000"),
    ];
    for (line, says) in cases {
        home.refuses(&format!("[plugins.audit]\n{line}"), &[says]);
    }
    home.refuses("[plugins.audti]", &["unknown plugin", "did you mean `audit`?", "`audti.wat`"]);
    home.refuses("plugins = []", &["must be a table"]);
}

#[test]
fn deliveries_are_ordered_by_a_key_and_paced() {
    let home = Home::new();
    let plugin =
        |lines: &str| (*home.good(&format!("[plugins.audit]\n{lines}")).plugin("audit")).clone();
    let key = |lines: &str| plugin(lines).key.expect("it has a key");
    assert_eq!((plugin("").key, plugin("").rate, plugin("").pace()), (None, None, None));
    assert_eq!(key("key = \"subject\""), KeyPolicy::of(KeySource::Subject));
    assert_eq!(key("key = \"root\"").source, KeySource::Root);
    assert_eq!(key("key = \"source\"").source, KeySource::Source);
    let whole = key(
        "key = { json = \"/customer/~0id\" }\nper_key = 3\non_dead = \"hold\"\nmax_waiting_per_key = 7",
    );
    let expected = KeyPolicy {
        per_key: 3.try_into().unwrap(),
        hold: true,
        max_waiting: 7,
        ..KeyPolicy::of(KeySource::Json("/customer/~0id".into()))
    };
    assert_eq!(whole, expected);
    let paced =
        plugin("key = \"subject\"\nkey_rate = \"10/m\"\nrate = \"100/h\"\non_dead = \"hold\"");
    assert_eq!(paced.key.as_ref().unwrap().interval, Duration::from_secs(6));
    assert_eq!(paced.rate.unwrap().interval(), Duration::from_secs(36));
    assert_eq!(
        paced.pace().unwrap(),
        "ordered by subject, 1 of a key at once, 6s apart, a dead letter holds its key, at most 100/h on this host"
    );
    let config =
        home.good("[routes]\na = [\"audit\", \"video-orders\"]\n[plugins.audit]\nkey = \"root\"");
    let keys: Vec<_> =
        config.routes.targets("s", "a").iter().map(|target| target.options.key.clone()).collect();
    assert_eq!(keys, [Some(KeySource::Root), None]);
    for (lines, says) in [
        ("key = \"subjct\"", "no part of an event"),
        ("key = 1", "must be a string"),
        ("key = { json = \"customer\" }", "no JSON pointer"),
        ("key = { json = \"/a~2b\" }", "no JSON pointer"),
        ("key = { jsn = \"/a\" }\n", "names no place in the body"),
        ("key = \"root\"\nper_key = 0", "from 1 to 1000"),
        ("key = \"root\"\nper_key = 1001", "from 1 to 1000"),
        ("key = \"root\"\nper_key = 2\nkey_rate = \"1/s\"", "needs `per_key = 1`"),
        ("key = \"root\"\nkey_rate = \"1 a second\"", "not a rate"),
        ("key = \"root\"\non_dead = \"wait\"", "\"go-on\", \"hold\""),
        ("key = \"root\"\nmax_waiting_per_key = 0", "from 1 to 1000000"),
        ("rate = \"0/s\"", "not a rate"),
        ("rate = 10", "must be a string"),
        ("per_key = 1", "no effect without `key`"),
        ("key_rate = \"1/s\"", "add the part of an event"),
        ("on_dead = \"hold\"", "no effect without `key`"),
        ("max_waiting_per_key = 5", "no effect without `key`"),
    ] {
        let problems = home.bad(&format!("[plugins.audit]\n{lines}")).to_string();
        assert!(problems.contains(says), "`{says}` is not said of\n{lines}\n{problems}");
    }
}

#[test]
fn routes_are_checked() {
    let home = Home::new();
    let cases = [
        ("\"\" = \"audit\"", "empty pattern"),
        ("\"a  b\" = \"audit\"", "blanks or characters that no event type has"),
        ("\"a..b\" = \"audit\"", "empty segment"),
        ("\"plugins/*:a\" = \"audit\"", "star in its source"),
        ("\"plugins/audti:a\" = \"audit\"", "unknown source `plugins/audti`"),
        ("a = [\"audit\", \"audit\"]", "names the plugin `audit` twice"),
        ("a = []", "names no plugin"),
        ("a = 1", "must be a string or a table"),
        ("a = \"folder\"", "unknown plugin `folder`"),
        ("a = \"my plugin\"", "1 to 64 letters, digits, `_` and `-`"),
        ("a = \"notes\"", "neither `notes.wasm` nor `notes.wat`"),
    ];
    for (line, says) in cases {
        home.refuses(&format!("[routes]\n{line}"), &[says]);
    }
    let config = home.good(&format!(
        "{ACME}[routes]\n\"acme:a.*\" = \"audit\"\n\"plugins/audit:**\" = [\"video-orders\"]"
    ));
    let shown: Vec<_> = config.routes.iter().map(|route| route.pattern.as_str()).collect();
    assert_eq!(shown, ["acme:a.*", "plugins/audit:**"]);
}
