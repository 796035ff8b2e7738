//! Handshakes on a running host: values that only the operator and the provider know.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hmac::{Hmac, KeyInit, Mac};
use hookbox::clock::Clock;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Host, NOW_MS, ROUTE, SECRET, SOURCE, Site, agent, guest, replace, wait_for};

/// The answer of a host to a GET: status and body.
fn get(host: &Host, path: &str) -> (u16, String) {
    let answer = agent().get(format!("{}{path}", host.public_url)).call().unwrap();
    (answer.status().as_u16(), answer.into_body().read_to_string().unwrap())
}

fn site(sections: &str) -> Site {
    Site::new(&format!("{SOURCE}{sections}{ROUTE}"), &[("worker.wat", &guest("ok"))])
}

#[test]
fn a_parameter_in_a_file_is_in_force_at_once_and_shown_nowhere() {
    let site = site(
        "[sources.whatsapp]\npreset = \"whatsapp\"\nsecrets = [{ env = \"TEST_SECRET\" }]\n\
         params = { verify_token = { file = \"token.txt\" } }\n",
    );
    let host = Host::start(&site);
    let ask = |token: &str| {
        let query = format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
        get(&host, &format!("/webhook/whatsapp?{query}"))
    };
    assert_ne!(ask("").0, 200, "nothing equals a token that is not there");
    let config = host.api("/api/v1/config");
    let warned = config["warnings"].to_string();
    assert!(warned.contains("token.txt is set, which `params.verify_token` names"), "{warned}");
    for token in ["first-hidden-token", "second-hidden-token"] {
        replace(&site.path("token.txt"), format!("{token}\n").as_bytes());
        let answer = wait_for("the token to be in force", || {
            let answer = ask(token);
            (answer.0 == 200).then_some(answer)
        });
        assert_eq!(answer, (200, "1158201444".to_owned()));
    }
    assert_eq!(ask("first-hidden-token"), (403, String::new()));
    assert_eq!(ask(SECRET), (403, String::new()));
    let config = host.api("/api/v1/config").to_string();
    let source = host.api("/api/v1/sources/whatsapp").to_string();
    let page = agent().get(format!("{}/settings", host.admin_url)).call().unwrap();
    let page = page.into_body().read_to_string().unwrap();
    for text in [config, source, page, site.log()] {
        assert!(!text.contains("hidden-token"), "{text}");
    }
    assert_eq!(host.api("/api/v1/stats")["events"], json!(0));
}

/// A provider that brings its secret in a handshake: status, the header that it wants back, body.
fn post(host: &Host, source: &str, headers: &[(&str, &str)], body: &str) -> (u16, String, String) {
    let mut request = agent().post(format!("{}/webhook/{source}", host.public_url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.content_type("application/json").send(body).unwrap();
    let header = answer.headers().get("x-hook-secret").map(|it| it.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    (status, header.unwrap_or_default(), answer.into_body().read_to_string().unwrap())
}

/// The handshake of Asana.
fn asana(host: &Host, secret: &str) -> (u16, String, String) {
    post(host, "asana", &[("x-hook-secret", secret)], "{}")
}

/// The status of an event that is signed with a secret.
fn event(host: &Host, source: &str, header: &str, prefix: &str, secret: &str, n: u32) -> u16 {
    let body = json!({ "id": format!("e{n}"), "type": "page.created", "events": [{ "action": "changed", "n": n }] });
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("{prefix}{}", hex::encode(mac.finalize().into_bytes()));
    post(host, source, &[(header, signature.as_str())], &body).0
}

fn changed(host: &Host, secret: &str, n: u32) -> u16 {
    event(host, "asana", "x-hook-signature", "", secret, n)
}

fn open(host: &Host, source: &str, query: &str) -> (u16, Value) {
    host.api_status("POST", &format!("/api/v1/sources/{source}/take-secret{query}"), None)
}

fn window(host: &Host, source: &str) -> Value {
    host.api(&format!("/api/v1/sources/{source}"))["secret_window"].clone()
}

fn page(host: &Host, source: &str) -> String {
    let page = agent().get(format!("{}/sources/{source}", host.admin_url)).call().unwrap();
    page.into_body().read_to_string().unwrap()
}

const FIRST: &str = "0123456789abcdef0123456789abcdef";
const SECOND: &str = "fedcba9876543210fedcba9876543210";

/// Runs `take-secret`, and has a handshake come while it waits.
fn taken_by_command(site: &Site, host: &Host, source: &str, come: impl Fn()) -> (i32, String) {
    let mut command = site.command(&["sources", source, "take-secret", "--admin", &host.admin_url]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait_for("the window", || (window(host, source)["state"] == "open").then_some(()));
    assert!(page(host, source).contains("The secret of the next handshake is taken, until"));
    come();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_handshake_brings_its_secret_only_while_an_operator_waits_for_it() {
    let site = site("[sources.asana]\npreset = \"asana\"\n");
    let host = Host::start(&site);
    let (status, header, body) = asana(&host, FIRST);
    assert_eq!((status, header.as_str()), (403, ""));
    assert!(!body.contains(FIRST), "{body}");
    assert_eq!(changed(&host, FIRST, 1), 401);
    let source = host.api("/api/v1/sources/asana");
    let reasons = source["reasons"].as_array().unwrap();
    let unasked = reasons.iter().find(|it| it["reason"] == "unasked_secret").unwrap();
    assert!(unasked["hint"].as_str().unwrap().contains("hookbox sources asana take-secret"));
    assert!(page(&host, "asana").contains("hookbox sources asana take-secret"));
    let file = site.path("data/secrets/asana.registered");
    assert!(!file.exists(), "nothing was kept");

    let (code, said) = taken_by_command(&site, &host, "asana", || {
        assert_eq!(asana(&host, "short"), (401, String::new(), asana(&host, "short").2));
        assert_eq!(asana(&host, FIRST), (200, FIRST.to_owned(), String::new()));
        assert_eq!(changed(&host, FIRST, 2), 200, "it is active before the handshake is answered");
    });
    assert!(code == 0 && said.contains("`asana` verifies with it now"), "{said}");
    assert!(said.contains("from 127.0.0.1") && !said.contains(FIRST), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(asana(&host, SECOND).0, 403, "the window closed after the first");
    assert_eq!(asana(&host, FIRST).1, FIRST, "a secret that is active is no new one");
    assert_eq!(window(&host, "asana")["state"], "taken");

    assert_eq!(open(&host, "asana", "?for_s=60").1["state"], "open");
    assert_eq!(asana(&host, SECOND), (200, SECOND.to_owned(), String::new()));
    assert_eq!((changed(&host, FIRST, 3), changed(&host, SECOND, 4)), (200, 200));
    let audit = host.api("/api/v1/audit?action=sources.take_secret");
    let details: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|it| &it["detail"]).collect();
    assert_eq!(details, [&json!("for 60 s"), &json!("for 600 s")]);

    open(&host, "asana", "");
    host.stop();
    let host = Host::start(&site);
    assert_eq!((changed(&host, FIRST, 5), changed(&host, SECOND, 6)), (200, 200));
    assert_eq!(window(&host, "asana")["state"], "closed", "a restart closes it");
    assert_eq!(asana(&host, &FIRST.replace('0', "1")).0, 403);
    for text in [site.log(), page(&host, "asana"), host.api("/api/v1/sources/asana").to_string()] {
        assert!(!text.contains(FIRST) && !text.contains(SECOND), "{text}");
    }
}

#[test]
fn a_secret_that_the_provider_wants_back_is_shown_once() {
    let site = site("[sources.notion]\npreset = \"notion\"\n");
    let host = Host::start(&site);
    let token = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl";
    let verify = || post(&host, "notion", &[], &json!({ "verification_token": token }).to_string());
    assert_eq!(verify().0, 403);
    let (code, said) = taken_by_command(&site, &host, "notion", || assert_eq!(verify().0, 200));
    assert!(code == 0 && said.ends_with(&format!("{token}\n")), "{said}");
    let signed = |n| event(&host, "notion", "x-notion-signature", "sha256=", token, n);
    assert_eq!(signed(1), 200);
    let reveal = || host.api_status("POST", "/api/v1/sources/notion/reveal-secret", None);
    assert_eq!(reveal().0, 409, "the command has shown it");
    assert_eq!(
        host.api("/api/v1/audit?action=sources.reveal_secret")["items"][0]["via"],
        "command"
    );
    assert!(!site.log().contains(token) && !page(&host, "notion").contains(token));
    let form = format!("{}/sources/notion/take-secret", host.admin_url);
    let request = agent().post(form).config().max_redirects(0).build();
    let answer = request.content_type("application/x-www-form-urlencoded").send("once=x1").unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &"/sources/notion".parse().unwrap())
    );
    assert_eq!(window(&host, "notion")["state"], "open");
    let closed = site.ask(&host, &["sources", "notion", "take-secret", "--for", "0s", "--json"]);
    assert_eq!(closed.json()["state"], "closed");
}

#[test]
fn a_window_ends_by_itself_and_stays_open_if_the_secret_cannot_be_kept() {
    let site = site("[sources.asana]\npreset = \"asana\"\n");
    let clock = Clock::manual(NOW_MS);
    let host = Host::start_by(&site, &clock);
    fs::create_dir_all(site.path("data")).unwrap();
    fs::write(site.path("data/secrets"), "").unwrap();
    assert_eq!(open(&host, "asana", "?for_s=60").0, 200);
    assert_eq!(asana(&host, FIRST).0, 503);
    let refused = host.api("/api/v1/sources/asana")["refused"].clone();
    assert_eq!(refused, json!({ "unkept_secret": 1 }));
    fs::remove_file(site.path("data/secrets")).unwrap();
    clock.set(NOW_MS + 59_000);
    assert_eq!(window(&host, "asana")["state"], "open");
    clock.set(NOW_MS + 60_000);
    assert_eq!(asana(&host, FIRST).0, 403);
    assert_eq!(window(&host, "asana")["state"], "closed");
}

#[test]
fn a_window_that_makes_no_sense_is_refused_with_the_remedy() {
    let site = site(
        "[sources.asana]\npreset = \"asana\"\nsecrets = [{ env = \"TEST_SECRET\" }]\n\
         [sources.notion]\npreset = \"notion\"\n",
    );
    let host = Host::start(&site);
    for (source, query, status, says) in [
        ("test", "", 409, "handshakes of `test` bring no secret"),
        ("asana", "", 409, "add { registered = true }"),
        ("notion", "?for_s=3601", 400, "whole number of seconds from 0 to 3600"),
        ("notoin", "", 404, "did you mean `notion`?"),
    ] {
        let (answered, problem) = open(&host, source, query);
        assert_eq!(answered, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    }
    assert_eq!(asana(&host, SECRET).1, SECRET, "this secret is active");
    assert_eq!(asana(&host, FIRST).0, 403);
    let ran = site.ask(&host, &["sources", "take-secret", "notion"]);
    assert!(ran.code == 2 && ran.err.contains("after the name of the source"), "{ran:?}");
}
