//! Handshakes on a running host: values that only the operator and the provider know.

use serde_json::json;

use crate::support::{Host, ROUTE, SECRET, SOURCE, Site, agent, guest, replace, wait_for};

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
