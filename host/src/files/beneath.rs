//! Links within a folder: followed as far as they stay in it.
//!
//! Every step of the way is taken from an open folder, so what is swapped meanwhile can change
//! where a name leads, and never lead out. `..` goes back to a folder that the way came through.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;

use super::what;

/// The most links that one name may lead through, as in Linux.
const MAX_LINKS: u32 = 40;

/// The most folders that one name may lead through.
const MAX_FOLDERS: usize = 64;

/// Where a name leads: the folder, if it is not the one that the way began in, and the name in it,
/// which is no link.
#[derive(Debug)]
pub struct Spot {
    folder: Option<OwnedFd>,
    name: OsString,
}

impl Spot {
    /// The folder; `root` is the one that the way began in.
    pub fn folder<'a>(&'a self, root: BorrowedFd<'a>) -> BorrowedFd<'a> {
        self.folder.as_ref().map_or(root, |folder| folder.as_fd())
    }

    /// The name in it.
    pub fn name(&self) -> &OsStr {
        &self.name
    }
}

/// Why a name leads nowhere that may be opened.
#[derive(Debug)]
pub enum Astray {
    /// It leads out of the folder.
    Out,
    /// It leads to this, which is not there.
    Nothing(PathBuf),
    /// It leads through this, which is no folder, or to a folder.
    Kind(&'static str),
    /// It leads through too many links or folders.
    TooLong,
    /// It cannot be followed.
    Unreadable(io::Error),
}

impl fmt::Display for Astray {
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

/// Follows `name`, an entry of `root`. `paths` are the ways to write the folder's own path: a link
/// to an absolute path is followed if it begins with one of them.
///
/// # Errors
/// It leads out of the folder, or to nothing.
pub fn follow(root: BorrowedFd<'_>, paths: &[PathBuf], name: &OsStr) -> Result<Spot, Astray> {
    let (mut folders, mut links): (Vec<OwnedFd>, u32) = (Vec::new(), 0);
    // The rest of the way, the next step last.
    let mut left = vec![name.to_owned()];
    while let Some(step) = left.pop() {
        if step == ".." {
            folders.pop().ok_or(Astray::Out)?;
            continue;
        }
        let here = folders.last().map_or(root, |folder| folder.as_fd());
        let found = statat(here, &step, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| lost(errno, &step))?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => {
                links += 1;
                let target = readlinkat(here, &step, Vec::new()).map_err(|errno| lost(errno, &step))?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    folders.clear();
                }
                left.extend(steps(&target, paths)?.into_iter().rev());
            }
            FileType::Directory if !left.is_empty() => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                folders.push(openat(here, &step, flags, Mode::empty()).map_err(|errno| lost(errno, &step))?);
            }
            _ if left.is_empty() => return Ok(Spot { folder: folders.pop(), name: step }),
            kind => return Err(Astray::Kind(what(kind))),
        }
        if links > MAX_LINKS || left.len() + folders.len() > MAX_FOLDERS {
            return Err(Astray::TooLong);
        }
    }
    Err(Astray::Kind(what(FileType::Directory)))
}

/// The steps of a link's target, from the folder it stands in or, for an absolute one, from the
/// root.
fn steps(target: &Path, paths: &[PathBuf]) -> Result<Vec<OsString>, Astray> {
    let within = match target.is_absolute() {
        true => paths.iter().find_map(|path| target.strip_prefix(path).ok()).ok_or(Astray::Out)?,
        false => target,
    };
    let step = |component: Component<'_>| match component {
        Component::CurDir => None,
        step => Some(step.as_os_str().to_owned()),
    };
    Ok(within.components().filter_map(step).collect())
}

fn lost(errno: Errno, step: &OsStr) -> Astray {
    match errno {
        Errno::NOENT => Astray::Nothing(step.into()),
        errno => Astray::Unreadable(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with a file in it and in a folder of it, beside a file that is none of its
    /// business.
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
            let spot = follow(root.as_fd(), &paths, name.as_ref()).map_err(|astray| astray.to_string())?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
            let file = openat(spot.folder(root.as_fd()), spot.name(), flags, Mode::empty()).unwrap();
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
        assert_eq!(tree.through(tree.root().join("releases/2/below")).unwrap(), "below", "an absolute one");
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
        for target in ["../secret", "releases/../../secret", "../inside/here", "/etc/passwd", "/", ".."] {
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
