//! The root `config.toml`, the defaults, and what of a change has to wait.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hookbox::config::source::{Part, Pick, Secrets};
use hookbox::config::{AdminUrl, Config, MakeSecrets, Server, StoreSettings, Telemetry};
use hookbox::event::{KeyPolicy, KeySource};
use hookbox::retry::RetryPolicy;

use super::home::{Home, keys, signature};

#[test]
fn the_root_configuration_works_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut home = Home::new();
    home.make_secrets = MakeSecrets::Yes;
    fs::remove_file(home.folder.path().join("plugins/audit.wat")).unwrap();
    fs::write(home.folder.path().join("plugins/audit.wasm"), "").unwrap();
    let config = home.good(&fs::read_to_string(root.join("config.toml")).unwrap());
    let (source, _) = signature(&config, "heygen");
    assert_eq!(source.preset.as_deref(), Some("heygen"));
    assert!(
        matches!(&source.secrets, Secrets::Generated { path, .. } if path.ends_with("data/secrets/heygen"))
    );
    let targets = |source: &str, kind: &str| {
        config
            .routes
            .targets(source, kind)
            .iter()
            .map(|target| target.plugin.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(targets("heygen", "avatar_video.success"), ["video-orders"]);
    assert_eq!(targets("plugins/video-orders", "order.video_ready"), ["audit"]);
}

#[test]
fn a_fresh_clone_needs_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let config = Config::load(&root.join("config.toml"), MakeSecrets::No);
    assert!(config.is_ok(), "{}", config.unwrap_err().render(false));
}

/// The address behind a proxy, which the file has commented out, needs a token.
fn with_a_token(text: &str) -> String {
    let hash = "0123456789abcdef".repeat(4);
    let token = format!("[{{ name = \"jo\", role = \"operator\", sha256 = \"{hash}\" }}]");
    text.replacen("admin_tokens = []", &format!("admin_tokens = {token}"), 1)
}

/// The same without the addresses of proxies, and the token.
fn without_proxies(server: &Server) -> Server {
    let tokens = &server.admin_tokens;
    assert_eq!(tokens.len(), 1, "the line of the tokens is there");
    Server { admin_tokens: Vec::new(), admin_url: None, public_url: None, ..server.clone() }
}

/// The rest of `[telemetry]`.
fn without_collector(telemetry: &Telemetry) -> Telemetry {
    let headers = Vec::new();
    Telemetry { otlp: None, headers, authorities: None, trace_url: None, ..telemetry.clone() }
}

#[test]
fn the_root_configuration_shows_the_defaults_and_every_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("config.toml")).unwrap();
    // A commented-out line is one that starts like a key or a section.
    let all: String = text
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let key =
                bare.split_once(" = ").is_some_and(|(key, _)| !key.trim_matches('"').contains(' '));
            if key || bare.starts_with('[') && bare.contains(']') && !bare.contains("]:") {
                bare
            } else {
                line
            }
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let home = Home { env: vec![("ACME_SECRET", "whsec_0123456789abcdef")], ..Home::new() };
    let config = home.good(&with_a_token(&all));
    let url = config.server.admin_url.as_ref().map(AdminUrl::origin);
    assert_eq!(url.as_deref(), Some("https://hookbox.example.com"));
    let server = without_proxies(&config.server);
    assert_eq!(server, home.good("").server, "there is no address of a proxy without one");
    assert_eq!(
        StoreSettings { max_bytes: None, payload_retention_ms: None, ..config.store.clone() },
        home.good("").store,
        "there is no bound without one"
    );
    let telemetry = without_collector(&config.telemetry);
    assert_eq!(telemetry, Telemetry::default(), "there is no collector without one");
    let mut plugin = (*config.plugin("video-orders")).clone();
    assert_eq!(plugin.config.get("currency").map(String::as_str), Some("EUR"));
    plugin.config = Default::default();
    assert_eq!(plugin.kv.bucket.as_deref(), Some("orders"));
    assert_eq!(plugin.kv.ttl_ms, Some(90 * 86_400_000));
    plugin.kv = Default::default();
    assert_eq!(plugin.grants.http.len(), 1);
    plugin.grants = Default::default();
    // These have no default; those that depend on `key` have.
    let second = Duration::from_secs(1);
    let order = KeyPolicy { interval: second, ..KeyPolicy::of(KeySource::Subject) };
    assert_eq!(plugin.key.take(), Some(order));
    assert_eq!(plugin.rate.take().map(|rate| rate.to_string()).as_deref(), Some("10/s"));
    assert_eq!(plugin, *home.good("").plugin("video-orders"));
    let (acme, verify) = signature(&config, "acme");
    assert_eq!(acme.kind, Pick::Json("/event/type".to_owned()));
    assert_eq!(verify.signed, [Part::Timestamp, Part::Literal(".".to_owned()), Part::Body]);
    assert_eq!(keys(&acme.secrets), [b"0123456789abcdef"]);
    assert_eq!(config.routes.iter().len(), 4);
    let gatherings: Vec<_> =
        config.routes.gatherings.iter().map(|found| found.terms.plugin.to_string()).collect();
    assert_eq!(gatherings, ["batches/crm-sync", "joins/order-videos"]);
    for key in
        "on key member need types close within emit late size quiet keep".split_ascii_whitespace()
    {
        assert!(text.contains(&format!("{key} = ")), "`{key}` of joins and batches is not shown");
    }
}

#[test]
fn the_root_configuration_names_the_keys_of_a_store_in_postgres() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("config.toml")).unwrap();
    for key in ["ca_file", "require", "tail", "pooler", "secret_key"] {
        assert!(text.contains(&format!("`{key} = ")), "`{key}` of Postgres is not shown");
    }
}

#[test]
fn an_empty_file_has_all_the_defaults() {
    let home = Home::new();
    let config = home.good("");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(config.server.admin.to_string(), "127.0.0.1:3001");
    assert_eq!(config.server.plugins_dir, home.folder.path().join("plugins"));
    assert_eq!(config.server.max_body_bytes, 1 << 20);
    assert_eq!(config.store.sqlite_path().unwrap(), home.folder.path().join("data/hookbox.db"));
    assert_eq!(config.store.retention_ms, 30 * 86_400_000);
    assert_eq!(config.store.dedupe_window_ms, 14 * 86_400_000);
    assert_eq!(config.store.payload_retention_ms, None);
    assert_eq!(config.store.audit_retention_ms, 365 * 86_400_000);
    assert_eq!(config.plugin("audit").retry, RetryPolicy::default());
}

#[test]
fn what_needs_a_restart_is_named() {
    let home = Home::new();
    let old = home.good("");
    assert_eq!(old.restart_needed(&old), Vec::<&str>::new());
    let server = "[server]\nlisten = \"127.0.0.1:4000\"\nmax_body = \"2MiB\"\n";
    let new = home.good(&format!("{server}[store]\nurl = \"sqlite:x.db\"\nretention = \"60d\""));
    assert_eq!(old.restart_needed(&new), ["server.listen", "store.url"]);
    let bounds = "[server]\ntree_events = 5\ntree_size = \"1MiB\"\n[store]\nmax_size = \"1GiB\"";
    let new = home.good(bounds);
    assert_eq!(
        old.restart_needed(&new),
        ["server.tree_events", "server.tree_size", "store.max_size"]
    );
    let elsewhere = home.good("[server]\ndata_dir = \"elsewhere\"");
    assert_eq!(old.restart_needed(&elsewhere), ["server.data_dir"]);
    assert_eq!(
        elsewhere.restart_needed(&home.good("[store]\nurl = \"sqlite:x.db\"")),
        ["server.data_dir", "store.url"]
    );
    let proxies = home.good(
        "[server]\ntrusted_proxies = [\"127.0.0.1\"]\nkeep_alive = \"5m\"\nmax_body = \"2MiB\"",
    );
    assert_ne!(old.server, proxies.server);
    assert_eq!(old.restart_needed(&proxies), Vec::<&str>::new());
}
