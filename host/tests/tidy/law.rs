//! Floors and doors, as `lib.rs` states them.

use std::collections::BTreeMap;

use super::Source;
use super::paths::{Named, named};

/// Which module stands where, and what only it may name.
#[derive(Debug)]
pub(super) struct Law {
    floors: BTreeMap<String, u32>,
    /// A crate or path → the modules that may name it.
    doors: BTreeMap<String, Vec<String>>,
}

impl Law {
    /// Reads `// floor N: …` groups of `pub mod NAME; // doors: A, B::C`, highest floor first. A
    /// line that begins with `// doors:` goes on with the doors of the module above.
    pub(super) fn read(lib: &str) -> Result<Self, String> {
        let (mut floors, mut doors) = (BTreeMap::new(), BTreeMap::<String, Vec<String>>::new());
        let mut floor: Option<u32> = None;
        let mut last = None;
        for line in lib.lines() {
            if let Some(rest) = line.strip_prefix("// floor ") {
                let number = rest.split(':').next().and_then(|number| number.parse().ok());
                let number = number.ok_or_else(|| format!("no number in `{line}`"))?;
                if floor.is_some_and(|above| above <= number) {
                    return Err(format!("floor {number} is out of order"));
                }
                floor = Some(number);
            } else if let Some(rest) =
                line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "))
            {
                let (name, comment) =
                    rest.split_once(';').ok_or_else(|| format!("no end in `{line}`"))?;
                floors.insert(
                    name.to_owned(),
                    floor.ok_or_else(|| format!("{name} stands on no floor"))?,
                );
                add_doors(&mut doors, name, comment);
                last = Some(name);
            } else if line.starts_with("// doors:") {
                let name = last.ok_or_else(|| format!("`{line}` follows no module"))?;
                add_doors(&mut doors, name, line);
            }
        }
        match floors.is_empty() {
            true => Err("no modules".to_owned()),
            false => Ok(Self { floors, doors }),
        }
    }

    /// Offences of `source`, a file below `host/src/`, against the law.
    pub(super) fn check(&self, source: &Source) -> Vec<String> {
        let path = source.name.strip_prefix("host/src/").expect("a file of the crate");
        let module: Vec<String> =
            path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        let home = module[0].as_str();
        if home == "lib" {
            return Vec::new();
        }
        // The binary stands above everything.
        let floor = self.floors.get(home).copied().or((home == "main").then_some(u32::MAX));
        let Some(floor) = floor else {
            return vec![source.violation(1, "is a module `lib.rs` does not name")];
        };
        let paths = named(&module, &source.tokens);
        paths
            .iter()
            .filter_map(|path| {
                self.fault(home, floor, path).map(|why| source.violation(path.line, why))
            })
            .collect()
    }

    fn fault(&self, home: &str, floor: u32, path: &Named) -> Option<String> {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        if let ["crate" | "hookbox", target, ..] = segments[..] {
            return match self.floors.get(target) {
                _ if target == home => None,
                // The ground floor is one room: nouns may use each other.
                Some(other) if *other < floor || (*other, floor) == (0, 0) => None,
                Some(other) => Some(format!(
                    "`{home}` must not import from `{target}`, which is on floor {other}"
                )),
                None => Some(format!("`{target}` is not a module of the crate")),
            };
        }
        let within = |door: &str| {
            let door: Vec<&str> = door.split("::").collect();
            segments.starts_with(&door)
        };
        let door = self
            .doors
            .iter()
            .find(|(door, open_to)| within(door) && !open_to.iter().any(|name| name == home))?;
        Some(format!("`{}` is a door of {} only", door.0, door.1.join(" and ")))
    }
}

/// Adds what a comment lists behind `doors:` to what the module may name.
fn add_doors(doors: &mut BTreeMap<String, Vec<String>>, module: &str, comment: &str) {
    let listed = comment.trim().strip_prefix("// doors:").unwrap_or_default();
    for door in listed.split(',').map(str::trim).filter(|door| !door.is_empty()) {
        doors.entry(door.to_owned()).or_default().push(module.to_owned());
    }
}
