//! Names of types: one name stands for one thing.

use std::collections::BTreeMap;

use super::Source;

/// Names that may stand for two types, each with its reason: at most [`MAX_EXCEPTIONS`].
const EXCEPTIONS: &[(&str, &str)] = &[];

const MAX_EXCEPTIONS: usize = 5;

/// The types of a file outside its tests, private ones too: name and line.
fn types(source: &Source) -> Vec<(String, usize)> {
    let (tokens, mut depth, mut found) = (source.program(), 0, Vec::new());
    for pair in tokens.windows(2) {
        let is_type = match pair[0].text.as_str() {
            "{" => {
                depth += 1;
                false
            }
            "}" => {
                depth -= 1;
                false
            }
            "struct" | "enum" | "trait" => true,
            // Deeper ones belong to a trait, or to one function.
            "type" => depth == 0,
            _ => false,
        };
        // A macro has `$name` there, and an argument `r#type` has a colon.
        if is_type && pair[1].text.starts_with(char::is_alphabetic) {
            found.push((pair[1].text.clone(), pair[1].line));
        }
    }
    found
}

/// Every name that more than one type has, and a sentence with their places.
fn shared(sources: &[Source]) -> BTreeMap<String, String> {
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

/// Every name that two types share, without the exceptions; and every exception that no two share.
pub(super) fn violations(sources: &[Source]) -> Vec<String> {
    let mut shared = shared(sources);
    let unused = EXCEPTIONS.iter().filter(|(name, _)| shared.remove(*name).is_none());
    let mut found: Vec<String> =
        unused.map(|(name, _)| format!("`{name}` is an exception that nothing needs")).collect();
    if EXCEPTIONS.len() > MAX_EXCEPTIONS {
        found.push(format!("{} names are exceptions, not {MAX_EXCEPTIONS}", EXCEPTIONS.len()));
    }
    found.extend(shared.into_values());
    found
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
    assert_eq!(names(&["pub(in crate::b) struct A;", "pub(in crate::c) struct A;"]), ["A"]);
    assert_eq!(names(&["pub struct A;", "struct A; type B = C;", "type B = D;"]), ["A", "B"]);
    assert_eq!(names(&["struct A;", "fn f(b: B) { struct A; }"]), ["A"], "a function's own");
    assert_eq!(names(&["fn f() { type A = B; }", "fn g(r#type: A) { type A = C; }"]), [""; 0]);
    assert_eq!(names(&["pub trait B { type A; }", "impl B for E { type A = D; }"]), [""; 0]);
    let tests = ["struct A; #[cfg(test)] mod tests { struct A; }", "#[cfg(test)] pub struct A;"];
    assert_eq!(names(&tests), [""; 0]);
}
