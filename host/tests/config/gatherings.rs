//! `[joins.NAME]` and `[batches.NAME]`: what is understood, and what is refused.

use bytes::Bytes;
use hookbox::config::Config;
use hookbox::config::routes::{Facts, Routing};
use hookbox::event::{Attributes, Counted};

use super::home::{ACME, Home};

const JOIN: &str =
    "on = \"order.*\"\nkey = \"subject\"\nneed = 3\nwithin = \"48h\"\nemit = \"order.complete\"\n";

/// The summary of the only gathering.
fn understood(section: &str) -> String {
    let config = Home::new().good(&format!("{ACME}{section}"));
    let found: Vec<_> = config.routes.gatherings.iter().collect();
    assert_eq!(found.len(), 1);
    found[0].summary()
}

#[test]
fn a_section_is_understood_as_it_is_written() {
    for (section, summary) in [
        (format!("[joins.a]\n{JOIN}"), "order.* by subject; ends with 3 events, or after 2d"),
        (
            format!(
                "[joins.a]\n{}member = {{ json = \"/video\" }}\n",
                JOIN.replace("need = 3", "need = { json = \"/videos\" }")
            ),
            "order.* by subject; ends with as many different /video as /videos says, or after 2d",
        ),
        (
            format!("[joins.a]\n{}", JOIN.replace("need = 3", "types = [\"a.b\", \"c.d\"]")),
            "order.* by subject; ends with each of a.b, c.d, or after 2d",
        ),
        (
            format!("[joins.a]\n{}", JOIN.replace("need = 3", "close = [\"a.b\", \"c.d\"]")),
            "order.* by subject; ends with one of a.b, c.d, or after 2d",
        ),
        (
            "[batches.a]\non = [\"x\", \"y\"]\nkey = { json = \"/account\" }\nsize = 100\nquiet = \"5s\"\n\
             within = \"1m\"\nemit = \"z\"\n"
                .to_owned(),
            "x, y by /account; ends with 100 events, or after 5s without one, or after 1m",
        ),
    ] {
        assert_eq!(understood(&section), summary, "{section}");
    }
}

#[test]
fn what_a_section_lacks_is_said_with_what_to_write() {
    for (line, says) in [
        ("key = \"subject\"", ["`joins.a` has no `key`", "key = \"subject\""]),
        ("within = \"48h\"", ["`joins.a` has no `within`", "within = \"48h\""]),
        ("emit = \"order.complete\"", ["`joins.a` has no `emit`", "emit = \"order.complete\""]),
        ("need = 3", ["says nothing of when it is complete", "add `need`"]),
        ("on = \"order.*\"", ["`joins.a` has no `on`", "on = \"order.*\""]),
    ] {
        let section = JOIN.replace(&format!("{line}\n"), "");
        Home::new().refuses(&format!("{ACME}[joins.a]\n{section}"), &says);
    }
    // A join of no events would end before it begins.
    let none = JOIN.replace("need = 3", "need = 0");
    Home::new().refuses(&format!("{ACME}[joins.a]\n{none}"), &["`joins.a.need`", "out of bounds"]);
    let batch = "key = \"subject\"\nwithin = \"1m\"\nemit = \"z\"\n";
    for on in ["", "on = []\n"] {
        let text = format!("{ACME}[batches.a]\n{on}{batch}");
        Home::new().refuses(&text, &["`batches.a` has no `on`", "patterns of events"]);
        let text = format!("{ACME}[joins.a]\n{on}need = 2\n{batch}");
        Home::new().refuses(&text, &["`joins.a` has no `on`"]);
    }
    Home::new().refuses(
        &format!("{ACME}[joins.Order]\n{JOIN}"),
        &["is no name", "small letters, digits, `_` and `-`"],
    );
}

#[test]
fn types_and_close_are_patterns_and_need_no_on() {
    let section = |ways: &str| {
        format!(
            "[joins.a]\nkey = \"subject\"\nwithin = \"48h\"\nemit = \"order.complete\"\n{ways}\n"
        )
    };
    assert_eq!(
        understood(&section("types = [\"a.*\", \"c.d\"]")),
        "a.*, c.d by subject; ends with each of a.*, c.d, or after 2d"
    );
    let text =
        format!("{ACME}{}", section("close = [\"acme:approval.*\", \"plugins/audit:stop\"]"));
    let config = Home::new().good(&text);
    let closes = |source: &str, kind: &str| {
        routing(&config, source, kind, "{}").members.first().map(|member| member.closes)
    };
    assert_eq!(closes("acme", "approval.granted"), Some(true));
    assert_eq!(closes("links", "approval.granted"), None, "only its source may grant it");
    assert_eq!(closes("plugins/audit", "stop"), Some(true));
    assert_eq!(closes("acme", "approval.granted.twice"), None);
    let config = Home::new().good(&format!(
        "{ACME}{}",
        section("on = \"order.**\"\ntypes = [\"order.paid.*\", \"order.packed\", \"acme:**\"]")
    ));
    let seen = |source: &str, kind: &str| routing(&config, source, kind, "{}").members[0].seen;
    assert_eq!(config.routes.gatherings.iter().next().unwrap().terms.types, 0b111);
    assert_eq!(seen("shop", "order.paid.card"), 0b001);
    assert_eq!(seen("shop", "order.packed"), 0b010);
    assert_eq!(seen("acme", "order.packed"), 0b110);
    assert_eq!(seen("shop", "order.created"), 0);
    Home::new().refuses(
        &format!("{ACME}{}", section("close = \"approval.gr*\"")),
        &["has a star within a segment", "[routes]"],
    );
}

/// Where an event with a subject goes.
fn routing(config: &Config, source: &str, kind: &str, body: &'static str) -> Routing {
    let attributes = Attributes {
        source: source.into(),
        kind: kind.to_owned(),
        subject: Some("o".to_owned()),
        content_type: None,
        time_ms: 0,
        body: Bytes::from_static(body.as_bytes()),
    };
    config.routes.routing(&Facts::new(&attributes, &[], 0))
}

#[test]
fn a_need_that_is_no_whole_number_is_noted() {
    let text = JOIN.replace("need = 3", "need = { json = \"/videos\" }");
    let config = Home::new().good(&format!("{ACME}[joins.a]\n{text}"));
    for (body, need, noted) in [
        (r#"{"videos":3}"#, Some(3), false),
        (r#"{"videos":5000000000}"#, Some(u32::MAX), false),
        (r#"{"video":3}"#, None, false),
        (r#"{"videos":null}"#, None, false),
        (r#"{"videos":"3"}"#, None, true),
        (r#"{"videos":3.5}"#, None, true),
        (r#"{"videos":-1}"#, None, true),
        (r#"{"videos":[3]}"#, None, true),
    ] {
        let routing = routing(&config, "acme", "order.created", body);
        assert_eq!((routing.members.len(), routing.members[0].need), (1, need), "{body}");
        assert_eq!(routing.notes.len(), usize::from(noted), "{body}: {:?}", routing.notes);
        for note in routing.notes {
            assert!(note.contains("`joins/a`") && note.contains("`/videos`"), "{note}");
        }
    }
}

#[test]
fn a_member_that_is_long_is_not_counted_and_noted() {
    let config =
        Home::new().good(&format!("{ACME}[joins.a]\n{JOIN}member = {{ json = \"/id\" }}\n"));
    for (length, counted) in [(512, true), (513, false)] {
        let body: &'static str = format!(r#"{{"id":"{}"}}"#, "x".repeat(length)).leak();
        let routing = routing(&config, "acme", "order.created", body);
        assert_eq!(routing.members[0].counted != Counted::Not, counted, "{length}");
        assert_eq!(routing.notes.len(), usize::from(!counted), "{:?}", routing.notes);
        for note in routing.notes {
            assert!(note.contains("`/id`") && note.contains("512"), "{note}");
        }
    }
}

#[test]
fn an_event_that_no_route_takes_is_warned_of() {
    let warnings = |text: &str| -> Vec<String> {
        let config = Home::new().good(&format!("{ACME}{text}"));
        config.warnings.into_iter().map(|warning| warning.text).collect()
    };
    let found = warnings(&format!("[joins.a]\n{JOIN}"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("`joins.a` emits `order.complete`, which no route takes"),
        "{found:?}"
    );
    assert!(found[0].contains("\"joins/a:order.complete\" = \"PLUGIN\""), "{found:?}");
    assert!(found[1].contains("emits `hookbox.late` when its time is over"), "{found:?}");
    // A star does not take a type of the host.
    let found = warnings(&format!("[joins.a]\n{JOIN}[routes]\n\"**\" = \"audit\"\n"));
    assert!(found.len() == 1 && found[0].contains("`hookbox.late`"), "{found:?}");
    let routes = "[routes]\n\"joins/a:*.*\" = \"audit\"\n\"hookbox.late\" = \"audit\"\n";
    assert_eq!(warnings(&format!("[joins.a]\n{JOIN}{routes}")), Vec::<String>::new());
    let batch = "[batches.b]\non = [\"order.complete\", \"hookbox.late\"]\nkey = \"source\"\n\
                 within = \"1m\"\nemit = \"z\"\n";
    let cancels = "[routes]\nx = { plugin = \"audit\", cancel_on = \"z\" }\n";
    assert_eq!(warnings(&format!("[joins.a]\n{JOIN}{batch}{cancels}")), Vec::<String>::new());
}

#[test]
fn a_source_of_the_host_that_no_section_has_is_refused() {
    let sections = format!("{ACME}[joins.order-videos]\n{JOIN}");
    for (rest, says) in [
        (
            "[routes]\n\"joins/order-vidoes:order.complete\" = \"audit\"\n",
            vec![
                "the unknown source `joins/order-vidoes`",
                "did you mean `order-videos`?",
                "[joins.order-vidoes]",
            ],
        ),
        (
            "[routes]\n\"batches/order-videos:x\" = \"audit\"\n",
            vec!["the unknown source `batches/order-videos`", "[batches.order-videos]"],
        ),
        (
            "[routes]\n\"schedules/daily:x\" = \"audit\"\n",
            vec!["the unknown source `schedules/daily`", "[schedules.daily]"],
        ),
        (
            "[routes]\nx = { plugin = \"audit\", cancel_on = \"joins/b:y\" }\n",
            vec!["the unknown source `joins/b`"],
        ),
        (
            "[joins.b]\non = \"joins/c:y\"\nkey = \"subject\"\nneed = 1\nwithin = \"1h\"\nemit = \"z\"\n",
            vec!["the unknown source `joins/c`"],
        ),
    ] {
        Home::new().refuses(&format!("{sections}{rest}"), &says);
    }
    let routes =
        "[routes]\n\"joins/order-videos:order.complete\" = \"audit\"\n\"api/ci:x\" = \"audit\"\n";
    Home::new().good(&format!("{sections}{routes}"));
}

#[test]
fn a_cycle_of_batches_is_shown_and_a_join_ends_one() {
    let batch = |name: &str, on: &str, emit: &str| {
        format!(
            "[batches.{name}]\non = \"{on}\"\nkey = \"source\"\nwithin = \"1m\"\nemit = \"{emit}\"\n"
        )
    };
    let cycles = |text: &str| -> Vec<String> {
        let config = Home::new().good(&format!("{ACME}{text}"));
        config.routes.cycles().iter().map(ToString::to_string).collect()
    };
    let two = format!("{}{}", batch("a", "y.*", "x"), batch("b", "batches/a:x", "y.z"));
    assert_eq!(cycles(&two), ["batches/a → (\"batches/a:x\") batches/b → (\"y.*\") batches/a"]);
    assert_eq!(cycles(&batch("a", "x", "x")), Vec::<String>::new(), "none takes what it emits");
    let other = format!("{}{}", batch("a", "y", "x"), batch("b", "acme:x", "y"));
    assert_eq!(cycles(&other), Vec::<String>::new());
    let plugin =
        format!("{}[routes]\n\"batches/a:x\" = \"audit\"\n", batch("a", "plugins/audit:y", "x"));
    assert_eq!(
        cycles(&plugin),
        ["audit → (\"plugins/audit:y\") batches/a → (\"batches/a:x\") audit"]
    );
    let joined = format!(
        "{}[joins.b]\non = \"x\"\nkey = \"subject\"\nneed = 1\nwithin = \"1h\"\nemit = \"y\"\n",
        batch("a", "y", "x")
    );
    assert_eq!(cycles(&joined), Vec::<String>::new());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let join = |from: &str, to: &str| format!("{ACME}[joins.a]\n{}", JOIN.replace(from, to));
    for (text, says) in [
        (
            join("need = 3", "need = 3\ntypes = [\"a.b\"]"),
            vec!["says in several ways when it is complete", "keep one of"],
        ),
        (join("need = 3", "need = 10001"), vec!["need", "10000"]),
        (join("\"subject\"", "\"subjekt\""), vec!["key", "subject"]),
        (join("\"subject\"", "{ json = \"video\" }"), vec!["key", "/"]),
        (join("\"48h\"", "\"2y\""), vec!["within"]),
        (join("\"48h\"", "\"400d\""), vec!["within", "365"]),
        (join("\"order.complete\"", "\"hookbox.complete\""), vec!["emit", "the host's own"]),
        (join("\"order.*\"", "\"order..paid\""), vec!["on", "[routes]"]),
        (join("need = 3", "ned = 3\nneed = 3"), vec!["ned", "need"]),
        (
            format!(
                "{ACME}[batches.a]\non = \"x\"\nkey = \"subject\"\nwithin = \"1m\"\nemit = \"z\"\nkeep = \"lst\"\n"
            ),
            vec!["keep", "last"],
        ),
        (
            format!(
                "{ACME}[batches.a]\non = \"x\"\nkey = \"subject\"\nwithin = \"1m\"\nemit = \"z\"\nneed = 3\n"
            ),
            vec!["need"],
        ),
    ] {
        Home::new().refuses(&text, &says);
    }
}

#[test]
fn a_refusal_names_its_line() {
    let text = format!("{ACME}[joins.a]\n{}", JOIN.replace("\"48h\"", "\"soon\""));
    let line = text.lines().position(|line| line.starts_with("within")).unwrap() + 1;
    let rendered = Home::new().bad(&text).render(false);
    assert!(rendered.contains(&format!(":{line}:")), "{rendered}");
    assert!(rendered.contains("within = \"soon\""), "{rendered}");
}

#[test]
fn the_examples_of_the_documentation_are_taken() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/workflows.md");
    let text = std::fs::read_to_string(page).unwrap();
    let mut examples = 0;
    for heading in ["## Joins and batches", "## Dead letters are events"] {
        let (_, section) = text.split_once(heading).expect("the section is there");
        let section = section.split("\n## ").next().unwrap();
        for example in section.split("```toml\n").skip(1) {
            let example = example.split("```").next().unwrap();
            let home = Home::new();
            for plugin in ["deliver", "apologise", "ship", "refund"] {
                let file = home.folder.path().join(format!("plugins/{plugin}.wat"));
                std::fs::write(file, "").unwrap();
            }
            home.good(&format!("{ACME}{example}"));
            examples += 1;
        }
    }
    assert_eq!(examples, 4);
}
