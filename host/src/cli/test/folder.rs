//! Finds cases and plugin from the folder alone. A failure names the places that were searched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::output::printable;
use crate::names::hint;

/// The folder of cases within a project.
const CASES: &str = "cases";
/// The file that makes a folder a case.
pub(super) const EVENT: &str = "event.json";

/// A plugin's folder and its cases.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Project {
    /// As it was given, or its parent folder.
    dir: PathBuf,
    cases: PathBuf,
    /// The folder's own name.
    name: String,
}

/// A folder that holds a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CaseFolder {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Project {
    /// `given` is the project, or its folder of cases.
    pub(super) fn find(given: &Path) -> Result<Self, String> {
        let shown = given.display();
        let real =
            fs::canonicalize(given).map_err(|error| format!("failed to read {shown}: {error}"))?;
        if real.is_file() {
            let dir = given.with_extension("");
            return Err(format!(
                "{shown} is a file, and what is tested is a folder with `{CASES}/` in it: \
                 `hookbox test {} --plugin {shown}`",
                if dir.is_dir() { dir.display().to_string() } else { "DIR".to_owned() }
            ));
        }
        let inner = given.join(CASES);
        if inner.is_dir() {
            return Ok(Self { dir: given.to_owned(), cases: inner, name: file_name(&real) });
        }
        let holds_cases = folders(given)?.iter().any(|folder| folder.path.join(EVENT).is_file());
        if !holds_cases {
            return Err(format!(
                "{shown} holds no cases: put one in {}",
                inner.join("NAME").join(EVENT).display()
            ));
        }
        let cases = given.to_owned();
        match real.parent() {
            Some(parent) if file_name(&real) == CASES => {
                let dir = match given.parent() {
                    Some(parent) if given.ends_with(CASES) => Path::new(".").join(parent),
                    _ => given.join(".."),
                };
                Ok(Self { dir, cases, name: file_name(parent) })
            }
            _ => Ok(Self { dir: given.to_owned(), cases, name: file_name(&real) }),
        }
    }

    /// The cases by name; only those that are asked for, if any are.
    pub(super) fn cases(&self, wanted: &[String]) -> Result<Vec<CaseFolder>, String> {
        let mut all = folders(&self.cases)?;
        let shown = self.cases.display();
        if all.is_empty() {
            return Err(format!("{shown} holds no case: put one in {shown}/NAME/{EVENT}"));
        }
        for name in wanted {
            if !all.iter().any(|folder| folder.name == *name) {
                let names = || all.iter().map(|folder| folder.name.as_str());
                let hint = printable(&hint(name, names()));
                let there = names().map(printable).collect::<Vec<_>>().join(", ");
                let name = printable(name);
                return Err(format!("{shown} holds no case `{name}`{hint} (there are: {there})"));
            }
        }
        all.retain(|folder| wanted.is_empty() || wanted.contains(&folder.name));
        Ok(all)
    }

    /// The plugin's file: the one with the project's name in it, the only one in it, or the one
    /// beside it.
    pub(super) fn plugin(&self) -> Result<PathBuf, String> {
        let named =
            |dir: &Path| ["wasm", "wat"].map(|ending| dir.join(format!("{}.{ending}", self.name)));
        let inside = named(&self.dir);
        // Beside `plugins/audit` is `plugins/audit.wasm`; beside `.` it is only found one up.
        let parent = match self.dir.parent() {
            Some(parent) if self.dir.file_name().is_some() => parent.to_owned(),
            _ => self.dir.join(".."),
        };
        let beside = named(&parent);
        for pair in [&inside[..], &only(&self.dir)?, &beside] {
            match pair.iter().filter(|file| file.is_file()).collect::<Vec<_>>()[..] {
                [] => {}
                [file] => return Ok(file.clone()),
                [first, second, ..] => {
                    let (first, second) = (first.display(), second.display());
                    return Err(format!(
                        "{first} and {second} stand side by side: say which one with --plugin"
                    ));
                }
            }
        }
        let [[a, b], [c, d]] =
            [inside, beside].map(|pair| pair.map(|file| file.display().to_string()));
        let dir = self.dir.display();
        Err(format!(
            "there is no plugin to test: looked for {a}, {b}, a single .wasm or .wat in {dir}, {c} and {d}; build it, or say \
             where it is with --plugin"
        ))
    }
}

/// The plugin's file in a folder, if there is just one.
fn only(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = entries(dir)?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "wasm" || ending == "wat"));
    Ok(if files.len() == 1 { files } else { Vec::new() })
}

/// The folders in a folder, by name; not the hidden ones.
fn folders(dir: &Path) -> Result<Vec<CaseFolder>, String> {
    let folders = entries(dir)?.into_iter().filter(|path| path.is_dir());
    let named = folders.map(|path| CaseFolder { name: file_name(&path), path });
    Ok(named.filter(|folder| !folder.name.starts_with('.')).collect())
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let paths =
        || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>();
    let mut paths =
        paths().map_err(|error| format!("failed to read {}: {error}", dir.display()))?;
    paths.sort();
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(files: &[&str]) -> tempfile::TempDir {
        let site = tempfile::tempdir().unwrap();
        for file in files {
            let file = site.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        site
    }

    /// The plugin that is found from `given`, relative to the site.
    fn plugin(files: &[&str], given: &str) -> Result<PathBuf, String> {
        let site = site(files);
        let found = Project::find(&site.path().join(given))?.plugin()?;
        let root = fs::canonicalize(site.path()).unwrap();
        Ok(fs::canonicalize(found).unwrap().strip_prefix(root).unwrap().to_owned())
    }

    #[test]
    fn the_plugin_is_found_from_the_folder() {
        const CASE: &str = "audit/cases/one/event.json";
        for given in ["audit", "audit/", "audit/.", "audit/../audit", "audit/cases"] {
            let found = |files: &[&str]| plugin(&[&[CASE], files].concat(), given).unwrap();
            let (inside, other, beside) = ("audit/audit.wasm", "audit/other.wat", "audit.wasm");
            assert_eq!(found(&[inside, other, beside]), Path::new(inside), "{given}");
            assert_eq!(found(&[other, beside]), Path::new(other), "{given}");
            assert_eq!(found(&["audit/another.wasm", other, beside]), Path::new(beside), "{given}");
            assert_eq!(found(&["audit.wat"]), Path::new("audit.wat"), "{given}");
        }
    }

    #[test]
    fn a_plugin_that_is_not_clear_is_not_guessed() {
        let case = "audit/cases/one/event.json";
        let none = plugin(&[case], "audit").unwrap_err();
        for place in [
            "audit/audit.wasm",
            "audit/audit.wat",
            "single",
            "/audit.wasm",
            "/audit.wat",
            "--plugin",
        ] {
            assert!(none.contains(place), "{place}: {none}");
        }
        let two = plugin(&[case, "audit.wasm", "audit.wat"], "audit").unwrap_err();
        assert!(two.contains("side by side"), "{two}");
    }

    #[test]
    fn a_folder_of_cases_may_have_any_name() {
        let site = site(&[
            "checks/b/event.json",
            "checks/a/event.json",
            "checks/.git/x",
            "checks/notes.md",
        ]);
        let project = Project::find(&site.path().join("checks")).unwrap();
        let names = |wanted: &[String]| {
            project
                .cases(wanted)
                .map(|cases| cases.into_iter().map(|case| case.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["a", "b"]);
        assert_eq!(names(&["b".to_owned()]).unwrap(), ["b"]);
        assert!(names(&["bb".to_owned()]).unwrap_err().contains("did you mean `b`?"));
    }

    #[test]
    fn a_file_is_told_where_it_belongs() {
        let site = site(&["audit.wasm", "audit/cases/one/event.json", "alone.wasm"]);
        let told = |file: &str| Project::find(&site.path().join(file)).unwrap_err();
        let (beside, alone) = (told("audit.wasm"), told("alone.wasm"));
        let folder = site.path().join("audit").display().to_string();
        assert!(beside.contains(&format!("`hookbox test {folder} --plugin ")), "{beside}");
        assert!(
            alone.contains("is a file") && alone.contains("`hookbox test DIR --plugin "),
            "{alone}"
        );
    }

    #[test]
    fn a_folder_without_cases_is_refused() {
        let site = site(&["empty/cases/README.md", "none/src/lib.rs"]);
        let empty = Project::find(&site.path().join("empty")).unwrap().cases(&[]).unwrap_err();
        assert!(empty.contains("holds no case: put one in"), "{empty}");
        let none = Project::find(&site.path().join("none")).unwrap_err();
        assert!(none.contains("none/cases/NAME/event.json"), "{none}");
        assert!(Project::find(&site.path().join("missing")).unwrap_err().contains("missing"));
    }
}
