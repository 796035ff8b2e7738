//! Follows links that stay within a folder.
//!
//! Each step starts from an open folder. A link that is swapped meanwhile can change which file a
//! name leads to, but never leads out of the folder. `..` returns to the previous open folder.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;

use super::kind_name;

/// The most links that one name may lead through, as in Linux.
const MAX_LINKS: u32 = 40;

/// The most folders that one name may lead through.
const MAX_FOLDERS: usize = 64;

/// The file that a name leads to: its folder, and its name there, which is no link.
#[derive(Debug)]
pub struct ResolvedFile {
    /// `None` if it is the root.
    folder: Option<OwnedFd>,
    name: OsString,
}

impl ResolvedFile {
    /// Its folder; `root` is the folder that was passed to [`follow`].
    pub fn folder<'a>(&'a self, root: BorrowedFd<'a>) -> BorrowedFd<'a> {
        self.folder.as_ref().map_or(root, |folder| folder.as_fd())
    }

    /// Its name there.
    pub fn name(&self) -> &OsStr {
        &self.name
    }
}

/// The reason why a name cannot be followed.
#[derive(Debug)]
pub enum LinkError {
    /// It leads out of the folder.
    Out,
    /// It leads to this name, which does not exist.
    Nothing(PathBuf),
    /// It leads through something that is no folder, or to a folder.
    Kind(&'static str),
    /// It leads through too many links or folders.
    TooLong,
    /// A step cannot be read.
    Unreadable(io::Error),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Out => f.write_str("leads out of this folder"),
            Self::Nothing(path) => write!(f, "leads to {}, which is not there", path.display()),
            Self::Kind(kind) => write!(f, "leads to {kind}"),
            Self::TooLong => f.write_str("leads through too many links"),
            Self::Unreadable(error) => write!(f, "cannot be followed: {error}"),
        }
    }
}

/// Follows `name`, an entry of `root`. A link to an absolute path is followed if it begins with one
/// of `paths`, the spellings of the folder's own path.
///
/// # Errors
/// It leads out of the folder, or to no file.
pub fn follow(
    root: BorrowedFd<'_>,
    paths: &[PathBuf],
    name: &OsStr,
) -> Result<ResolvedFile, LinkError> {
    let (mut folders, mut links): (Vec<OwnedFd>, u32) = (Vec::new(), 0);
    // The remaining steps, the next one last.
    let mut left = vec![name.to_owned()];
    while let Some(step) = left.pop() {
        if step == ".." {
            folders.pop().ok_or(LinkError::Out)?;
            continue;
        }
        let here = folders.last().map_or(root, |folder| folder.as_fd());
        let found =
            statat(here, &step, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| lost(errno, &step))?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => {
                links += 1;
                let target =
                    readlinkat(here, &step, Vec::new()).map_err(|errno| lost(errno, &step))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                // Its steps begin at the root then: `steps` refuses a path that does not lead
                // there.
                if target.is_absolute() {
                    folders.clear();
                }
                left.extend(steps(&target, paths)?.into_iter().rev());
            }
            FileType::Directory if !left.is_empty() => {
                // The name may have become a link since, and is not followed then.
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                folders.push(
                    openat(here, &step, flags, Mode::empty())
                        .map_err(|errno| lost(errno, &step))?,
                );
            }
            _ if left.is_empty() => return Ok(ResolvedFile { folder: folders.pop(), name: step }),
            kind => return Err(LinkError::Kind(kind_name(kind))),
        }
        if links > MAX_LINKS || left.len() + folders.len() > MAX_FOLDERS {
            return Err(LinkError::TooLong);
        }
    }
    Err(LinkError::Kind(kind_name(FileType::Directory)))
}

/// The steps of a link's target: from the folder of the link, or from the root if the target is
/// absolute.
fn steps(target: &Path, paths: &[PathBuf]) -> Result<Vec<OsString>, LinkError> {
    let within = match target.is_absolute() {
        true => {
            paths.iter().find_map(|path| target.strip_prefix(path).ok()).ok_or(LinkError::Out)?
        }
        false => target,
    };
    let step = |component: Component<'_>| match component {
        Component::CurDir => None,
        step => Some(step.as_os_str().to_owned()),
    };
    Ok(within.components().filter_map(step).collect())
}

fn lost(errno: Errno, step: &OsStr) -> LinkError {
    match errno {
        Errno::NOENT => LinkError::Nothing(step.into()),
        errno => LinkError::Unreadable(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with a file in it and one in a subfolder, beside a file that must not be read.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(tree.root().join("releases/2")).unwrap();
            fs::write(tree.root().join("here"), "here").unwrap();
            fs::write(tree.root().join("releases/2/below"), "below").unwrap();
            fs::write(tree.0.path().join("secret"), "secret").unwrap();
            tree
        }

        fn root(&self) -> PathBuf {
            self.0.path().join("inside")
        }

        /// The content that a link with this target leads to, or why there is none.
        fn through(&self, target: impl AsRef<Path>) -> Result<String, String> {
            let link = self.root().join("link");
            let _ = fs::remove_file(&link);
            symlink(target, &link).unwrap();
            self.read("link")
        }

        fn read(&self, name: &str) -> Result<String, String> {
            let root = File::open(self.root()).unwrap();
            let paths = [self.root()];
            let resolved =
                follow(root.as_fd(), &paths, name.as_ref()).map_err(|error| error.to_string())?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
            let file = openat(resolved.folder(root.as_fd()), resolved.name(), flags, Mode::empty())
                .unwrap();
            let mut text = String::new();
            File::from(file).read_to_string(&mut text).unwrap();
            Ok(text)
        }
    }

    #[test]
    fn a_link_that_stays_inside_is_followed() {
        let tree = Tree::new();
        assert_eq!(tree.read("here").unwrap(), "here");
        assert_eq!(tree.through("here").unwrap(), "here");
        assert_eq!(tree.through("./releases/2/../2/below").unwrap(), "below");
        assert_eq!(tree.through("releases/../here").unwrap(), "here");
        assert_eq!(
            tree.through(tree.root().join("releases/2/below")).unwrap(),
            "below",
            "an absolute one"
        );
        // As a kubelet lays out a volume.
        symlink("releases/2", tree.root().join("..data")).unwrap();
        assert_eq!(tree.through("..data/below").unwrap(), "below");
        symlink("../../here", tree.root().join("releases/2/up")).unwrap();
        assert_eq!(tree.through("..data/up").unwrap(), "here");
    }

    #[test]
    fn a_link_that_leaves_is_not_followed() {
        let tree = Tree::new();
        let out = "leads out of this folder";
        for target in
            ["../secret", "releases/../../secret", "../inside/here", "/etc/passwd", "/", ".."]
        {
            assert_eq!(tree.through(target).unwrap_err(), out, "{target}");
        }
        assert_eq!(tree.through(tree.0.path().join("secret")).unwrap_err(), out);
        assert_eq!(tree.through(tree.root().join("../secret")).unwrap_err(), out);
        symlink("..", tree.root().join("up")).unwrap();
        assert_eq!(tree.through("up/secret").unwrap_err(), out, "by another link");
    }

    #[test]
    fn a_link_to_nothing_to_a_folder_or_to_itself_says_so() {
        let tree = Tree::new();
        assert_eq!(tree.through("releases/3/below").unwrap_err(), "leads to 3, which is not there");
        assert_eq!(tree.through("link").unwrap_err(), "leads through too many links");
        assert_eq!(tree.through("here/below").unwrap_err(), "leads to a file");
        assert_eq!(tree.through("releases/2/..").unwrap_err(), "leads to a folder");
    }
}
