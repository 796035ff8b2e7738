//! Finds every folder whose change can make a path lead to another file.
//!
//! A path may lead through links: `..data` in a volume of Kubernetes, `current` in front of a
//! release. Replacing a link changes the folder that contains the link, and neither the file nor
//! the folder of the file.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The most links that are followed, as in Linux.
const MAX_LINKS: u32 = 40;

/// The folders that contain a link on the way to `path`, and the folder at its end. That is `path`
/// itself if it is a folder, else its parent, or the last folder on the way that exists.
pub(super) fn folders(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let (mut here, mut links) = (PathBuf::from("/"), 0);
    let mut left: VecDeque<OsString> = steps(path).collect();
    while let Some(step) = left.pop_front() {
        if step == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        match fs::symlink_metadata(&next) {
            Ok(kind) if kind.is_symlink() && links < MAX_LINKS => {
                links += 1;
                let Ok(target) = fs::read_link(&next) else { break };
                found.push(here.clone());
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(step);
                }
            }
            Ok(kind) if kind.is_dir() => here = next,
            // A file, or nothing: the path ends here.
            _ => break,
        }
    }
    found.push(here);
    found
}

fn steps(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        step => Some(step.as_os_str().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_folder_with_a_link_on_the_way_counts_and_the_last_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("releases/2")).unwrap();
        fs::create_dir(at("etc")).unwrap();
        fs::write(at("releases/2/file"), "x").unwrap();
        symlink(at("releases/2"), at("current")).unwrap();
        symlink("../current/file", at("etc/file")).unwrap();
        assert_eq!(folders(&at("releases/2/file")), [at("releases/2")]);
        assert_eq!(folders(&at("releases/2")), [at("releases/2")]);
        assert_eq!(folders(&at("current")), [root.clone(), at("releases/2")]);
        assert_eq!(folders(&at("etc/../etc/file")), [at("etc"), root.clone(), at("releases/2")]);
        assert_eq!(
            folders(&at("releases/3/file")),
            [at("releases")],
            "what is not there yet comes into this one"
        );
        symlink("loop", at("loop")).unwrap();
        assert!(folders(&at("loop/x")).contains(&root));
    }
}
