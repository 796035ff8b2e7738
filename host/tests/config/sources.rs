//! `[sources.NAME]`: presets, templates, and what is refused of both.

use hookbox::config::presets;
use hookbox::config::source::{
    Encoding, Field, Joined, Part, Pick, Place, Secrets, SignatureScheme, Stale, Verify,
};

use super::home::{ACME, Home, keys, signature};

#[test]
fn a_custom_source_is_read_as_it_is_written() {
    let config = Home::new().good(
        r#"[sources.acme]
secrets = [{ env = "ACME_SECRET" }]
type = { header = "X-Acme-Event" }
id = { header = "X-Acme-Delivery" }
subject = { json = "/a~1b/0" }
[sources.acme.verify]
scheme = "hmac-sha256"
header = ["X-New", "X-Old"]
prefix = "v1="
separator = ","
encoding = "base64"
signed = "{id}:{timestamp}:{body}"
timestamp = { header = "X-New", prefix = "t=", separator = "," }
tolerance = "1h"
stale = "accept"
"#,
    );
    let (source, signature) = signature(&config, "acme");
    assert_eq!(source.kind, Pick::Header("x-acme-event".to_owned()));
    assert_eq!(source.subject, Some(Pick::Json("/a~1b/0".to_owned())));
    assert_eq!(source.dedupe.to_string(), "id");
    let field = |header: &str, prefix: &str| Field {
        place: Place::Header(header.to_owned()),
        prefix: prefix.to_owned(),
        separator: Some(','),
    };
    assert_eq!(signature.signatures, [field("x-new", "v1="), field("x-old", "v1=")]);
    assert_eq!(signature.encoding, Encoding::Base64);
    let colon = || Part::Literal(":".to_owned());
    assert_eq!(signature.signed, [Part::Id, colon(), Part::Timestamp, colon(), Part::Body]);
    let timestamp = signature.timestamp.as_ref().unwrap();
    assert_eq!(timestamp.field, field("x-new", "t="));
    assert_eq!(
        (timestamp.required, timestamp.tolerance_ms, timestamp.stale),
        (true, 3_600_000, Stale::Accept)
    );
    assert_eq!(keys(&source.secrets), [b"0123456789abcdef"]);
}

#[test]
fn a_preset_can_be_overridden_key_by_key() {
    let config = Home::new().good(
        r#"[sources.heygen]
preset = "heygen"
secrets = [{ env = "ACME_SECRET" }]
id = { json = "/event_id" }
verify = { header = "X-New-Name", tolerance = "1d", stale = "reject" }
"#,
    );
    let (source, signature) = signature(&config, "heygen");
    assert_eq!(source.id, Some(Pick::Json("/event_id".to_owned())));
    assert_eq!(source.dedupe.to_string(), "id, body", "as the preset says");
    assert_eq!(
        signature.signatures.iter().map(|field| field.place.to_string()).collect::<Vec<_>>(),
        ["x-new-name"]
    );
    let known = presets::find("heygen").unwrap();
    assert_eq!((source.kind.clone(), source.subject.clone()), (known.kind.unwrap(), known.subject));
    let timestamp = signature.timestamp.as_ref().unwrap();
    assert_eq!(timestamp.field, known.signature.timestamp.unwrap().field);
    assert_eq!(
        (timestamp.required, timestamp.tolerance_ms, timestamp.stale),
        (false, 86_400_000, Stale::Reject)
    );
}

#[test]
fn bad_sources_are_refused() {
    let home = Home::new();
    home.refuses(&ACME.replace("acme]", "Acme]"), &["cannot be the name of a source"]);
    home.refuses(&ACME.replace("acme]", &format!("{}]", "a".repeat(65))), &["1 to 64"]);
    home.refuses(
        &ACME.replace("secrets = [{ env = \"ACME_SECRET\" }]", ""),
        &["has no `secrets`", "ACME_WEBHOOK_SECRET"],
    );
    home.refuses(&ACME.replace("type =", "# type ="), &["where the event type is found"]);
    home.refuses(
        &ACME.replace("hmac-sha256", "hmac-md5"),
        &["is \"hmac-md5\"", "\"hmac-sha256\", \"none\""],
    );
    home.refuses(
        &ACME.replace("scheme = \"hmac-sha256\", ", ""),
        &["names no scheme", "there is no default"],
    );
    home.refuses(&ACME.replace("X-Acme-Signature", "X Acme"), &["not the name of a header"]);
    home.refuses(&ACME.replace(", header = \"X-Acme-Signature\"", ""), &["names no header"]);
    for (pick, says) in [
        ("\"order\"", "does not say where to look"),
        ("{}", "exactly one place"),
        ("{ json = \"/a\", header = \"A\" }", "exactly one place"),
        ("{ json = \"a.b\" }", "did you mean \"/a/b\"?"),
        ("{ json = \"\" }", "not a JSON pointer"),
        ("{ json = \"/a~2\" }", "not a JSON pointer"),
        ("{ json = \"/a~\" }", "not a JSON pointer"),
        ("{ header = \"\" }", "not the name of a header"),
        ("{ fixed = \"\" }", "not a usable text"),
    ] {
        home.refuses(&ACME.replace("{ json = \"/type\" }", pick), &["`sources.acme.type", says]);
    }
    home.refuses(
        &format!("{ACME}id = {{ fixed = \"1\" }}"),
        &["`sources.acme.id.fixed` cannot be an id"],
    );
    for form in ["", "a\\nb"] {
        home.refuses(
            &format!("{ACME}form = \"{form}\""),
            &["`sources.acme.form` is not the name of a form's field"],
        );
    }
}

#[test]
fn a_type_can_be_joined_of_parts_and_text() {
    let home = Home::new();
    let picks = |text: &str| {
        let config =
            home.good(&format!("{}subject = {text}", ACME.replace("{ json = \"/type\" }", text)));
        let source = &config.sources["acme"];
        assert_eq!(source.subject.as_ref(), Some(&source.kind));
        source.kind.clone()
    };
    let (header, json) =
        (|| Pick::Header("x-github-event".to_owned()), || Pick::Json("/action".to_owned()));
    let joined = |values: &[(&str, Pick)], end: &str| {
        let values =
            values.iter().map(|(before, pick)| ((*before).to_owned(), pick.clone())).collect();
        Pick::Joined(Joined { values, end: end.to_owned() })
    };
    let both = joined(&[("", header()), (".", json())], "");
    assert_eq!(picks("\"{header:X-GitHub-Event}.{json:/action}\""), both);
    assert_eq!(picks("\"git {json:/action}!\""), joined(&[("git ", json())], "!"));
    // One part alone is what it would be as a table.
    assert_eq!(picks("\"{header:X-GitHub-Event}\""), header());
    let id = home.good(&format!("{ACME}id = \"{{json:/a~1b}}\""));
    assert_eq!(id.sources["acme"].id, Some(Pick::Json("/a~1b".to_owned())));
}

#[test]
fn a_bad_join_is_refused() {
    let home = Home::new();
    for (text, says) in [
        ("{header:X-Event", "a brace without its other half"),
        ("header:X-Event}", "a brace without its other half"),
        ("{header:{json:/a}}", "a brace without its other half"),
        ("{hader:X-Event}.{json:/a}", "did you mean `header`?"),
        (
            "{cookie:event}",
            "names the unknown part {cookie:event} (write {header:NAME}, {json:/POINTER}, {form:NAME}, {query:NAME} or {method})",
        ),
        ("{body}", "names the unknown part {body}"),
        ("{header:X Event}", "\"X Event\" is not the name of a header"),
        ("{header:}", "is not the name of a header"),
        ("{json:action}", "did you mean \"/action\"?"),
        ("{json:/a~2}", "not a JSON pointer"),
        ("{json:/a}  {json:/b}", "has blanks other than single spaces"),
        ("hookbox.{json:/a}", "the host's own prefix"),
        (
            "{json:/1}{json:/2}{json:/3}{json:/4}{json:/5}{json:/6}{json:/7}{json:/8}{json:/9}",
            "at most 8",
        ),
    ] {
        home.refuses(
            &ACME.replace("{ json = \"/type\" }", &format!("\"{text}\"")),
            &["`sources.acme.type", says],
        );
    }
    home.refuses(
        &ACME.replace("json = \"/type\"", "fixed = \"hookbox.x\""),
        &["the host's own prefix"],
    );
    home.refuses(
        &ACME.replace("json = \"/type\"", "fixed = \"a  b\""),
        &["blanks other than single spaces"],
    );
    let id = format!("{ACME}id = \"{{json:/a}}-{{json:/b}}\"");
    home.refuses(&id, &["`sources.acme.id` joins an id", "two events might come to the same text"]);
    // The text is underlined.
    let problems = home.bad(&ACME.replace("{ json = \"/type\" }", "\"{cookie:event}\""));
    let problem = problems.iter().next().unwrap();
    assert_eq!((problem.line, problem.column), (4, 8));
}

#[test]
fn a_bad_template_is_refused() {
    let home = Home::new();
    for (keys, says) in [
        ("signed = \"{timestamp}\", timestamp = { header = \"X-T\" }", "leaves out the {body}"),
        ("signed = \"{bdy}\"", "did you mean `body`?"),
        ("signed = \"{url}\", public_url = \"https://a.example\"", "leaves out the {body}"),
        ("signed = \"{url}{body}\"", "`public_url = \"https://hooks.example.com\"`"),
        ("public_url = \"https://a.example\"", "`sources.acme.verify.public_url` has no use"),
        (
            "signed = \"{url}{body}\", public_url = \"a.example\"",
            "is not how a provider reaches this host",
        ),
        (
            "signed = \"{url}{body}\", public_url = \"https://a.example/\"",
            "without a slash at the end",
        ),
        ("signed = \"{header:X Y}{body}\"", "the unknown part {header:X Y}"),
        ("signed = \"{query:}{body}\"", "the unknown part {query:}"),
        ("signed = \"{body\"", "a brace without its other half"),
        ("signed = \"body}\"", "a brace without its other half"),
        ("signed = \"{timestamp}{body}\"", "no header is named for it"),
        ("signed = \"{id}{body}\"", "`id = { header = \"X-Delivery-Id\" }`"),
        ("tolerance = \"5m\"", "without a `timestamp`"),
        ("stale = \"accept\"", "without a `timestamp`"),
        ("timestamp = { header = \"X-T\" }, tolerance = \"31d\"", "from 1s to 30d"),
        ("timestamp = { header = \"X-T\" }, stale = \"keep\"", "\"reject\", \"accept\""),
        ("timestamp = {}", "names no header"),
        ("separator = \", \"", "the one character"),
        ("prefix = \"\\n\"", "not a text that a header can carry"),
        ("encoding = \"hexx\"", "did you mean `hex`?"),
        ("secret_encoding = \"rot13\"", "\"utf8\", \"base64\""),
    ] {
        home.refuses(&ACME.replace("header =", &format!("{keys}, header =")), &[says]);
    }
}

#[test]
fn public_keys_take_the_place_of_secrets() {
    const KEY: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
    let home = Home::new();
    let acme = |verify: &str| {
        format!("[sources.acme]\ntype = {{ fixed = \"a\" }}\nverify = {{ {verify} }}\n")
    };
    let verify = "scheme = \"ed25519\", header = \"X-S\"";
    let good = acme(&format!(
        "{verify}, public_keys = [\"{KEY}\", \"{}\"]",
        "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    ));
    let config = home.good(&good);
    let (source, signature) = signature(&config, "acme");
    assert_eq!(
        (signature.scheme, source.dedupe.to_string().as_str()),
        (SignatureScheme::Ed25519, "body")
    );
    assert_eq!(signature.public_keys.iter().map(hex::encode).collect::<Vec<_>>(), [KEY, KEY]);
    assert_eq!(keys(&source.secrets), [[0; 0]; 0]);

    let exposed = "[server]\nlisten = \"0.0.0.0:3000\"\n";
    home.refuses(&format!("{exposed}{}", acme(verify)), &["names no public key"]);
    let keyless = home.good(&acme(verify));
    let (source, keyless) = self::signature(&keyless, "acme");
    assert!(matches!(source.secrets, Secrets::Missing(_)) && keyless.public_keys.is_empty());
    let mixed = "[sources.acme]\ntype = { fixed = \"a\" }\nsecrets = [{ env = \"ACME_SECRET\" }]\n\
         [[sources.acme.verify]]\nscheme = \"hmac-sha256\"\nheader = \"X-H\"\n\
         [[sources.acme.verify]]\nscheme = \"ed25519\"\nheader = \"X-S\"\n";
    home.refuses(mixed, &["`sources.acme.verify` names no public key"]);
    let short = acme(&format!("{verify}, public_keys = \"{}\"", &KEY[2..]));
    home.refuses(&short, &["is not a public key of 32 bytes"]);
    home.refuses(
        &good.replace(", public_keys", ", secret_prefix = \"a\", public_keys"),
        &["is not a key of hookbox"],
    );
    home.refuses(
        &format!("{good}secrets = [{{ env = \"ACME_SECRET\" }}]"),
        &["has no use with public keys"],
    );
    home.refuses(
        &ACME.replace("header =", &format!("public_keys = \"{KEY}\", header =")),
        &["is not a key of hookbox"],
    );
}

#[test]
fn no_verification_has_to_be_written_out() {
    let home = Home::new();
    let open = "[sources.acme]\ntype = { fixed = \"a\" }\n";
    home.refuses(open, &["does not say how its requests are verified", "`preset = …`"]);
    let config = home.good(&format!("{open}verify = {{ scheme = \"none\" }}"));
    assert!(matches!(config.sources["acme"].verify, Verify::None));
    home.refuses(
        &format!("{open}verify = {{ scheme = \"none\", header = \"X\" }}"),
        &["no use without verification"],
    );
    home.refuses(
        &format!("{open}verify = {{ scheme = \"none\" }}\nsecrets = [{{ env = \"ACME_SECRET\" }}]"),
        &["no use without"],
    );
}
