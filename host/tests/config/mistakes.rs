//! Mistakes of people who are new to it: each is told once, where it was made, with what would be
//! right.

use std::fs;

use super::home::{ACME, Home};

#[test]
fn a_file_in_the_place_of_the_data_folder_is_told_once_and_of_the_store() {
    let home = Home::new();
    fs::write(home.folder.path().join("data"), "").unwrap();
    let source = "[sources.heygen]\npreset = \"heygen\"\n";
    for store in ["", "[store]\nurl = \"sqlite:data/deep/hookbox.db\"\n"] {
        home.refuses(
            &format!("{store}{source}"),
            &["the folder of `store.url`", "/data: it is a file, not a folder", "[store]"],
        );
    }
    home.good(&format!("[store]\nurl = \"sqlite:other/hookbox.db\"\n{source}"));
}

#[test]
fn a_misspelt_preset_is_one_error_whatever_else_the_section_says() {
    let home = Home::new();
    for more in ["", "reconcile = \"10m\"\n", "secrets = [{ env = \"ACME_SECRET\" }]\n"] {
        home.refuses(
            &format!("[sources.heygen]\npreset = \"heygenn\"\n{more}"),
            &["is the unknown preset \"heygenn\"", "did you mean `heygen`?"],
        );
    }
}

#[test]
fn a_misspelt_registration_is_offered_as_it_is_written() {
    let entry = "[{ registerd = true }]";
    let text = ACME.replace("[{ env = \"ACME_SECRET\" }]", entry);
    Home::new().refuses(&text, &["did you mean `registered`?", "`env`, `file`"]);
}

#[test]
fn a_key_that_is_the_end_of_another_one_leads_to_it() {
    let home = Home::new();
    let retry = "[plugins.audit]\nretry = { attempts = 5 }\n";
    home.refuses(retry, &["did you mean `max_attempts`?"]);
    home.refuses("[store]\nwindow = \"1d\"\n", &["did you mean `dedupe_window`?"]);
    // Where several keys end so, none is likelier than the others.
    let several = home.problem("[server]\nurl = \"https://hooks.example.com\"\n");
    assert!(!several.contains("did you mean"), "{several}");
}

#[test]
fn a_plugin_that_is_named_with_its_folder_is_told_without_it() {
    let home = Home::new();
    for name in ["plugins/video-orders", "plugins/video-orders.wasm"] {
        home.refuses(
            &format!("[routes]\n\"a.b\" = \"{name}\"\n"),
            &["write \"video-orders\"", "without its folder"],
        );
    }
}

#[test]
fn a_file_whose_ending_is_in_capital_letters_is_warned_of() {
    let home = Home::new();
    for name in ["shout.WASM", "quiet.Wat", "notes.TXT", ".draft.WASM"] {
        fs::write(home.folder.path().join("plugins").join(name), "").unwrap();
    }
    let warnings = home.good("").warnings;
    let said: Vec<&str> = warnings.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    for (text, name) in said.iter().zip(["`quiet.Wat`", "`shout.WASM`"]) {
        assert!(text.starts_with(name) && text.contains("not in small letters: rename"), "{text}");
    }
    let routed = "[routes]\n\"a.b\" = \"shout\"\n";
    home.refuses(routed, &["neither `shout.wasm` nor", "; `shout.WASM` is not read, because"]);
}

#[test]
fn the_defaults_of_plugins_and_sources_are_in_force_and_told() {
    let text = format!(
        "{ACME}[plugins.audit]\nretry = {{ max_attempts = 3 }}\nlimits.emitted = 7\nbreaker = false\n"
    );
    let keys = Home::new().good(&text).effective();
    let row = |key: &str| {
        let found = keys.iter().find(|it| it.key == key);
        let found = found.unwrap_or_else(|| panic!("{key} is not told"));
        (found.value.as_str(), found.line)
    };
    for (key, value) in [
        ("plugins.audit.retry.initial", "\"1s\""),
        ("plugins.audit.retry.jitter", "\"full\""),
        ("plugins.audit.retry.max_attempts", "3"),
    ] {
        assert_eq!(row(key), (value, row("plugins.audit.retry").1), "{key}");
    }
    assert!(
        row("plugins.audit.retry.initial").1.is_some() && row("plugins.audit.breaker").1.is_some()
    );
    for (key, value) in [
        ("plugins.audit.rate", "none"),
        ("plugins.audit.kv.bucket", "\"audit\""),
        ("plugins.audit.kv.ttl", "none"),
        ("plugins.audit.limits.http_open", "8"),
        ("sources.acme.dedupe", "[\"body\"]"),
    ] {
        assert_eq!(row(key), (value, None), "{key}");
    }
    assert_eq!(row("plugins.audit.limits.emitted").0, "7");
    let keys = Home::new().good("[plugins.audit]\ntimeout = \"5s\"\n").effective();
    let pause = keys.iter().find(|it| it.key == "plugins.audit.breaker.pause").unwrap();
    assert_eq!((pause.value.as_str(), pause.line), ("\"30s\"", None));
}
