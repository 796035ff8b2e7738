//! Every path a file names: `use` trees spread out, and whatever stands with `::` in the code.

use std::collections::BTreeMap;

use super::lexer::Token;

/// A path from the crate's root, or one that starts with a name of another crate or something
/// local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) line: usize,
    /// `crate`, then modules; `self` and `super` are resolved.
    pub(super) segments: Vec<String>,
    /// The name it has from here on, if it was imported.
    pub(super) import: Option<String>,
}

/// Every path in the file of module `module` (its segments below the crate's root), each as long as
/// the file's imports make it.
pub(super) fn named(module: &[String], tokens: &[Token]) -> Vec<Named> {
    let mut found = written(module, tokens);
    let imports: BTreeMap<String, Vec<String>> = found
        .iter()
        .filter_map(|named| Some((named.import.clone()?, named.segments.clone())))
        .collect();
    for named in found.iter_mut().filter(|named| named.import.is_none()) {
        if let Some(origin) = imports.get(&named.segments[0]) {
            named.segments.splice(..1, origin.iter().cloned());
        }
    }
    found
}

fn written(module: &[String], tokens: &[Token]) -> Vec<Named> {
    let (mut found, mut inline, mut depth, mut at) = (Vec::new(), Vec::new(), 0, 0);
    while at < tokens.len() {
        let within = || {
            module
                .iter()
                .cloned()
                .chain(inline.iter().map(|(name, _): &(String, usize)| name.clone()))
        };
        match text(tokens, at) {
            "use" if text(tokens, at + 1) != "<" => {
                let mut paths = Vec::new();
                at = tree(tokens, at + 1, &[], &mut paths);
                found.extend(
                    paths.into_iter().map(|named| resolved(&within().collect::<Vec<_>>(), named)),
                );
            }
            "mod" if text(tokens, at + 2) == "{" => {
                inline.push((text(tokens, at + 1).to_owned(), depth));
                at += 2;
            }
            "{" => (depth, at) = (depth + 1, at + 1),
            "}" => {
                depth -= 1;
                inline.retain(|(_, outside)| *outside < depth);
                at += 1;
            }
            first if is_word(first) && text(tokens, at + 1) == "::" => {
                let line = tokens[at].line;
                let mut segments = vec![first.to_owned()];
                while text(tokens, at + 1) == "::" && is_word(text(tokens, at + 2)) {
                    segments.push(text(tokens, at + 2).to_owned());
                    at += 2;
                }
                found.push(resolved(
                    &within().collect::<Vec<_>>(),
                    Named { line, segments, import: None },
                ));
                at += 1;
                // The text after a turbofish belongs to the same path.
                at += usize::from(text(tokens, at) == "::");
            }
            _ => at += 1,
        }
    }
    found
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads one branch of a `use` tree and says where it ends.
fn tree(tokens: &[Token], mut at: usize, stem: &[String], found: &mut Vec<Named>) -> usize {
    let mut segments = stem.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    let mut alias = None;
    loop {
        match text(tokens, at) {
            "{" => {
                at += 1;
                while !matches!(text(tokens, at), "}" | "") {
                    at = tree(tokens, at, &segments, found);
                    at += usize::from(text(tokens, at) == ",");
                }
                return at + 1;
            }
            "::" => at += 1,
            "as" => {
                alias = Some(text(tokens, at + 1).to_owned());
                at += 2;
            }
            word if is_word(word) || word == "*" => {
                segments.push(word.to_owned());
                at += 1;
            }
            _ => {
                // `{self}` at the end is the module itself.
                segments.truncate(
                    segments.len()
                        - usize::from(
                            segments.len() > 1 && segments.ends_with(&["self".to_owned()]),
                        ),
                );
                let import = alias.or_else(|| segments.last().cloned());
                found.push(Named { line, segments, import });
                return at;
            }
        }
    }
}

fn resolved(module: &[String], named: Named) -> Named {
    let ups = named.segments.iter().take_while(|segment| *segment == "super").count();
    let own = usize::from(named.segments.first().is_some_and(|first| first == "self"));
    if ups + own == 0 {
        return named;
    }
    let base = &module[..module.len().saturating_sub(ups)];
    let rest = &named.segments[ups + own..];
    let segments = ["crate".to_owned()].iter().chain(base).chain(rest).cloned().collect();
    Named { segments, ..named }
}
