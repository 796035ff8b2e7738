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
    let join = "[joins.a]\non = \"a\"\nneed = 1\nkey = \"subject\"\nwithin = \"1h\"\nemit = \"pull_request.opened\"\n";
    assert_eq!(doubts(&format!("{join}{GITHUB}"), &patterns), Vec::<String>::new());
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

const HEYGEN: &str = "[sources.heygen]\npreset = \"heygen\"\n";

#[test]
fn a_misspelt_type_of_a_preset_is_doubted_with_the_one_that_is_likely_meant() {
    let said = "matches none of the types of `heygen` that are known here; did you mean \
                `avatar_video.success`?";
    for pattern in [
        "heygen:avatar_vido.success",
        "avatar_vido.success",
        "avatar_video.sucess",
        "avatar_video.Success",
        "avatarvideo.success",
        "avatar-video.success",
        "avater_vidoe.succes",
    ] {
        doubtful(HEYGEN, pattern, &[&format!("the route \"{pattern}\" {said}")]);
    }
    doubtful(GITHUB, "github:pul_request", &["did you mean `pull_request`?"]);
    let join = "[joins.a]\non = \"avatar_vido.success\"\nneed = 1\nkey = \"subject\"\nwithin = \"1h\"\n\
                emit = \"a.b\"\n[batches.b]\non = [\"x\", \"heygen:avatar_vido.success\"]\nsize = 2\n\
                key = \"subject\"\nwithin = \"1h\"\nemit = \"c.d\"\n";
    let found = doubts(&format!("{join}{HEYGEN}"), &["avatar_video.*"]);
    assert_eq!(found.len(), 2, "{found:?}");
    for place in [
        "the \"avatar_vido.success\" of `joins/a`",
        "the \"heygen:avatar_vido.success\" of `batches/b`",
    ] {
        assert!(found.contains(&format!("{place} {said}")), "{found:?}");
    }
    let found = cancel_doubts(HEYGEN, "[\"heygen:avatar_vido.success\"]");
    assert!(
        found.len() == 1 && found[0].starts_with("the `cancel_on` ") && found[0].ends_with(said)
    );
}

#[test]
fn a_type_that_no_preset_knows_is_not_doubted_for_its_neighbours() {
    let neighbours = [
        "avatar_video.success",
        "avatar_video.paused",
        "avatar_video.failed_again",
        "avatar_video.*",
        "order.paid",
        "plugins/audit:avatar_vido.success",
        "heygen:hookbox.unidentified",
    ];
    assert_eq!(doubts(HEYGEN, &neighbours), Vec::<String>::new());
    let stripe = "[sources.stripe]\npreset = \"stripe\"\n";
    let types = ["customer.updated", "invoice.void", "v2.core.event", "charge.created"];
    assert_eq!(doubts(stripe, &types), Vec::<String>::new());
    // A join's event is its own, and `type` of the section takes the place of the preset's.
    let join = "[joins.a]\non = \"a\"\nneed = 1\nkey = \"subject\"\nwithin = \"1h\"\n\
                emit = \"avatar_vido.success\"\n";
    assert_eq!(doubts(&format!("{join}{HEYGEN}"), &["avatar_vido.success"]), Vec::<String>::new());
    let other = format!("{HEYGEN}type = {{ json = \"/other\" }}\n");
    assert_eq!(doubts(&other, &["heygen:avatar_vido.success"]), Vec::<String>::new());
}

/// The doubts about a route whose delivery these patterns cancel.
#[track_caller]
fn cancel_doubts(sources: &str, patterns: &str) -> Vec<String> {
    let line = format!("x = {{ plugin = \"audit\", delay = \"1h\", cancel_on = {patterns} }}");
    let config = Home::new().good(&format!("{sources}\n[routes]\n{line}\n"));
    config.routes.doubts(&config.sources)
}

#[test]
fn a_pattern_that_cancels_and_that_nothing_can_match_is_doubted() {
    let found = cancel_doubts(GITHUB, "[\"push\", \"github:issues.closed\"]");
    assert_eq!(found.len(), 1, "{found:?}");
    let place = "the `cancel_on` \"github:issues.closed\" of the route \"x\" can match nothing: ";
    assert!(found[0].starts_with(place) && found[0].contains("single words"), "{found:?}");
    let fixed = ACME.replace("json = \"/type\"", "fixed = \"x\"");
    for (pattern, says) in [
        ("acme:order.done", "can match nothing: every event of `acme` has the type `x`"),
        ("shop:order.*", "there is no source `shop`"),
    ] {
        let found = cancel_doubts(&fixed, &format!("\"{pattern}\""));
        assert!(found.len() == 1 && found[0].contains(says), "{pattern}: {found:?}");
        assert!(found[0].starts_with(&format!("the `cancel_on` \"{pattern}\"")), "{found:?}");
    }
    let found = cancel_doubts(GITHUB, "\"issues.closed\"");
    assert!(found.len() == 1 && found[0].contains("no event but those of plugins"), "{found:?}");
    let may_match = "[\"push\", \"order.done\", \"**\", \"plugins/audit:a.b\", \"hookbox.dead\"]";
    assert_eq!(cancel_doubts(GITHUB, may_match), Vec::<String>::new());
    assert_eq!(cancel_doubts(ACME, "\"issues.closed\""), Vec::<String>::new());
}

/// A file with this line under `[routes]`.
fn routes(line: &str) -> String {
    format!("{ACME}\n[routes]\n{line}\n")
}

#[test]
fn an_item_says_on_which_terms_a_plugin_gets_events() {
    let config = Home::new().good(&routes(
        r#"
"order.paid" = ["audit", { plugin = "video-orders", delay = "24h", cancel_on = ["order.done", "acme:order.void"], when = "data.total > 100 && subject != null" }]
order = { plugin = "audit", cancel_on = "**" }
"a.*" = { plugin = "audit" }
"#,
    ));
    let shown: Vec<_> = config
        .routes
        .iter()
        .map(|route| route.items.iter().map(|item| (item.plugin().to_string(), item.terms())))
        .map(Iterator::collect::<Vec<_>>)
        .collect();
    let audit = |terms: Option<&str>| ("audit".to_owned(), terms.map(str::to_owned));
    let terms = "when data.total > 100 && subject != null; after 1d; cancelled by order.done, acme:order.void";
    let reminder = ("video-orders".to_owned(), Some(terms.to_owned()));
    assert_eq!(
        shown,
        [vec![audit(None), reminder], vec![audit(Some("cancelled by **"))], vec![audit(None)]]
    );
    let options = |pattern: &str| {
        let route =
            config.routes.iter().find(|route| route.pattern == pattern).expect("it is there");
        let last = route.items.last().expect("it has an item");
        last.target.options.clone()
    };
    let paid = options("order.paid");
    assert_eq!(paid.delay_ms, 86_400_000);
    assert!(paid.cancel_tag.is_some() && paid.cancel_tag != options("order").cancel_tag);
    assert_eq!(options("a.*").cancel_tag, None);
}

#[test]
fn an_item_that_cannot_be_meant_is_refused() {
    let home = Home::new();
    for (item, says) in [
        ("{ delay = \"1h\" }", &["an item without a plugin", "plugin = \"audit\""][..]),
        ("{ plugin = \"audti\" }", &["unknown plugin `audti`", "did you mean `audit`?"]),
        ("{ plugin = [\"audit\"] }", &["`routes.\"a.b\".plugin` is a list", "a string"]),
        ("{ plugin = \"audit\", dely = \"1h\" }", &["not a key", "did you mean `delay`?"]),
        ("{ plugin = \"audit\", delay = 5 }", &["must be a duration", "from 0ms to 366d"]),
        ("{ plugin = \"audit\", delay = \"367d\" }", &["out of bounds", "from 0ms to 366d"]),
        ("{ plugin = \"audit\", when = true }", &["must be a string", "data.total > 100"]),
        (
            "{ plugin = \"audit\", when = \"data.total >\" }",
            &["`routes.\"a.b\".when` is no CEL expression", "such as"],
        ),
        (
            "{ plugin = \"audit\", when = \"data.a.exists(x, x.exists(y, y))\" }",
            &["loop within the body of another", "one after the other"],
        ),
        ("{ plugin = \"audit\", when = \"dat.a == 1\" }", &["names `dat`", "did you mean `data`?"]),
        ("{ plugin = \"audit\", cancel_on = [] }", &["names no event"]),
        ("{ plugin = \"audit\", cancel_on = 1 }", &["must be a string"]),
        ("{ plugin = \"audit\", cancel_on = \"a..b\" }", &["\"a..b\"", "an empty segment"]),
        ("{ plugin = \"audit\", cancel_on = \"plugins/audti:x\" }", &["unknown source"]),
        ("[\"audit\", { plugin = \"audit\", delay = \"1h\" }]", &["`audit` twice"]),
        ("[\"audit\", 7]", &["a whole number", "{ plugin ="]),
    ] {
        home.refuses(&routes(&format!("\"a.b\" = {item}")), says);
    }
    let problems =
        home.bad(&routes("\"a.b\" = [\"audit\",\n  { plugin = \"video-orders\", delay = \"x\" }]"));
    let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [ACME.lines().count() + 4], "{problems}");
}

#[test]
fn two_items_for_one_plugin_that_differ_are_doubted_where_an_event_may_match_both() {
    let doubts = |lines: &str| {
        let config = Home::new().good(&routes(lines));
        config.routes.doubts(&config.sources)
    };
    let delayed = "{ plugin = \"audit\", delay = \"1h\" }";
    let found = doubts(&format!("\"order.*\" = {delayed}\n\"*.paid\" = \"audit\""));
    assert_eq!(found.len(), 1, "{found:?}");
    for part in ["\"order.*\"", "\"*.paid\"", "`audit`", "the terms of the first"] {
        assert!(found[0].contains(part), "{found:?}");
    }
    let when = "{ plugin = \"audit\", when = \"hops == 0\" }";
    let found = doubts(&format!("\"order.*\" = {when}\n\"**\" = \"audit\""));
    assert!(found.len() == 1 && found[0].contains("unless its `when` is false"), "{found:?}");
    for lines in [
        format!("\"order.*\" = {delayed}\n\"video.*\" = \"audit\""),
        format!("\"order.*\" = {delayed}\n\"*.paid\" = {delayed}"),
        format!("\"order.*\" = {delayed}\n\"*.paid\" = \"video-orders\""),
        format!("\"acme:**\" = {delayed}\n\"plugins/audit:**\" = \"audit\""),
    ] {
        assert_eq!(doubts(&lines), Vec::<String>::new(), "{lines}");
    }
}
