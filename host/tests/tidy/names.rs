//! Names of types: one name stands for one thing.

use std::collections::BTreeMap;

use super::Source;

/// The types that a file defines outside its tests: name and line.
fn types(source: &Source) -> Vec<(String, usize)> {
    let (tokens, mut depth, mut found) = (source.program(), 0, Vec::new());
    for pair in tokens.windows(2) {
        match pair[0].text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" => found.push((pair[1].text.clone(), pair[1].line)),
            // Deeper ones belong to a trait.
            "type" if depth == 0 => found.push((pair[1].text.clone(), pair[1].line)),
            _ => {}
        }
    }
    found
}

/// Every name that more than one type has, and a sentence with their places.
pub(super) fn shared(sources: &[Source]) -> Vec<(String, String)> {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for source in sources.iter().filter(|source| !source.is_test()) {
        for (name, line) in types(source) {
            places.entry(name).or_default().push(format!("{}:{line}", source.name));
        }
    }
    places.retain(|_, places| places.len() > 1);
    let text = |name: &str, places: Vec<String>| format!("`{name}` is at {}", places.join(" and at "));
    places.into_iter().map(|(name, places)| (name.clone(), text(&name, places))).collect()
}

#[test]
fn a_name_of_two_types_is_found() {
    let names = |texts: &[&str]| {
        let name = |at| format!("host/src/a{at}.rs");
        let sources: Vec<Source> = texts.iter().enumerate().map(|(at, text)| Source::new(&name(at), text)).collect();
        shared(&sources).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(&["struct A; enum B { A }", "pub trait C {}", "type D = E;"]), [""; 0]);
    assert_eq!(names(&["struct A; struct B;", "pub(crate) enum A {}", "type B = C;"]), ["A", "B"]);
    assert_eq!(names(&["fn f() { struct A; }", "trait A {}"]), ["A"]);
    assert_eq!(names(&["impl B for C { type A = D; }", "impl B for E { type A = D; }"]), [""; 0]);
    assert_eq!(names(&["struct A; #[cfg(test)] mod tests { struct A; }", "#[cfg(test)] struct A;"]), [""; 0]);
}
