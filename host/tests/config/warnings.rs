//! Configurations that are taken and want attention all the same: characters around secrets, and
//! what is named and not set.

use std::fs;

use hookbox::config::source::Secrets;
use hookbox::config::{About, Config, MakeSecrets, MissingPlugins};
use secrecy::ExposeSecret;

use super::home::{ACME, Home, keys, signature};

const SECRET: &str = "0123456789abcdef";

/// As they come from variables and files: what surrounds the secret, and what is said of it.
const STRAY: [(&str, &str); 7] = [
    ("0123456789abcdef\n\n", "2 line ends behind it"),
    ("0123456789abcdef\r", "a carriage return behind it"),
    ("0123456789abcdef ", "a blank behind it"),
    ("\t0123456789abcdef", "a blank in front of it"),
    ("\u{feff}0123456789abcdef\n", "a byte order mark"),
    ("0123456789abcdef\n", ""),
    ("0123456789abcdef\r\n", ""),
];

/// A configuration in which both are the secret of a source and the credential of a plugin.
fn both(place: &str) -> String {
    format!(
        "{}[plugins.audit]\nhttp = [{{ host = \"a.example.com\", headers = {{ X-Key = {place} }} }}]\n",
        ACME.replace("{ env = \"ACME_SECRET\" }", place)
    )
}

fn texts(config: &Config) -> Vec<&str> {
    config.warnings.iter().map(|warning| warning.text.as_str()).collect()
}

#[test]
fn what_stands_around_a_secret_is_taken_away_alike_for_variables_and_files() {
    for (text, said) in STRAY {
        let home = Home { env: vec![("STRAY", text)], ..Home::new() };
        fs::write(home.folder.path().join("stray"), text).unwrap();
        for (place, name) in
            [("{ env = \"STRAY\" }", "variable `STRAY`"), ("{ file = \"stray\" }", "/stray")]
        {
            let config = home.good(&both(place));
            assert_eq!(
                keys(&signature(&config, "acme").0.secrets),
                [SECRET.as_bytes()],
                "{text:?}"
            );
            let credential =
                config.plugin("audit").grants.http[0].headers[0].value.as_ref().unwrap().clone();
            assert_eq!(credential.expose_secret(), SECRET, "{text:?}");
            let warnings = texts(&config);
            assert_eq!(warnings.len(), if said.is_empty() { 0 } else { 2 }, "{warnings:?}");
            for warning in &warnings {
                assert!(
                    warning.contains(said) && warning.contains(name) && !warning.contains(SECRET),
                    "{warning}"
                );
            }
            assert!(config.warnings.iter().all(|warning| warning.about.is_none()), "it works");
        }
    }
}

#[test]
fn quotes_around_a_secret_are_refused_alike_and_never_shown() {
    for text in ["\"0123456789abcdef\"", "'0123456789abcdef'\n"] {
        let home = Home { env: vec![("QUOTED", text)], ..Home::new() };
        fs::write(home.folder.path().join("quoted"), text).unwrap();
        for place in ["{ env = \"QUOTED\" }", "{ file = \"quoted\" }"] {
            let problems = home.bad(&both(place));
            assert_eq!(problems.len(), 2, "{problems}");
            assert!(
                problems
                    .iter()
                    .all(|problem| problem.message.contains("begins and ends with a quote"))
            );
            assert!(
                problems.summary().contains("docker's `--env-file` keeps quotes"),
                "{problems}"
            );
            assert!(
                !problems.render(false).contains("0123456789"),
                "a secret is shown: {problems}"
            );
        }
    }
}

#[test]
fn a_secret_that_is_named_and_not_set_is_a_warning_about_its_source() {
    let mut home = Home::new();
    home.make_secrets = MakeSecrets::Yes;
    let source = |listen: &str, secrets: &str| {
        format!(
            "[server]\nlisten = \"{listen}:3000\"\n{}",
            ACME.replace("{ env = \"ACME_SECRET\" }", secrets)
        )
    };
    let only = |text: &str, degrades: bool| {
        let warnings = home.good(text).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].about, Some(About::Source("acme".to_owned())));
        assert_eq!(warnings[0].degrades, degrades);
        warnings[0].text.clone()
    };
    let far = only(&source("0.0.0.0", "{ env = \"ACME_SECRT\" }"), true);
    assert!(
        far.contains("Looked for: variable `ACME_SECRT`. Every post is refused with 503")
            && far.ends_with(
                "because others reach this host: `server.listen` is not a loopback address"
            ),
        "{far}"
    );
    let near = only(&source("127.0.0.1", "{ env = \"ACME_SECRT\" }"), false);
    assert!(
        near.contains("Looked for: variable `ACME_SECRT`. The")
            && near.contains("data/secrets/acme"),
        "{near}"
    );
    assert!(near.contains("The secret that this host made is used instead"), "{near}");
    let one = only(&source("0.0.0.0", "{ env = \"ACME_SECRET\" }, { file = \"absent\" }"), true);
    assert!(one.contains("/absent is empty or absent; only its other secrets are in use"), "{one}");
    assert!(home.good(&source("0.0.0.0", "{ env = \"ACME_SECRET\" }")).warnings.is_empty());
}

#[test]
fn nothing_but_white_space_is_not_set() {
    let home = Home { env: vec![("BLANK", " \n")], ..Home::new() };
    let config = home.good(&ACME.replace("ACME_SECRET", "BLANK"));
    assert!(matches!(&signature(&config, "acme").0.secrets, Secrets::Missing(_)));
}

#[test]
fn a_credential_that_is_not_set_degrades_its_plugin() {
    let home = Home::new();
    let rule = "{ host = \"a.example.com\", headers = { X-Key = { env = \"API_KYE\" } } }";
    let config = home.good(&format!("[plugins.audit]\nhttp = [{rule}]"));
    let warnings: Vec<_> = config.warnings_of_plugin("audit").collect();
    assert_eq!(warnings.len(), 1);
    for said in ["`x-key`", "a.example.com", "`API_KYE` is empty or absent"] {
        assert!(warnings[0].text.contains(said), "{}", warnings[0].text);
    }
    assert_eq!(config.warnings_of_plugin("video-orders").count(), 0);
}

#[test]
fn a_plugin_without_a_file_is_a_warning_for_a_host_that_starts_and_a_problem_for_all_others() {
    let home = Home::new();
    let load = |missing| Config::load_with(&home.path(), MakeSecrets::No, missing);
    let text = "[routes]\n\"a.b\" = \"audti\"\n\"plugins/gone:**\" = \"audit\"\n[plugins.absent]\ntimeout = \"1s\"\n";
    fs::write(home.path(), text).unwrap();
    assert_eq!(load(MissingPlugins::Refuse).unwrap_err().len(), 3);
    let config = load(MissingPlugins::Wait).unwrap();
    let warnings = texts(&config);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(
        warnings
            .iter()
            .any(|warning| warning.contains("unknown plugin `audti`: did you mean `audit`?"))
    );
    assert_eq!(config.routes.targets("s", "a.b"), [hookbox::event::Target::to("audti")]);
    // A plugin of a name that no file can have will never come.
    fs::write(home.path(), "[routes]\n\"a.b\" = \"no plugin\"\n").unwrap();
    assert!(load(MissingPlugins::Wait).is_err());
    fs::remove_dir_all(home.folder.path().join("plugins")).unwrap();
    fs::write(home.path(), text).unwrap();
    assert!(load(MissingPlugins::Refuse).is_err());
    assert!(load(MissingPlugins::Wait).is_ok());
}
