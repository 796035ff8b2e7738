//! `sources.NAME.dedupe`: what makes a duplicate, if said and if not.

use hookbox::config::source::DedupeBy;

use super::home::{ACME, Home};

const OPEN: &str = "[sources.acme]\ntype = { fixed = \"a\" }\nverify = { scheme = \"none\" }\n";

fn in_force(text: &str) -> String {
    Home::new().good(text).sources["acme"].dedupe.to_string()
}

#[test]
fn what_is_written_is_in_force() {
    let id = format!("{ACME}id = {{ json = \"/id\" }}\n");
    for (written, expected) in [
        ("\"id\"", "id"),
        ("[\"body\", \"id\"]", "body, id"),
        ("\"body\"", "body"),
        ("\"none\"", "none"),
        ("[\"none\"]", "none"),
    ] {
        assert_eq!(in_force(&format!("{id}dedupe = {written}\n")), expected, "{written}");
    }
    let timed = id.replace("header =", "timestamp = { header = \"X-T\" }, header =");
    let all = in_force(&format!("{timed}dedupe = [\"id\", \"body\", \"timestamp+body\"]\n"));
    assert_eq!(all, "id, body, timestamp+body");
    let github = "[sources.acme]\npreset = \"github\"\nsecrets = [{ env = \"ACME_SECRET\" }]\n";
    assert_eq!(in_force(&format!("{github}dedupe = [\"id\", \"body\"]\n")), "id, body");
}

#[test]
fn where_nothing_is_written_what_is_signed_decides() {
    let with_id = |text: &str| format!("{text}id = {{ header = \"X-Id\" }}\n");
    let signed = |template: &str| {
        ACME.replace("header =", &format!("signed = \"{template}\", {TIME}, header ="))
    };
    const TIME: &str = "timestamp = { header = \"X-T\" }";
    for (text, expected) in [
        (with_id(&signed("{id}.{body}")), "id"),
        (with_id(ACME), "id"),
        (with_id(&signed("{timestamp}.{body}")), "id"),
        (signed("{timestamp}.{body}"), "timestamp+body"),
        (ACME.to_owned(), "body"),
        (signed("{body}"), "body"),
        (signed("{json:/a}"), "body, signed"),
        (with_id(&signed("{json:/a}")), "id, signed"),
        (with_id(OPEN), "id"),
        (OPEN.to_owned(), "none"),
    ] {
        assert_eq!(in_force(&text), expected, "{text}");
    }
}

#[test]
fn presets_say_their_own() {
    for (preset, expected) in
        [("github", "id"), ("heygen", "id, body"), ("standard-webhooks", "id"), ("stripe", "id")]
    {
        let secret = if preset == "standard-webhooks" { "BASE64" } else { "ACME_SECRET" };
        let env =
            vec![("ACME_SECRET", "0123456789abcdef"), ("BASE64", "whsec_MDEyMzQ1Njc4OWFiY2RlZg==")];
        let home = Home { env, ..Home::new() };
        let text = format!(
            "[sources.acme]\npreset = \"{preset}\"\nsecrets = [{{ env = \"{secret}\" }}]\n"
        );
        let dedupe = home.good(&text).sources["acme"].dedupe.clone();
        assert_eq!((dedupe.to_string().as_str(), dedupe.is_default), (expected, false), "{preset}");
    }
}

#[test]
fn only_a_body_that_nobody_chose_is_worth_a_word() {
    let of = |text: &str| Home::new().good(text).sources["acme"].dedupe.clone();
    assert!(of(ACME).is_body_for_want_of_better());
    let chosen = of(&format!("{ACME}dedupe = \"body\"\n"));
    assert!(chosen.keys == [DedupeBy::Body] && !chosen.is_body_for_want_of_better());
    assert!(!of(OPEN).is_body_for_want_of_better());
    // A preset's choice is not the user's: it is told where two events may have equal bodies.
    // As base64, too, it is of 24 bytes.
    let env = vec![("ACME_SECRET", "0123456789abcdef0123456789abcdef")];
    let home = Home { env, ..Home::new() };
    let of = |text: &str| home.good(text).sources["acme"].dedupe.clone();
    let preset = |name: &str| {
        format!("[sources.acme]\npreset = \"{name}\"\nsecrets = [{{ env = \"ACME_SECRET\" }}]\n")
    };
    assert!(of(&preset("paystack")).is_body_for_want_of_better());
    assert!(
        !of(&format!("{}dedupe = \"body\"\n", preset("paystack"))).is_body_for_want_of_better()
    );
    assert!(!of(&preset("airtable")).is_body_for_want_of_better(), "each body has its time");
    assert!(!of(&preset("dropbox")).is_body_for_want_of_better());
    assert!(of(&preset("gitea")).is_body_for_want_of_better(), "an id in a header is no help");
    assert!(!of(&preset("jira")).is_body_for_want_of_better(), "each body has its time");
    assert!(!of(&preset("revenuecat")).is_body_for_want_of_better(), "the id is in the body");
}

#[test]
fn what_cannot_be_a_key_is_refused() {
    let home = Home::new();
    for (written, says) in [
        (
            "\"ids\"",
            &[
                "`sources.acme.dedupe` is \"ids\"",
                "did you mean `id`?",
                "\"timestamp+body\", \"none\"",
            ][..],
        ),
        ("[\"body\", 1]", &["is a whole number", "`dedupe = \"id\"`"]),
        ("{ by = \"id\" }", &["is a table"]),
        ("[]", &["lists no key", "\"none\""]),
        ("[\"body\", \"body\"]", &["lists \"body\" twice"]),
        ("[\"body\", \"none\"]", &["lists \"none\" beside others", "alone"]),
        ("\"id\"", &["asks for the \"id\"", "`id = { header = \"X-Delivery-Id\" }`"]),
        (
            "\"timestamp+body\"",
            &["asks for a timestamp", "`timestamp = { header = \"X-Timestamp\" }`"],
        ),
    ] {
        home.refuses(&format!("{ACME}dedupe = {written}\n"), says);
    }
    home.refuses(&format!("{OPEN}dedupe = \"timestamp+body\"\n"), &["not verified", "\"none\""]);
    home.refuses(&format!("{OPEN}dedupe = \"signed\"\n"), &["nothing is signed"]);
    let token = ACME.replace("hmac-sha256", "token");
    home.refuses(&format!("{token}dedupe = \"signed\"\n"), &["nothing is signed"]);
    // A mistake elsewhere is told once.
    home.refuses(&format!("{ACME}id = {{}}\ndedupe = \"id\"\n"), &["exactly one place"]);
    let timed = ACME.replace("header =", "timestamp = {}, header =");
    home.refuses(&format!("{timed}dedupe = \"timestamp+body\"\n"), &["names no header"]);
}

#[test]
fn a_bad_key_is_shown_at_its_place() {
    let problems = Home::new().bad(&format!("{ACME}dedupe = [\"body\", \"ids\"]\n"));
    let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(places, [(ACME.lines().count() + 1, 19)], "{problems}");
}

#[test]
fn data_is_not_kept_longer_than_its_event() {
    let home = Home::new();
    let config = home.good("[store]\nretention = \"90d\"\npayload_retention = \"7d\"");
    assert_eq!(config.store.payload_retention_ms, Some(7 * 86_400_000));
    home.refuses(
        "[store]\nretention = \"2d\"\npayload_retention = \"3d\"",
        &["payload_retention", "longer than `store.retention`", "at most 2d"],
    );
    home.refuses("[store]\npayload_retention = \"1s\"", &["out of bounds", "from 1h"]);
}
