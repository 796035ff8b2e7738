//! `[joins.NAME]` and `[batches.NAME]`: what is understood, and what is refused.

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
    ] {
        let section = JOIN.replace(&format!("{line}\n"), "");
        Home::new().refuses(&format!("{ACME}[joins.a]\n{section}"), &says);
    }
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
