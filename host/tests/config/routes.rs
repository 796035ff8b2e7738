//! `[routes]`: what stands before a colon, and lines that are likely not what their author means.

use super::home::{ACME, Home};

const GITHUB: &str =
    "[sources.github]\npreset = \"github\"\nsecrets = [{ env = \"ACME_SECRET\" }]\n";

/// The doubts about a table of these patterns.
#[track_caller]
fn doubts(sources: &str, patterns: &[&str]) -> Vec<String> {
    let lines: String =
        patterns.iter().map(|pattern| format!("\"{pattern}\" = \"audit\"\n")).collect();
    let config = Home::new().good(&format!("{sources}\n[routes]\n{lines}"));
    config.routes.doubts(&config.sources)
}

/// Asserts that the only pattern is doubtful, for a reason that says all of this.
#[track_caller]
fn doubtful(sources: &str, pattern: &str, says: &[&str]) {
    let found = doubts(sources, &[pattern]);
    assert_eq!(found.len(), 1, "{pattern}: {found:?}");
    for part in says {
        assert!(found[0].contains(part), "`{part}` is not said: {}", found[0]);
    }
}

#[test]
fn a_line_for_a_source_that_is_gone_is_doubted() {
    for pattern in ["shop:order.**", "shop:order.paid", "shop:*"] {
        let found = doubts(ACME, &[pattern]);
        assert!(
            found.len() == 1 && found[0].contains("there is no source `shop`"),
            "{pattern}: {found:?}"
        );
    }
    assert_eq!(doubts(ACME, &["repo:push", "orders/eu:order.paid"]), Vec::<String>::new());
}

#[test]
fn a_colon_after_no_source_belongs_to_the_type() {
    let config = Home::new().good(&format!(
        "{ACME}[routes]\n\"repo:push\" = \"audit\"\n\"acme:Push Hook\" = \"audit\"\n\"plugins/audit:a/b\" = \"audit\"\n"
    ));
    let sources: Vec<_> = config.routes.iter().map(|route| route.source.as_deref()).collect();
    assert_eq!(sources, [None, Some("acme"), Some("plugins/audit")]);
    assert_eq!(config.routes.targets("acme", "repo:push").len(), 1);
    assert_eq!(config.routes.targets("acme", "Push Hook").len(), 1);
    assert_eq!(config.routes.targets("plugins/audit", "a/b").len(), 1);
    assert_eq!(config.routes.doubts(&config.sources), Vec::<String>::new());
}

#[test]
fn a_colon_after_what_looks_like_a_source_is_doubted() {
    doubtful(
        ACME,
        "acem:order.**",
        &["\"acem:order.**\"", "begin with `acem:`", "Did you mean `acme`?"],
    );
    doubtful(ACME, "acme-live:order.**", &["there is no source `acme-live`"]);
    assert_eq!(doubts(&ACME.replace("acme]", "my-repo]"), &["repo:push"]), Vec::<String>::new());
    doubtful(ACME, "stripe:invoice.paid", &["there is no source `stripe`", "[sources.stripe]"]);
}

#[test]
fn a_pattern_that_no_type_of_its_source_can_match_is_doubted() {
    let join = "`type = \"{header:X-GitHub-Event}.{json:/action}\"`";
    for pattern in [
        "github:pull_request.opened",
        "github:pull_request.*",
        "github:*.*.*",
        "github:Push",
        "github:a/**/b",
    ] {
        doubtful(GITHUB, pattern, &[pattern, "can match nothing", "single words", join]);
    }
    doubtful(GITHUB, "pull_request.opened", &["no event but those of plugins", join]);
    let fixed = ACME.replace("json = \"/type\"", "fixed = \"acme.event\"");
    doubtful(
        &fixed,
        "acme:acme.evnt",
        &["can match nothing: every event of `acme` has the type `acme.event`"],
    );
    doubtful(&fixed, "acme.evnt", &["no event but those of plugins"]);
}

#[test]
fn nothing_is_doubted_that_may_match() {
    let patterns = [
        "push",
        "pull_request",
        "*",
        "**",
        "**.**",
        "push.**",
        "github:*",
        "github:*.*",
        "github:hookbox.unidentified",
        "hookbox.unidentified",
        "github:a_new_event",
        "plugins/audit:pull_request.opened",
        "deploy.requested",
        "joins/a:pull_request.opened",
    ];
    assert_eq!(doubts(GITHUB, &patterns), Vec::<String>::new());
    // Another source may send it, and so may this one once its type is another.
    let both = format!("{GITHUB}{ACME}");
    assert_eq!(
        doubts(&both, &["pull_request.opened", "acme:pull_request.opened"]),
        Vec::<String>::new()
    );
    let joined = format!("{GITHUB}type = \"{{header:X-GitHub-Event}}.{{json:/action}}\"\n");
    assert_eq!(
        doubts(&joined, &["pull_request.opened", "github:pull_request.*"]),
        Vec::<String>::new()
    );
    let fixed = ACME.replace("json = \"/type\"", "fixed = \"acme.event\"");
    assert_eq!(doubts(&fixed, &["acme:acme.*", "acme.event", "order.paid"]), Vec::<String>::new());
    assert_eq!(doubts("", &["pull_request.opened"]), Vec::<String>::new());
}
