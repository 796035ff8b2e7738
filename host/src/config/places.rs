//! Paths as people read them: a relative path of the file, joined to its folder, without
//! `folder/..` in it.

use std::path::{Component, Path, PathBuf};

/// The path without `folder/..`, unless `folder` is a symbolic link: there `..` is the folder
/// around what it leads to.
pub(super) fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        let goes_back = matches!(part, Component::ParentDir)
            && matches!(tidied.components().next_back(), Some(Component::Normal(_)))
            && !tidied.is_symlink();
        if goes_back {
            tidied.pop();
        } else {
            tidied.push(part);
        }
    }
    tidied
}

/// The file that stands where a folder, or one around it, is to be.
pub(super) fn instead_of(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|path| path.exists()).filter(|path| !path.is_dir())
}

/// A path from the root, tidied; the path itself if there is no working folder.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| tidy(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_there_and_back_is_left_out() {
        for (path, expected) in [
            ("/x/etc/../data/hookbox.db", "/x/data/hookbox.db"),
            ("/x/./a/b/../../c", "/x/c"),
            ("../a/../b", "../b"),
            ("../../b", "../../b"),
            ("/x/plugins", "/x/plugins"),
        ] {
            assert_eq!(tidy(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        assert_eq!(instead_of(&file.join("deep")), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(instead_of(&file), Some(&*file));
        assert_eq!(instead_of(&file.join("deep/er")), Some(&*file));
        assert_eq!(instead_of(folder.path()), None);
    }

    #[test]
    fn a_way_through_a_link_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, link) = (folder.path().join("one/inner"), folder.path().join("link"));
        std::fs::create_dir_all(&inner).unwrap();
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        let path = link.join("../data");
        assert_eq!(tidy(&path), path, "it means one/data");
    }
}
