//! Keys of sources, and `hookbox send` against the host's own verifier: pairs that the host makes
//! for sources without a public key, and every preset over HTTP.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox::config::presets;
use hookbox::config::source::{KeyEncoding, Pick, PublicKeyKind, SourceTemplate};
use serde_json::{Value, json};

use crate::support::{Host, Ran, Site, replace};

/// A pair of RSA, as `openssl genpkey -algorithm RSA` writes it.
const RSA_PAIR: &str = include_str!("data/rsa-pair.pem");

/// The commands that run at the same time.
const AT_ONCE: usize = 4;

/// A section for a preset whose secret is in a file, if it has one.
fn section(name: &str, template: &SourceTemplate) -> String {
    let mut text = format!("[sources.{name}]\npreset = \"{name}\"\n");
    if template.signature.has_secrets() {
        text.push_str(&format!("secrets = [{{ file = \"{name}.secret\" }}]\n"));
    }
    if template.signature.needs_url() {
        text.push_str("verify = { public_url = \"https://hooks.example.net\" }\n");
    }
    let params = template.signature.needed_params();
    if !params.is_empty() {
        let params: Vec<_> = params.iter().map(|name| format!("{name} = \"a_value\"")).collect();
        text.push_str(&format!("params = {{ {} }}\n", params.join(", ")));
    }
    text
}

/// A secret of the preset alone, as its provider would show it.
fn secret(name: &str, template: &SourceTemplate) -> String {
    let text = format!("{name}_0123456789abcdef0123456789:x");
    match template.key.encoding {
        KeyEncoding::Utf8 | KeyEncoding::Sha1 => text,
        KeyEncoding::Base64 => format!("{}{}", template.key.prefix, STANDARD.encode(text)),
        KeyEncoding::Hex => format!("{}{}", template.key.prefix, hex::encode(text)),
    }
}

/// All presets, each as a source of its own name.
fn all_presets() -> BTreeMap<&'static str, SourceTemplate> {
    presets::NAMES.into_iter().map(|name| (name, presets::find(name).unwrap())).collect()
}

/// A site with a source for each preset, each with a key of its own, where it is ours to have; and
/// a configuration for each that has this source alone.
fn site_of_all(all: &BTreeMap<&str, SourceTemplate>) -> Site {
    let sections: String = all.iter().map(|(name, template)| section(name, template)).collect();
    let site = Site::new(&sections, &[]);
    let secrets = site.path("data/secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    for (name, template) in all {
        if template.signature.has_secrets() {
            site.put(&format!("{name}.secret"), secret(name, template));
        }
        if template.signature.pair_kind() == Some(PublicKeyKind::Rsa) {
            replace(&secrets.join(format!("{name}.pair")), RSA_PAIR.as_bytes());
        }
        site.put(&format!("{name}.toml"), section(name, template));
    }
    site
}

/// The type of a preset's first sample.
fn kind(name: &str, template: &SourceTemplate) -> String {
    let own = presets::samples(name).iter().map(|(kind, _)| kind.as_str());
    let own = own.filter(|kind| !kind.contains('*')).map(str::to_owned).next();
    match &template.kind {
        Some(Pick::Fixed(fixed)) => fixed.clone(),
        _ => own.unwrap_or_else(|| "sample.event".to_owned()),
    }
}

/// Whether the key that a request of `send` would be signed with is at an address of the provider.
fn is_by_address(template: &SourceTemplate) -> bool {
    template.signature.all().any(|rule| rule.key_address.is_some())
}

fn send(site: &Site, host: &Host, name: &str, kind: &str) -> Ran {
    let config = format!("{name}.toml");
    let url = host.public_url.as_str();
    site.run(&["send", name, kind, "--json", "--url", url, "--config", &config])
}

/// The fault of the answer to an event, or of the event that is stored; nothing if all is well.
fn fault(host: &Host, name: &str, template: &SourceTemplate, ran: &Ran) -> Option<String> {
    let reply = if ran.code == 0 { ran.json() } else { return Some(format!("{name}: {ran:?}")) };
    let Some(id) = reply["event_id"].as_str() else {
        return Some(format!("{name}: names no event: {reply}"));
    };
    let event = host.event(id);
    let wanted = (json!(name), json!(kind(name, template)), json!(template.id.is_some()));
    let found = (&event["source"], &event["type"], json!(event["provider_id"].is_string()));
    if (&wanted.0, &wanted.1, &wanted.2) != (found.0, found.1, &found.2) {
        return Some(format!("{name}: {wanted:?}, but {event}"));
    }
    let Some(Pick::Json(pointer)) = &template.id else { return None };
    let body = host.api(&format!("/api/v1/events/{id}/body"));
    let said = body.pointer(pointer).cloned().unwrap_or_default();
    (said != event["provider_id"]).then(|| format!("{name}: the body says {said}, not {event}"))
}

#[test]
fn send_is_accepted_over_http_for_every_preset_whose_key_is_ours_to_have() {
    let all = all_presets();
    let site = site_of_all(&all);
    let host = Host::start(&site);
    let queue = Mutex::new(all.iter());
    let next = || queue.lock().unwrap().next();
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, template)) = next() {
                    let ran = send(&site, &host, name, &kind(name, template));
                    let wrong = if is_by_address(template) {
                        let says = "the provider alone has the private key";
                        let fits = ran.code == 2 && ran.err.contains(says);
                        (!fits).then(|| format!("{name}: {ran:?}"))
                    } else {
                        fault(&host, name, template, &ran)
                    };
                    faults.lock().unwrap().extend(wrong);
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} of {}\n{}", faults.len(), all.len(), faults.join("\n"));
    let by_address = all.values().filter(|template| is_by_address(template)).count();
    let pairs = all.values().filter(|template| template.signature.pair_kind().is_some()).count();
    let stored = host.api("/api/v1/stats")["events"].as_u64().unwrap();
    println!("{} presets: {stored} events, {pairs} of them with a pair", all.len());
    println!("{by_address} refused, whose key is at an address of the provider");
    // The sample of a list has two items.
    let ours = all.values().filter(|template| !is_by_address(template));
    let events = ours.map(|template| if template.split.is_some() { 2 } else { 1 });
    assert_eq!(stored, events.sum::<u64>());
    assert!(by_address >= 3 && pairs >= 5, "{by_address} and {pairs}");
}

/// Sources with public keys: one for each kind of pair that the host makes, and tokens.
const KEYLESS: &str = r#"
[sources.discord]
preset = "discord"
[sources.sendgrid]
preset = "sendgrid"
[sources.plaid]
preset = "plaid"
"#;

#[test]
fn a_source_without_a_public_key_has_a_pair_of_its_own_on_a_loopback_listener() {
    let site = Site::new(KEYLESS, &[]);
    let kinds = [
        ("discord", "APPLICATION_AUTHORIZED"),
        ("sendgrid", "delivered"),
        ("plaid", "TRANSACTIONS.SYNC_UPDATES_AVAILABLE"),
    ];
    let before = site.run(&["send", "discord", "APPLICATION_AUTHORIZED"]);
    assert!(before.code == 2 && before.err.contains("`hookbox serve` makes a pair"), "{before:?}");
    assert!(!site.path("data/secrets").exists(), "a client makes nothing");
    let host = Host::start(&site);
    let mut pairs = Vec::new();
    for (name, kind) in kinds {
        let ran = site.run(&["send", name, kind, "--url", &host.public_url]);
        assert!(ran.code == 0 && ran.out.contains("accepted"), "{ran:?}");
        let path = site.path(&format!("data/secrets/{name}.pair"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "it is PKCS #8");
        pairs.push(text);
        let source = host.api(&format!("/api/v1/sources/{name}"));
        let from = source["secrets"][0]["from"].as_str().unwrap();
        assert!(from.contains(&format!("{name}.pair")) && source["closed"].is_null(), "{source}");
    }
    let tested = json!({ "type": "APPLICATION_AUTHORIZED" });
    let (_, tested) = host.api_status("POST", "/api/v1/sources/discord/test", Some(tested));
    // Discord insists on an answer without a body.
    assert_eq!(tested["status"], 204, "{tested}");
    host.stop();
    let log = site.log();
    assert_eq!(log.matches("it is for tests, so set `public_keys`").count(), 3, "{log}");
    let checked = site.run(&["check"]);
    assert!(checked.code == 0 && checked.out.contains("it is for tests"), "{checked:?}");
    assert!(checked.out.contains("a pair of keys for tests"), "{checked:?}");
    let host = Host::start(&site);
    for ((name, _), text) in kinds.iter().zip(&pairs) {
        let path = site.path(&format!("data/secrets/{name}.pair"));
        assert_eq!(&std::fs::read_to_string(path).unwrap(), text, "a pair stays");
    }
    host.stop();
    for said in [log, site.log(), checked.out, checked.err] {
        assert!(!said.contains("BEGIN PRIVATE") && !pairs.iter().any(|pair| said.contains(pair)));
    }
}

#[test]
fn a_listener_that_others_reach_takes_no_pair_in_place_of_a_public_key() {
    let site = Site::new(KEYLESS, &[]);
    Host::start(&site).stop();
    assert!(site.path("data/secrets/discord.pair").exists());
    let config = std::fs::read_to_string(site.path("config.toml")).unwrap();
    site.put("config.toml", config.replace("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:0\""));
    for arguments in [&["check"][..], &["serve"]] {
        let ran = site.run(arguments);
        assert_eq!(ran.code, 2, "{ran:?}");
        for name in ["discord", "sendgrid", "plaid"] {
            let says = format!("`sources.{name}` names no public key");
            assert!(ran.err.contains(&says), "{says}: {ran:?}");
        }
    }
}

/// A source whose pair the host cannot make.
const RSA: &str = "[sources.wise]\npreset = \"wise\"\n";

#[test]
fn a_pair_of_rsa_is_the_users_to_make() {
    let site = Site::new(RSA, &[]);
    let missing = site.run(&["check"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    let said = missing.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for says in ["names no public key", "openssl genpkey -algorithm RSA", "wise.pair"] {
        assert!(said.contains(says), "{says}: {said}");
    }
    std::fs::create_dir_all(site.path("data/secrets")).unwrap();
    site.put("data/secrets/wise.pair", RSA_PAIR);
    let host = Host::start(&site);
    let kind = "transfers#state-change";
    let ran = site.run(&["send", "wise", kind, "--url", &host.public_url, "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let id: Value = ran.json()["reply"]["id"].clone();
    assert_eq!(host.event(id.as_str().unwrap())["type"], kind);
}
