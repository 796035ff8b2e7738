//! Folders that belong to the host alone: finds who else may write them, and restricts their modes.
//!
//! A folder that everybody may write cannot be trusted. If a group of this process may write it, a
//! mount was usually the cause: with `fsGroup`, Kubernetes adds `g+rwX` to every file of a volume
//! at each mount. So the mode is restricted where this user owns the folder.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RawMode, Stat, chmodat, fchmod, fstat, linkat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::path::Arg;
use rustix::process::{getegid, geteuid, getgroups};

/// The mode of a folder that belongs to this user alone.
pub const FOLDER: Mode = Mode::RWXU;

/// The mode of a file that belongs to this user alone.
const FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The users that may write a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// This user, and root.
    Us,
    /// Also a group that this process is in.
    OurGroup,
}

/// This process, as the file system knows it.
#[derive(Debug)]
struct Me {
    user: u32,
    groups: Vec<u32>,
}

impl Me {
    fn now() -> Self {
        let mut groups: Vec<u32> =
            getgroups().unwrap_or_default().iter().map(|group| group.as_raw()).collect();
        groups.push(getegid().as_raw());
        Self { user: geteuid().as_raw(), groups }
    }
}

/// Finds who may write a folder.
///
/// # Errors
/// Other users may. The text for people continues the folder's path.
pub fn writers(stat: &Stat) -> Result<Writers, String> {
    judge(&Me::now(), stat.st_uid, stat.st_gid, stat.st_mode)
}

fn judge(me: &Me, user: u32, group: u32, mode: RawMode) -> Result<Writers, String> {
    let mode = Mode::from_raw_mode(mode);
    if user != me.user && user != 0 {
        return Err(format!("it belongs to the user with the number {user}, not to this one"));
    }
    if mode.contains(Mode::WOTH) {
        return Err("everyone may write it: take that away with `chmod go-w`".to_owned());
    }
    match mode.contains(Mode::WGRP) {
        false => Ok(Writers::Us),
        true if me.groups.contains(&group) => Ok(Writers::OurGroup),
        true => Err(format!(
            "the group with the number {group} may write it, which this user is not in: take that away with `chmod g-w`"
        )),
    }
}

/// Restricts a folder that others may write, and the files in it, to this user. Returns whether it
/// did; it cannot if this user does not own the folder.
///
/// # Errors
/// The mode cannot be changed.
pub fn restrict(folder: &OwnedFd) -> io::Result<bool> {
    let (found, user) = (fstat(folder)?, geteuid().as_raw());
    if found.st_uid != user
        || !Mode::from_raw_mode(found.st_mode).intersects(Mode::WGRP | Mode::WOTH)
    {
        return Ok(false);
    }
    // The folder first: afterwards nobody can replace a file by a link.
    fchmod(folder, FOLDER)?;
    close_files(folder)?;
    Ok(true)
}

/// Opens a folder for this user alone; it and the one around it are made if they are not there.
///
/// # Errors
/// It cannot be made, opened or restricted.
pub fn own_folder(path: &Path) -> io::Result<OwnedFd> {
    if let Some(around) = path.parent() {
        DirBuilder::new().recursive(true).mode(FOLDER.as_raw_mode()).create(around)?;
    }
    match DirBuilder::new().mode(FOLDER.as_raw_mode()).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let folder = super::open_folder(path)?.ok_or(io::ErrorKind::NotFound)?;
    restrict(&folder)?;
    Ok(folder)
}

/// The action if a file has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    /// It is replaced.
    Replace,
    /// It stays, and nothing is written.
    Keep,
}

/// The ending of the names of files that are still being written.
pub const TEMPORARY_ENDING: &str = ".hookbox-draft";

/// Creates a file that only this user may read and write.
///
/// # Errors
/// It cannot be created, or something has the name already.
pub fn create(folder: impl AsFd, path: impl Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, path, flags, FILE)?)
}

/// A random name for a temporary file.
///
/// # Errors
/// The system gives no random bytes.
pub fn unused_name() -> io::Result<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{}{TEMPORARY_ENDING}", hex::encode(random)))
}

/// Writes a file that only this user may read and write. It appears whole under its name, and is on
/// disk afterwards.
///
/// # Errors
/// It cannot be written, or it may not be on disk.
pub fn write(folder: &OwnedFd, name: &str, content: &[u8], if_there: IfThere) -> io::Result<()> {
    write_if(folder, name, content, if_there, || Ok(true)).map(drop)
}

/// The same if `still` says so right before it appears under its name. Returns whether it did.
///
/// # Errors
/// It cannot be written, `still` fails, or it may not be on disk.
pub fn write_if(
    folder: &OwnedFd,
    name: &str,
    content: &[u8],
    if_there: IfThere,
    still: impl FnOnce() -> io::Result<bool>,
) -> io::Result<bool> {
    let temporary = unused_name()?;
    let mut file = File::from(create(folder, &temporary)?);
    let written = file.write_all(content).and_then(|()| file.sync_all());
    let mut is_meant = false;
    let placed = written.and_then(|()| {
        is_meant = still()?;
        match if_there {
            _ if !is_meant => Ok(()),
            IfThere::Replace => Ok(renameat(folder, &temporary, folder, name)?),
            // Linking fails where the name is taken; renaming would replace the file.
            IfThere::Keep => match linkat(folder, &temporary, folder, name, AtFlags::empty()) {
                Err(Errno::EXIST) => Ok(()),
                linked => Ok(linked?),
            },
        }
    });
    // After it was renamed there is nothing under this name.
    let _ = unlinkat(folder, &temporary, AtFlags::empty());
    placed?;
    // The name is on disk only once the folder is.
    File::from(folder.try_clone()?).sync_all()?;
    Ok(is_meant)
}

/// Restricts this user's files in a folder to this user. Others may no longer write the folder.
///
/// # Errors
/// The mode of one cannot be changed.
pub fn close_files(folder: &OwnedFd) -> io::Result<()> {
    let user = geteuid().as_raw();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let found = statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let shared = Mode::from_raw_mode(found.st_mode).intersects(Mode::RWXG | Mode::RWXO);
        if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && found.st_uid == user
            && shared
        {
            chmodat(folder, entry.file_name(), FILE, AtFlags::empty())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;
    use crate::files::open_folder;

    #[test]
    fn a_group_of_ours_may_write_and_no_stranger() {
        let me = Me { user: 1234, groups: vec![2000, 1234] };
        let judge = |user, group, mode| judge(&me, user, group, mode);
        assert_eq!(judge(1234, 1234, 0o040_700), Ok(Writers::Us));
        assert_eq!(judge(1234, 999, 0o040_755), Ok(Writers::Us), "they may look, not write");
        assert_eq!(judge(1234, 2000, 0o042_770), Ok(Writers::OurGroup));
        assert_eq!(judge(0, 2000, 0o042_770), Ok(Writers::OurGroup), "a volume's root folder");
        assert!(judge(1234, 999, 0o040_770).unwrap_err().contains("the group with the number 999"));
        assert!(
            judge(4321, 2000, 0o042_770).unwrap_err().contains("the user with the number 4321")
        );
        for mode in [0o040_702, 0o042_777, 0o041_777] {
            assert!(judge(1234, 2000, mode).unwrap_err().contains("everyone"), "{mode:o}");
        }
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_appears_whole_for_this_user_alone_and_replaces_only_what_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let folder = open_folder(dir.path()).unwrap().unwrap();
        let (path, content) =
            (dir.path().join("file"), || fs::read(dir.path().join("file")).unwrap());
        write(&folder, "file", b"first", IfThere::Keep).unwrap();
        assert_eq!((content(), mode(&path)), (b"first".to_vec(), 0o600));
        write(&folder, "file", b"second", IfThere::Keep).unwrap();
        assert_eq!(content(), b"first");
        write(&folder, "file", b"third", IfThere::Replace).unwrap();
        assert_eq!(content(), b"third");
        fs::create_dir(dir.path().join("taken")).unwrap();
        assert!(write(&folder, "taken", b"x", IfThere::Replace).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn a_folder_is_taken_back_with_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, outside) = (dir.path().join("ours"), dir.path().join("outside"));
        let (file, link) = (ours.join("file"), ours.join("link"));
        fs::create_dir(&ours).unwrap();
        for path in [&file, &outside] {
            fs::write(path, "x").unwrap();
            chmod(path, 0o660);
        }
        symlink(&outside, &link).unwrap();
        chmod(&ours, 0o2770);
        let folder = open_folder(&ours).unwrap().unwrap();
        assert!(restrict(&folder).unwrap());
        assert_eq!((mode(&ours), mode(&file), mode(&outside)), (0o700, 0o600, 0o660));
        assert!(!restrict(&folder).unwrap(), "there is nothing left to do");
        chmod(&ours, 0o750);
        assert!(!restrict(&folder).unwrap(), "who may look is its owner's choice");
    }
}
