//! The keys of a section for the forms of requests and replies.

use hookbox::config::source::{FixedReply, Pick};

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

#[test]
fn a_section_says_where_its_list_is_and_what_is_read_beside_it() {
    let home = Home::new();
    let with = |keys: &str| {
        let text = ACME.replacen("type = { json = \"/type\" }\n", keys, 1);
        home.good(&text).sources["acme"].as_ref().clone()
    };
    let source = with("split = \"\"\ntype = \"{request:/kind}.{json:/type}\"\n");
    assert_eq!(source.split.as_deref(), Some(""));
    assert_eq!(source.kind.to_string(), "{request:/kind}.{json:/type}");
    let source = with("split = \"/a~1b\"\ntype = { request = \"/kind\" }\n");
    assert_eq!(source.kind, Pick::Request("/kind".to_owned()));
    for (keys, says) in [
        ("split = \"events\"\ntype = { json = \"/t\" }\n", "did you mean \"/events\"?"),
        ("split = 5\ntype = { json = \"/t\" }\n", "must be a string"),
        ("type = { request = \"/t\" }\n", "without `split` the event is the request"),
        ("split = \"\"\ntype = { request = \"t\" }\n", "is not a JSON pointer"),
        ("split = \"\"\ntype = \"{reqest:/t}.{json:/a}\"\n", "did you mean `request`?"),
    ] {
        home.refuses(&ACME.replacen("type = { json = \"/type\" }\n", keys, 1), &[says]);
    }
}

#[test]
fn a_section_of_cloudevents_needs_no_places_and_refuses_them() {
    let home = Home::new();
    let with = |keys: &str| ACME.replacen("type = { json = \"/type\" }\n", keys, 1);
    let source = home.good(&with("cloudevents = true\norigins = \"Example.COM\"\n"));
    let source = &source.sources["acme"];
    assert_eq!(
        (source.cloudevents, source.origins.as_slice()),
        (true, &["example.com".to_owned()][..])
    );
    assert_eq!(source.kind.to_string(), "{header:ce-type}");
    assert_eq!(source.dedupe.to_string(), "id");
    for (keys, says) in [
        ("cloudevents = true\ntype = { json = \"/t\" }\n", "`sources.acme.type` has no use"),
        ("cloudevents = true\nid = { json = \"/t\" }\n", "`sources.acme.id` has no use"),
        ("cloudevents = true\nsplit = \"\"\n", "a CloudEvent says it itself"),
        ("cloudevents = true\nform = \"p\"\n", "or `cloudevents = true`"),
        ("cloudevents = \"yes\"\ntype = { json = \"/t\" }\n", "must be true or false"),
        ("cloudevents = true\norigins = [\"a b\"]\n", "which is no origin"),
        ("cloudevents = true\norigins = [5]\n", "must be a string"),
        ("cloudevents = false\n", "does not say where the event type is found"),
    ] {
        home.refuses(&with(keys), &[says]);
    }
}
