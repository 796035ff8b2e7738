//! Import cycles among the modules of one folder.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Source;
use super::paths::{Named, named};

/// A module, as the names from the crate's root to it.
type Module = Vec<String>;

/// The modules of one folder: each with those that it imports from and where it does so first.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

/// Modules of one folder that import from each other.
#[derive(Debug)]
pub(super) struct Cycle {
    /// `src/` and the names of the modules down to the folder, with `/` between.
    pub(super) folder: String,
    /// Each import of the cycle, with its place.
    pub(super) text: String,
}

/// The cycles among siblings: each sibling that is part of one is in at least one of those
/// returned.
pub(super) fn cycles(sources: &[Source]) -> Vec<Cycle> {
    let mut found = Vec::new();
    for (folder, graph) in Crate::read(sources).graphs() {
        let mut seen = BTreeSet::new();
        for module in graph.keys() {
            if seen.contains(module) {
                continue;
            }
            let Some(cycle) = shortest_cycle(&graph, module) else { continue };
            let step = |step: &[String]| {
                format!("    {} → {} ({})", step[0], step[1], graph[&step[0]][&step[1]])
            };
            let steps: Vec<String> = cycle.windows(2).map(step).collect();
            let folder = format!("src/{}", folder.join("/"));
            let text = format!("{folder} has the cycle\n{}", steps.join("\n"));
            seen.extend(cycle);
            found.push(Cycle { folder, text });
        }
    }
    found
}

/// The modules from `start` back to it, by the fewest imports.
fn shortest_cycle(graph: &Graph, start: &str) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![start.to_owned()]]);
    let mut reached = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in graph.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            let longer = [&way[..], std::slice::from_ref(next)].concat();
            if next == start {
                return Some(longer);
            }
            if reached.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

/// Every module of a crate that is a file, without its tests.
struct Crate<'a> {
    modules: BTreeMap<Module, (&'a Source, Vec<Named>)>,
}

impl<'a> Crate<'a> {
    fn read(sources: &'a [Source]) -> Self {
        let programs = sources
            .iter()
            .filter(|source| !source.is_test() && !source.name.ends_with("src/main.rs"));
        let modules = programs.map(|source| {
            let module = source.module();
            let paths = named(&module, &source.program());
            (module, (source, paths))
        });
        Self { modules: modules.collect() }
    }

    /// The imports among siblings, by folder.
    fn graphs(&self) -> BTreeMap<Module, Graph> {
        let mut graphs = BTreeMap::<Module, Graph>::new();
        for (module, (source, paths)) in &self.modules {
            for path in paths {
                let Some(target) = self.resolve(module, &path.segments) else { continue };
                let shared = module.iter().zip(&target).take_while(|(a, b)| a == b).count();
                let (Some(from), Some(to)) = (module.get(shared), target.get(shared)) else {
                    continue;
                };
                if self.modules.contains_key(&target[..=shared]) {
                    let imports = graphs
                        .entry(module[..shared].to_vec())
                        .or_default()
                        .entry(from.clone())
                        .or_default();
                    imports
                        .entry(to.clone())
                        .or_insert_with(|| format!("{}:{}", source.name, path.line));
                }
            }
        }
        graphs
    }

    /// The meaning of a path in a module, from the crate's root, re-exports followed to where the
    /// thing is defined. `None` for what is not of this crate.
    fn resolve(&self, module: &[String], path: &[String]) -> Option<Module> {
        let mut target = self.absolute(module, path)?;
        // A re-export leads on to another place; more than a few of them in a row do not occur.
        for _ in 0..8 {
            let within =
                (0..=target.len()).rev().find(|end| self.modules.contains_key(&target[..*end]))?;
            let Some(name) = target.get(within) else { break };
            let (_, paths) = &self.modules[&target[..within]];
            let Some(import) = paths.iter().find(|path| path.import.as_ref() == Some(name)) else {
                break;
            };
            let Some(origin) = self.absolute(&target[..within], &import.segments) else { break };
            target = [&origin[..], &target[within + 1..]].concat();
        }
        Some(target)
    }

    /// A path from the crate's root that begins there or with a child of the module.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Module> {
        if path.first()? == "crate" {
            return Some(path[1..].to_vec());
        }
        let child = [module, &path[..1]].concat();
        self.modules.contains_key(&child).then(|| [module, path].concat())
    }
}

/// The cycles among modules of these names and texts, as `folder: first → second → …`.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files
        .iter()
        .map(|(name, text)| Source::new(&format!("host/src/{name}.rs"), text))
        .collect();
    let steps = |cycle: &Cycle| {
        let steps = cycle.text.lines().skip(1).map(|line| line.split(" (").next().unwrap().trim());
        format!(
            "{}: {}",
            cycle.folder.trim_start_matches("src/"),
            steps.collect::<Vec<_>>().join(", ")
        )
    };
    cycles(&sources).iter().map(steps).collect()
}

#[test]
fn siblings_that_import_from_each_other_are_found() {
    let parent = ("a", "mod b; mod c; mod d;");
    assert_eq!(found(&[parent, ("a/b", "use super::c::C;"), ("a/c", "struct C;")]), [""; 0]);
    let two = found(&[parent, ("a/b", "use super::c::C;"), ("a/c", "fn f() { crate::a::b::f() }")]);
    assert_eq!(two, ["a: b → c, c → b"]);
    let three = [
        parent,
        ("a/b", "use super::c;"),
        ("a/c", "use super::d::D;"),
        ("a/d", "use crate::a::b::B;"),
    ];
    assert_eq!(found(&three), ["a: b → c, c → d, d → b"]);
    let deep =
        [parent, ("a/b", ""), ("a/b/e", "use super::super::c::C;"), ("a/c", "use super::b::B;")];
    assert_eq!(found(&deep), ["a: b → c, c → b"]);
}

#[test]
fn a_cycle_by_way_of_a_re_export_is_found() {
    let through = |import: &str| {
        let parent = format!("mod b; mod c; {import}");
        found(&[
            ("a", parent.as_str()),
            ("a/b", "use super::C; struct B;"),
            ("a/c", "use super::b::B; struct C;"),
        ])
    };
    for import in [
        "pub use c::C;",
        "pub(crate) use self::c::C;",
        "use c::{C, D};",
        "use crate::a::c::E as C;",
    ] {
        assert_eq!(through(import), ["a: b → c, c → b"], "{import}");
    }
    assert_eq!(through("struct C;"), [""; 0]);
}

#[test]
fn tests_parents_and_other_crates_make_no_cycle() {
    let parent = ("a", "mod b; mod c; use b::B; pub struct A;");
    let c = ("a/c", "use super::b::B;");
    for b in ["use super::A;", "use c::C;", "#[cfg(test)] mod tests { use super::super::c::C; }"] {
        assert_eq!(found(&[parent, ("a/b", b), c]), [""; 0], "{b}");
    }
    assert_eq!(found(&[parent, ("a/b", ""), ("a/b/tests", "use super::super::c::C;"), c]), [""; 0]);
}
