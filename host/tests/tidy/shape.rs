//! The limits of a calm tree.

use super::{Source, lexer};

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;

/// As `max_width` in `.rustfmt.toml`, which leaves comments and macros alone.
const MAX_COLUMNS: usize = 100;

/// A file has at most 400 lines, and none of them is too wide.
pub(super) fn check_size(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.text.lines().count();
    if lines > MAX_FILE_LINES {
        found.push(source.violation(lines, format!("is longer than {MAX_FILE_LINES} lines")));
    }
    for (number, columns) in lexer::widths(&source.text).into_iter().enumerate() {
        if columns > MAX_COLUMNS {
            let text = format!("has {columns} columns, more than {MAX_COLUMNS}");
            found.push(source.violation(number + 1, text));
        }
    }
    found
}

/// The functions of more than 60 lines.
pub(super) fn long_functions(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        // A function type, `fn(…)`, has no name.
        let name = source.tokens.get(at + 1).map_or("(", |next| next.text.as_str());
        if token.text == "fn" && name != "(" {
            let length = end_of_body(source, at).saturating_sub(token.line) + 1;
            if length > MAX_FUNCTION_LINES {
                let text = format!("`{name}` has {length} lines, more than {MAX_FUNCTION_LINES}");
                found.push(source.violation(token.line, text));
            }
        }
    }
    found
}

/// The line of the brace that closes what begins at token `at`, or of its semicolon if it has no
/// body.
fn end_of_body(source: &Source, at: usize) -> usize {
    let (mut braces, mut brackets) = (0, 0);
    for token in &source.tokens[at..] {
        match token.text.as_str() {
            "(" | "[" => brackets += 1,
            ")" | "]" => brackets -= 1,
            "{" => braces += 1,
            "}" => braces -= 1,
            _ => {}
        }
        let ends = match token.text.as_str() {
            "}" => braces == 0 && brackets == 0,
            ";" => braces == 0 && brackets == 0,
            _ => false,
        };
        if ends {
            return token.line;
        }
    }
    source.text.lines().count()
}

/// A file begins with its purpose and is never called `mod.rs`.
pub(super) fn check_layout(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    if !source.text.starts_with("//! ") {
        found.push(source.violation(1, "does not begin with `//!` and its purpose"));
    }
    if source.name.ends_with("/mod.rs") {
        found.push(source.violation(1, "is called mod.rs: name it after its module"));
    }
    found
}

/// Nothing is left for later, no test is switched off, and no test waits for time to pass.
pub(super) fn check_leftovers(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        // Put together here, so that this file does not find itself.
        let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
        let words = line.split(|c: char| !c.is_ascii_alphanumeric());
        if let Some(mark) = words.into_iter().find(|word| marks.contains(word)) {
            found.push(source.violation(number + 1, format!("leaves something for later: {mark}")));
        }
    }
    let tests_begin = source
        .tokens
        .windows(7)
        .position(|part| spells(part, ["#", "[", "cfg", "(", "test", ")", "]"]));
    for (at, part) in source.tokens.windows(3).enumerate() {
        let within_tests = source.is_test() || tests_begin.is_some_and(|begin| begin < at);
        let why = match [0, 1, 2].map(|i| part[i].text.as_str()) {
            ["todo" | "unimplemented", "!", _] => "is not written yet",
            ["#", "[", "ignore"] => "switches a test off",
            ["print" | "println" | "eprint" | "eprintln", "!", "("]
                if is_program(source) && !within_tests =>
            {
                "panics when nobody reads: write what may fail"
            }
            ["thread" | "time", "::", "sleep"] if within_tests => {
                "sleeps in a test: wait for a state or a signal"
            }
            _ => continue,
        };
        found.push(source.violation(part[0].line, why));
    }
    found
}

/// Whether this is part of what is shipped.
fn is_program(source: &Source) -> bool {
    source.name.starts_with("host/src/")
}

/// Where the word stands that switches the compiler's checks off.
pub(super) fn unsafe_blocks(source: &Source) -> Vec<String> {
    let found = source.tokens.iter().filter(|token| token.text == "unsafe");
    found.map(|token| source.violation(token.line, "is unsafe")).collect()
}

fn spells<const N: usize>(tokens: &[lexer::Token], words: [&str; N]) -> bool {
    tokens.iter().map(|token| token.text.as_str()).eq(words)
}

/// No file names a folder that only exists where it was written.
pub(super) fn check_places(source: &Source) -> Vec<String> {
    let places = [
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
    ];
    let lines = source.text.lines().enumerate();
    let hit = |line: &str| places.iter().find(|place| line.contains(*place));
    lines
        .filter_map(|(i, line)| Some(source.violation(i + 1, format!("names {}", hit(line)?))))
        .collect()
}

fn source(text: &str) -> Source {
    Source::new("host/src/a/tests.rs", text)
}

#[test]
fn a_long_file_line_or_function_is_found() {
    assert!(check_size(&source(&"\n".repeat(MAX_FILE_LINES))).is_empty());
    assert_eq!(check_size(&source(&"\n".repeat(MAX_FILE_LINES + 1))).len(), 1);
    assert!(check_size(&source(&"→".repeat(MAX_COLUMNS))).is_empty());
    assert_eq!(check_size(&source(&"→".repeat(MAX_COLUMNS + 1))).len(), 1);
    let function = |lines: usize| {
        format!("fn a(b: [u8; 2], c: fn()) {{{}}}\nfn d();\nfn e() {{}}", "\n".repeat(lines - 1))
    };
    assert!(long_functions(&source(&function(MAX_FUNCTION_LINES))).is_empty());
    assert_eq!(long_functions(&source(&function(MAX_FUNCTION_LINES + 1))).len(), 1);
}

#[test]
fn a_file_without_its_purpose_is_found() {
    assert!(check_layout(&source("//! Purpose.")).is_empty());
    assert_eq!(check_layout(&source("use a;")).len(), 1);
    assert_eq!(check_layout(&Source::new("host/src/a/mod.rs", "//! Purpose.")).len(), 1);
}

#[test]
fn what_is_left_undone_is_found() {
    let undone = [
        concat!("// TO", "DO: later"),
        concat!("// FIX", "ME"),
        "fn a() { todo!() }",
        "fn a() { unimplemented!() }",
        "#[ignore] fn a() {}",
        "fn a() { std::thread::sleep(b) }",
        "fn a() { tokio::time::sleep(b).await }",
    ];
    for text in undone {
        assert_eq!(check_leftovers(&source(text)).len(), 1, "{text}");
    }
    let prints = "fn a() { eprintln!(\"b\") }";
    assert_eq!(check_leftovers(&Source::new("host/src/a.rs", prints)).len(), 1);
    assert!(check_leftovers(&Source::new("host/xtask/src/a.rs", prints)).is_empty());
    let code = "fn a() { tokio::time::sleep(b).await }\n#[cfg(test)] mod tests {}";
    assert!(check_leftovers(&Source::new("host/src/a.rs", code)).is_empty());
    let test = "#[cfg(test)] mod tests { fn a() { tokio::time::sleep(b) } }";
    assert_eq!(check_leftovers(&Source::new("host/src/a.rs", test)).len(), 1);
}

#[test]
fn what_is_unsafe_is_found() {
    assert_eq!(unsafe_blocks(&source("fn a() { unsafe { b() } }\nunsafe fn c() {}")).len(), 2);
    assert!(unsafe_blocks(&source("// unsafe\nconst A: &str = \"unsafe\";")).is_empty());
}

#[test]
fn a_place_on_a_machine_is_found() {
    assert_eq!(check_places(&source(concat!("a = \"/ho", "me/me/a\""))).len(), 1);
    assert!(check_places(&source("/webhook/heygen")).is_empty());
}
