//! `params`: values of a registration, out of the file, a variable or another file.

use std::fs;

use super::home::Home;

const PAYPAL: &str = "[sources.paypal]\npreset = \"paypal\"\n";
const WHATSAPP: &str =
    "[sources.whatsapp]\npreset = \"whatsapp\"\nsecrets = [{ env = \"ACME_SECRET\" }]\n";

#[test]
fn a_parameter_is_read_from_a_variable_a_file_or_the_configuration_and_never_shown() {
    let mut home = Home::new();
    home.env.push(("WEBHOOK_ID", "1JE0hidden"));
    fs::write(home.folder.path().join("id.txt"), "1JE0hidden\n").unwrap();
    for value in ["{ env = \"WEBHOOK_ID\" }", "{ file = \"id.txt\" }", "\"1JE0hidden\""] {
        for section in
            ["params = { webhook_id = VALUE }", "[sources.paypal.params]\nwebhook_id = VALUE"]
        {
            let text = format!("{PAYPAL}{}", section.replace("VALUE", value));
            let config = home.good(&text);
            let source = &config.sources["paypal"];
            assert_eq!(source.params["webhook_id"].as_str(), "1JE0hidden");
            assert!(!format!("{config:?}").contains("1JE0hidden"), "{text}");
            let effective = config.effective();
            let shown = effective.iter().find(|key| key.key.starts_with("sources.paypal.params"));
            let shown = shown.unwrap_or_else(|| panic!("{effective:?}"));
            let wanted = if value.starts_with('{') { value } else { "set, not shown" };
            assert!(wanted.contains(shown.value.trim_matches(['{', '}', ' '])), "{shown:?}");
            assert!(!format!("{effective:?}").contains("1JE0hidden"), "{effective:?}");
        }
    }
}

#[test]
fn a_parameter_that_is_missing_is_named_with_its_place() {
    let home = Home::new();
    home.refuses(PAYPAL, &["signs {param:webhook_id}", "params = { webhook_id = \"…\" }"]);
    home.refuses(
        &format!("{PAYPAL}params = {{ webhook_id = {{ env = \"ABSENT\" }} }}"),
        &["`sources.paypal.params.webhook_id` names the environment variable `ABSENT`", "absent"],
    );
    let warned = |text: &str| {
        let config = home.good(text);
        config.warnings.iter().map(|it| it.text.clone()).collect::<Vec<_>>().join("\n")
    };
    let text = warned(WHATSAPP);
    assert!(text.contains("until `params = { verify_token = \"…\" }` is set"), "{text}");
    let text = warned(&format!("{WHATSAPP}params = {{ verify_token = {{ file = \"no.txt\" }} }}"));
    assert!(text.contains("no.txt is set, which `params.verify_token` names"), "{text}");
    let text = warned(&format!("{WHATSAPP}params = {{ verify_token = \"a\" }}"));
    assert!(!text.contains("handshake"), "{text}");
}

#[test]
fn a_key_of_all_customers_is_warned_of_until_a_rule_names_the_registration() {
    let home = Home::new();
    let warned = |text: &str| {
        let config = home.good(text);
        config.warnings.iter().map(|it| it.text.clone()).collect::<Vec<_>>().join("\n")
    };
    let key =
        "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let wise = |when: &str| {
        format!(
            "[sources.wise]\npreset = \"wise\"\nverify = {{ scheme = \"ed25519\", public_keys = [\"{key}\"]{when} }}\n"
        )
    };
    let text = warned(&wise(""));
    assert!(text.contains("the key of Wise is that of all its customers"), "{text}");
    assert!(text.contains("`when = { json = \"/data/resource/profile_id\""), "{text}");
    let when = ", when = { json = \"/data/resource/profile_id\", param = \"profile_id\" }";
    let text = warned(&format!("{}params = {{ profile_id = \"222\" }}\n", wise(when)));
    assert!(!text.contains("all its customers"), "{text}");
}

#[test]
fn a_parameter_that_is_written_wrongly_is_refused_and_not_repeated() {
    let home = Home::new();
    fs::write(home.folder.path().join("lines.txt"), "hidden\nhidden\n").unwrap();
    let long = format!("\"{}\"", "hidden".repeat(100));
    for (value, says) in [
        ("\"\"", "write one line of 1 to 512 bytes"),
        (long.as_str(), "write one line of 1 to 512 bytes"),
        ("{ file = \"lines.txt\" }", "write one line of 1 to 512 bytes"),
        ("{ env = \"hid den\" }", "is not the name of an environment variable"),
        ("{ text = \"hidden\" }", "is not a key of hookbox"),
        ("{ env = \"A\", file = \"hidden\" }", "exactly one place"),
        ("1", "must be a string"),
    ] {
        let problems = home.bad(&format!("{PAYPAL}params = {{ webhook_id = {value} }}"));
        let shown = problems.render(false);
        assert!(shown.contains(says), "{value}: {shown}");
        let place = value.contains("file = \"hidden\"");
        assert!(place || !shown.replace("webhook", "").contains("hid"), "{shown}");
    }
}
