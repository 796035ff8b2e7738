//! What a section says of the forms of requests and replies.

use hookbox::config::source::FixedReply;

use super::home::{ACME, Home};

#[test]
fn a_section_has_replies_of_its_own_and_overrides_those_of_its_preset() {
    let home = Home::new();
    let with = |keys: &str| {
        let config =
            home.good(&ACME.replacen("[sources.acme]\n", &format!("[sources.acme]\n{keys}\n"), 1));
        config.sources["acme"].replies.clone()
    };
    assert_eq!(with(""), Default::default());
    let replies = with("answer = { body = \"ok\" }\nrefuse_status = 498\nmethods = \"POST\"");
    let reply = FixedReply { status: 200, content_type: Some("text/plain"), body: "ok".into() };
    assert_eq!((replies.accepted, replies.refuse_status), (Some(reply), 498));
    let preset = "[sources.a]\npreset = \"discord\"\nverify = { public_keys = \
                  [\"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"] }\n";
    let status = |keys: &str| {
        let config = home.good(&format!("{preset}{keys}"));
        config.sources["a"].replies.accepted.as_ref().map(|reply| reply.status)
    };
    assert_eq!((status(""), status("answer = { status = 202 }")), (Some(204), Some(202)));
}

#[test]
fn bad_replies_are_refused() {
    let home = Home::new();
    for (keys, says) in [
        ("answer = { status = 302 }", "a whole number from 200 to 299"),
        ("answer = { status = 204, body = \"ok\" }", "HTTP has none with 204"),
        ("answer = { content_type = \"text/plain\" }", "add `body`, or take it out"),
        ("answer = { content_type = \"text/html\", body = \"x\" }", "did you mean `text/xml`?"),
        ("answer = { headers = {} }", "`sources.acme.answer.headers` is not a key of hookbox"),
        ("answer = 204", "must be a table"),
        ("refuse_status = 200", "a whole number from 400 to 499"),
        ("refuse_status = 410", "delete a subscription that is answered with 410: write 401"),
        ("methods = [\"PUT\"]", "write [\"POST\", \"PUT\"]"),
        ("methods = [\"POST\", \"GET\"]", "it can be \"POST\", \"PUT\""),
    ] {
        let text = ACME.replacen("[sources.acme]\n", &format!("[sources.acme]\n{keys}\n"), 1);
        home.refuses(&text, &[says]);
    }
}
