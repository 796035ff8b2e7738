//! Names of types: one name stands for one thing.

use std::collections::BTreeMap;

use super::Source;
use super::lexer::Token;

/// The types that a file shows to others outside its tests: name and line.
fn types(source: &Source) -> Vec<(String, usize)> {
    let (tokens, mut depth, mut found) = (source.program(), 0, Vec::new());
    for (at, pair) in tokens.windows(2).enumerate() {
        match pair[0].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" if is_shown(&tokens[..at]) => {
                found.push((pair[1].text.clone(), pair[1].line));
            }
            // Deeper ones belong to a trait.
            "type" if depth == 0 && is_shown(&tokens[..at]) => {
                found.push((pair[1].text.clone(), pair[1].line));
            }
            _ => {}
        }
    }
    found
}

/// Whether what follows these tokens is `pub`, to whomever.
fn is_shown(before: &[Token]) -> bool {
    let words = before.iter().rev().map(|token| token.text.as_str());
    let mut words = words.skip_while(|word| matches!(*word, ")" | "crate" | "super" | "in" | "("));
    words.next() == Some("pub")
}

/// Every name that more than one type has, and a sentence with their places.
pub(super) fn shared(sources: &[Source]) -> BTreeMap<String, String> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for (name, line) in types(source) {
            places.entry(name).or_default().push(format!("{}:{line}", source.name));
        }
    }
    places.retain(|_, places| places.len() > 1);
    let text =
        |name: &str, places: Vec<String>| format!("`{name}` is at {}", places.join(" and at "));
    places.into_iter().map(|(name, places)| (name.clone(), text(&name, places))).collect()
}

#[test]
fn a_name_of_two_types_is_found() {
    let names = |texts: &[&str]| {
        let name = |at| format!("host/src/a{at}.rs");
        let sources: Vec<Source> =
            texts.iter().enumerate().map(|(at, text)| Source::new(&name(at), text)).collect();
        shared(&sources).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(
        names(&["pub struct A; pub enum B { A }", "pub trait C {}", "pub type D = E;"]),
        [""; 0]
    );
    assert_eq!(
        names(&["pub struct A; pub struct B;", "pub(crate) enum A {}", "pub type B = C;"]),
        ["A", "B"]
    );
    assert_eq!(names(&["fn f() { pub struct A; }", "pub(super) trait A {}"]), ["A"]);
    assert_eq!(
        names(&["pub struct A;", "struct A; fn f(B: C) { struct A; }"]),
        [""; 0],
        "a file's own"
    );
    assert_eq!(names(&["pub trait B { type A; }", "impl B for E { type A = D; }"]), [""; 0]);
    let tests =
        ["pub struct A; #[cfg(test)] mod tests { pub struct A; }", "#[cfg(test)] pub struct A;"];
    assert_eq!(names(&tests), [""; 0]);
}
