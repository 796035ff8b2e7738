//! The cache of machine code: a folder that nobody else may write, whose files are checked against
//! their names.
//!
//! A folder that a group could write loses its machine code before it is used again: its members
//! could have given one plugin's code the name of another's. A folder that everybody may write, or
//! that another user owns, is not used at all.
//!
//! An entry is a file as wasmtime wrote it, named `KEY.SHA256`: what it was made of and for, and
//! what it holds. It appears whole, by renaming. An entry that is damaged, or that another user
//! could have written, is not used and is compiled again.

use std::fs::{self, DirBuilder, File, ReadDir};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, fchmod, fstat,
    futimens, open, openat, renameat, statat, unlinkat,
};
use rustix::process::{Uid, geteuid};
use sha2::{Digest as _, Sha256};

use super::machine_code::MachineCode;
use super::temp_file::{self, TempFile, TempName};
use crate::event::Digest;
use crate::files::{open_folder, private};

/// The most machine code in the cache, in bytes; the least recently used goes first. A Python
/// plugin has 35 MB.
const MAX_CACHED_BYTES: u64 = 1 << 30;

/// The most entries in the cache.
const MAX_CACHED: usize = 2_000;

/// A temporary file older than this was left by a process that was killed, in seconds.
const STALE_S: i64 = 3_600;

/// The ending of the names of plugin files in the folder; see [`super::files`].
pub(super) const FILE_ENDING: &str = ".plugin";

/// Marks a folder that is being emptied. The bit means nothing for a folder that one user writes.
const EMPTYING: Mode = Mode::SVTX;

/// A folder of machine code.
#[derive(Debug, Clone)]
pub struct Cache {
    pub(super) dir: PathBuf,
    pub(super) writes: bool,
    /// Where to look for what is not here.
    other: Option<Box<Self>>,
}

impl Cache {
    /// The folder at `dir`, created when it is needed.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir, writes: true, other: None }
    }

    /// The same, where nothing is created or changed.
    pub fn read_only(dir: PathBuf) -> Self {
        Self { dir, writes: false, other: None }
    }

    /// The same, and `other` for what is not found there.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { other: Some(Box::new(other)), ..self }
    }

    /// Takes over the folder `former` of an older hookbox, if this one is not there yet and all in
    /// the other is machine code.
    pub fn take_over(&self, former: &Path) {
        let is_code = |name: &str| {
            let is_entry =
                name.split_once('.').is_some_and(|(_, digest)| digest.parse::<Digest>().is_ok());
            is_entry || name.ends_with(temp_file::ENDING)
        };
        let is_ours = |mut entries: ReadDir| {
            entries.all(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_code))
            })
        };
        if !self.dir.exists()
            && fs::read_dir(former).is_ok_and(is_ours)
            && let Err(error) = fs::rename(former, &self.dir)
        {
            tracing::warn!(error = %error, "{} is not used any more, and can be removed", former.display());
        }
    }

    /// The code under `key`, if there is any that can be trusted.
    pub(super) fn find(&self, key: &str) -> Option<MachineCode> {
        self.find_here(key).or_else(|| self.other.as_ref()?.find(key))
    }

    fn find_here(&self, key: &str) -> Option<MachineCode> {
        let dir = match self.open() {
            Ok(dir) => dir?,
            Err(why) => {
                let (dir, hint) = (self.dir.display(), "plugins are compiled at every start");
                tracing::warn!(error = %why, "the folder of compiled plugins, {dir}, is not used: {hint}");
                return None;
            }
        };
        let names = names(&dir).unwrap_or_default();
        names.iter().filter(|name| name.split_once('.').is_some_and(|(its,
            _)| its == key)).find_map(|name| {
            match verify(&dir, name) {
                Ok(file) => {
                    self.touch(&file);
                    Some(MachineCode(file))
                }
                Err(why) => {
                    let path = self.dir.join(name);
                    tracing::warn!(error = %why, path = %path.display(), "a compiled plugin is not used, and is compiled again");
                    if self.writes {
                        // If it stays, the next start finds it damaged once more.
                        let _ = unlinkat(&dir, name.as_str(), AtFlags::empty());
                    }
                    None
                }
            }
        })
    }

    /// A new file in the folder; `None` if nothing may or can be cached.
    pub(super) fn temp_file(&self) -> Option<TempFile> {
        if !self.writes {
            return None;
        }
        let dir = self.open().ok().flatten()?;
        TempFile::named(dir).ok()
    }

    /// Renames a temporary file to an entry, and deletes entries beyond the limits.
    pub(super) fn keep(&self, name: TempName, file: &File, key: &str) {
        let kept = sha256(file).and_then(|digest| {
            Ok(renameat(&name.dir, &name.name, &name.dir, format!("{key}.{digest}"))?)
        });
        match kept {
            Ok(()) => prune(&name.dir, MAX_CACHED_BYTES, MAX_CACHED),
            Err(error) => tracing::warn!(error = %error, "a compiled plugin is not cached"),
        }
    }

    /// The folder, if it is there and can be trusted.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>, String> {
        if self.writes {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
            // Something else may be there, which is named below.
            made.or_else(|error| if self.dir.exists() { Ok(()) } else { Err(error) })
                .map_err(|error| format!("it cannot be made: {error}"))?;
        }
        let Some(dir) = open_folder(&self.dir).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let parent = self.dir.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let around = open(parent, flags, Mode::empty()).and_then(fstat);
        fit_around(&around.map_err(|errno| errno.to_string())?)?;
        if self.writes {
            self.take_back(&dir)
                .map_err(|error| format!("its mode cannot be set right: {error}"))?;
        }
        // Asked again, because its mode may be another one now.
        let stat = fstat(&dir).map_err(|errno| errno.to_string())?;
        fit(&stat, FileType::Directory, geteuid())?;
        match Mode::from_raw_mode(stat.st_mode).contains(EMPTYING) {
            true => Err("it waits to be emptied by its host".to_owned()),
            false => Ok(Some(dir)),
        }
    }

    /// Empties a folder that a group of this process could write, and makes it this user's alone.
    fn take_back(&self, dir: &OwnedFd) -> io::Result<()> {
        let stat = fstat(dir)?;
        let (mode, ours) = (Mode::from_raw_mode(stat.st_mode), stat.st_uid == geteuid().as_raw());
        let shared = private::writers(&stat) == Ok(private::Writers::OurGroup);
        if !ours || !(shared || mode.contains(EMPTYING)) || mode.contains(Mode::WOTH) {
            return Ok(());
        }
        // If this process ends in between, the next one goes on with it.
        fchmod(dir, private::FOLDER | EMPTYING)?;
        // A plugin file is no machine code, and counts only if its content is what its name says.
        for name in names(dir)?.into_iter().filter(|name| !name.ends_with(FILE_ENDING)) {
            // A folder stays, and is never read.
            let _ = unlinkat(dir, name.as_str(), AtFlags::empty());
        }
        private::close_files(dir)?;
        fchmod(dir, private::FOLDER)?;
        let (path, hint) = (self.dir.display(), "it is emptied, and its mode is 0700 again");
        tracing::warn!("a group could write the folder of compiled plugins, {path}: {hint}");
        Ok(())
    }

    /// Records that an entry is used.
    fn touch(&self, file: &File) {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        if self.writes {
            // It only decides which entry goes first.
            let _ = futimens(file, &Timestamps { last_access: now, last_modification: now });
        }
    }
}

/// Opens an entry and checks it against its name.
fn verify(dir: &OwnedFd, name: &str) -> Result<File, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::empty()).map_err(|errno| errno.to_string())?;
    fit(&fstat(&file).map_err(|errno| errno.to_string())?, FileType::RegularFile, geteuid())?;
    let file = File::from(file);
    let digest = sha256(&file).map_err(|error| error.to_string())?;
    match name.rsplit_once('.') {
        Some((_, expected)) if expected == digest => Ok(file),
        _ => Err("it is not what was written".to_owned()),
    }
}

/// SHA-256 of a whole file, in hex.
fn sha256(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Whether a file is of this kind, and only `user` can write it.
fn fit(stat: &Stat, kind: FileType, user: Uid) -> Result<(), String> {
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err("it is a link, or of another kind".to_owned());
    }
    if stat.st_uid != user.as_raw() {
        return Err(format!(
            "it belongs to the user with the number {}, not to this one",
            stat.st_uid
        ));
    }
    match Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
        true => Err("others may write it: take that away with `chmod go-w`".to_owned()),
        false => Ok(()),
    }
}

/// Whether the folder around it keeps strangers from moving it. A group may, because many systems
/// give every user one.
fn fit_around(stat: &Stat) -> Result<(), String> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    match mode.contains(Mode::WOTH) && !mode.contains(Mode::SVTX) {
        true => {
            Err("everyone may write the folder it is in: take that away with `chmod o-w`"
                .to_owned())
        }
        false => Ok(()),
    }
}

pub(super) fn names(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        names.extend(entry?.file_name().to_str().ok().map(str::to_owned));
    }
    Ok(names)
}

/// Removes the least recently used entries until the rest is within the limits, and temporary files
/// that nobody will finish.
fn prune(dir: impl AsFd, max_bytes: u64, max: usize) {
    let dir = dir.as_fd();
    let Ok(owned) = dir.try_clone_to_owned() else { return };
    let mut entries = Vec::new();
    for name in
        names(&owned).unwrap_or_default().into_iter().filter(|name| !name.ends_with(FILE_ENDING))
    {
        let Ok(stat) = statat(dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let time = (stat.st_mtime, stat.st_mtime_nsec);
            entries.push((time, u64::try_from(stat.st_size).unwrap_or(0), name));
        }
    }
    // Newest first. The file that was just cached is the newest, and its time is the folder's
    // clock.
    entries.sort_by(|a, b| b.cmp(a));
    let newest_s = entries.first().map_or(0, |((second, _), ..)| *second);
    let (mut bytes, mut count) = (0, 0);
    for ((second, _), size, name) in entries {
        let goes = match name.ends_with(temp_file::ENDING) {
            // A younger one may be in use by another process.
            true => second < newest_s - STALE_S,
            false => {
                (bytes, count) = (bytes + size, count + 1);
                // The newest entry stays even if it alone is too large, since it was made only just
                // now.
                count > 1 && (bytes > max_bytes || count > max)
            }
        };
        if goes {
            let _ = unlinkat(dir, name.as_str(), AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests;
