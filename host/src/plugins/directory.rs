//! The plugins folder, scanned without trust: names, kinds and sizes are checked before a byte is
//! read.
//!
//! Only regular files are plugins: files in the folder, and targets of links that stay in it, as in
//! a ConfigMap volume. A pipe or device is never opened, because reading it may never end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, statat};
use rustix::io::Errno;

use crate::files::{beneath, instead_of_folder, kind_name};
use crate::names::{MAX_NAME_BYTES, PluginName, is_plugin_name};
use crate::sandbox;

/// The most plugins a folder may hold. With more, the folder is refused as a whole and nothing
/// changes.
pub const MAX_PLUGINS: usize = 1_000;

/// The largest plugin file, in bytes.
pub const MAX_FILE_BYTES: u64 = sandbox::MAX_FILE_BYTES as u64;

/// The most misnamed files that are reported one by one.
const MAX_MISNAMED: usize = 20;

/// Tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    /// In bytes.
    pub(super) size: u64,
    modified_ns: i128,
    changed_ns: i128,
}

/// The file that a scan found under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ObservedFile {
    /// No file.
    #[default]
    Absent,
    /// A regular file that is worth reading.
    File { file_name: String, fingerprint: Fingerprint },
    /// A file that cannot be a plugin, and why.
    Unfit(String),
}

/// The files of the whole folder.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) entries: BTreeMap<PluginName, ObservedFile>,
    /// Files with a plugin's ending and a name no plugin can have.
    pub(super) misnamed: Vec<String>,
}

impl Scan {
    /// The file under `name`.
    pub(super) fn get(&self, name: &str) -> &ObservedFile {
        self.entries.get(name).unwrap_or(&ObservedFile::Absent)
    }
}

/// An open plugins folder. Reads stay in this folder even if its path is moved meanwhile.
#[derive(Debug)]
pub(super) struct Directory {
    handle: OwnedFd,
    path: PathBuf,
    /// The beginnings of absolute link targets that stay in the folder.
    paths: Vec<PathBuf>,
}

impl Directory {
    /// Opens the folder; `path` itself may be a link.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open(path, flags, Mode::empty()) {
            Ok(handle) => {
                let paths =
                    std::iter::once(path.to_owned()).chain(fs::canonicalize(path).ok()).collect();
                Ok(Self { handle, path: path.to_owned(), paths })
            }
            Err(Errno::NOTDIR) => Err(unreadable(path, instead_of_folder(path))),
            Err(errno) => Err(unreadable(path, errno)),
        }
    }

    /// Lists the folder; opens no file.
    pub(super) fn scan(&self) -> Result<Scan, String> {
        let mut found: BTreeMap<PluginName, Vec<String>> = BTreeMap::new();
        let mut scan = Scan::default();
        for entry in Dir::read_from(&self.handle).map_err(|errno| unreadable(&self.path, errno))? {
            let entry = entry.map_err(|errno| unreadable(&self.path, errno))?;
            match classify(entry.file_name().to_bytes()) {
                Named::Other => {}
                Named::Plugin { name, file_name } => {
                    found.entry(name.into()).or_default().push(file_name.to_owned())
                }
                Named::Misnamed(text) => scan.misnamed.push(text),
            }
            if found.len() > MAX_PLUGINS {
                return Err(format!(
                    "{} holds more than {MAX_PLUGINS} plugin files",
                    self.path.display()
                ));
            }
            if scan.misnamed.len() > MAX_MISNAMED {
                scan.misnamed.truncate(MAX_MISNAMED);
            }
        }
        scan.misnamed.sort();
        scan.entries = found.into_iter().map(|(name, files)| (name, self.judge(files))).collect();
        scan.entries.retain(|_, observed| *observed != ObservedFile::Absent);
        Ok(scan)
    }

    fn judge(&self, mut file_names: Vec<String>) -> ObservedFile {
        file_names.sort();
        let [file_name] = file_names.as_slice() else {
            return ObservedFile::Unfit(format!(
                "{} stand side by side: keep one of them",
                file_names.join(" and ")
            ));
        };
        match statat(&self.handle, file_name.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                self.judge_link(file_name)
            }
            Ok(stat) => match fit(&stat) {
                Ok(()) => ObservedFile::File {
                    file_name: file_name.clone(),
                    fingerprint: Fingerprint::of(&stat),
                },
                Err(why) => ObservedFile::Unfit(format!("{file_name} {why}")),
            },
            // Removed since it was listed.
            Err(Errno::NOENT) => ObservedFile::Absent,
            Err(errno) => ObservedFile::Unfit(unreadable(&self.path.join(file_name), errno)),
        }
    }

    fn judge_link(&self, file_name: &str) -> ObservedFile {
        let unfit =
            |why: String| ObservedFile::Unfit(format!("{file_name} is a symbolic link that {why}"));
        let resolved = match beneath::follow(self.handle.as_fd(), &self.paths, file_name.as_ref()) {
            Ok(resolved) => resolved,
            Err(error @ beneath::LinkError::Out) => {
                return unfit(format!("{error}, and is not followed: copy the file itself here"));
            }
            Err(error) => return unfit(error.to_string()),
        };
        match statat(
            resolved.folder(self.handle.as_fd()),
            resolved.name(),
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => match fit(&stat) {
                Ok(()) => ObservedFile::File {
                    file_name: file_name.to_owned(),
                    fingerprint: Fingerprint::of(&stat),
                },
                Err(why) => unfit(format!("leads to something that {why}")),
            },
            Err(errno) => unfit(format!("cannot be followed: {}", io::Error::from(errno))),
        }
    }

    /// Reads a whole file. `Ok(None)` if it is not the scanned one, before or after the read.
    pub(super) fn read(
        &self,
        file_name: &str,
        scanned: &Fingerprint,
    ) -> Result<Option<Vec<u8>>, String> {
        let path = self.path.join(file_name);
        let Ok(resolved) = beneath::follow(self.handle.as_fd(), &self.paths, file_name.as_ref())
        else {
            return Ok(None);
        };
        // Meanwhile the name may have become a link or a pipe: neither is followed nor waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = match openat(
            resolved.folder(self.handle.as_fd()),
            resolved.name(),
            flags,
            Mode::empty(),
        ) {
            Ok(handle) => handle,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(unreadable(&path, errno)),
        };
        let same = |handle: &OwnedFd| {
            fstat(handle).map(|stat| fit(&stat).is_ok() && Fingerprint::of(&stat) == *scanned)
        };
        if !same(&handle).map_err(|errno| unreadable(&path, errno))? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = File::from(handle);
        (&file)
            // One byte more, so that a file that has grown is seen to have.
            .take(scanned.size + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(&path, error))?;
        let unchanged = same(&file.into()).map_err(|errno| unreadable(&path, errno))?;
        Ok((unchanged && bytes.len() as u64 == scanned.size).then_some(bytes))
    }
}

impl Fingerprint {
    #[expect(clippy::unnecessary_cast, reason = "the fields have other types on other platforms")]
    fn of(stat: &Stat) -> Self {
        let nanoseconds = |seconds: i128, rest: i128| seconds * 1_000_000_000 + rest;
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified_ns: nanoseconds(stat.st_mtime.into(), stat.st_mtime_nsec.into()),
            changed_ns: nanoseconds(stat.st_ctime.into(), stat.st_ctime_nsec.into()),
        }
    }
}

fn fit(stat: &Stat) -> Result<(), String> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(format!("is {}, not a file", kind_name(kind)));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    match size <= MAX_FILE_BYTES {
        true => Ok(()),
        false => Err(format!("has {size} bytes, more than the {MAX_FILE_BYTES} a plugin may have")),
    }
}

enum Named<'a> {
    Plugin { name: &'a str, file_name: &'a str },
    Misnamed(String),
    Other,
}

fn classify(file_name: &[u8]) -> Named<'_> {
    // Hidden files are what editors and copying tools leave while they work.
    if file_name.starts_with(b".") {
        return Named::Other;
    }
    let stem = file_name.strip_suffix(b".wasm").or_else(|| file_name.strip_suffix(b".wat"));
    let Some(stem) = stem else { return Named::Other };
    match (str::from_utf8(stem), str::from_utf8(file_name)) {
        (Ok(name), Ok(file_name)) if is_plugin_name(name) => Named::Plugin { name, file_name },
        _ => Named::Misnamed(format!(
            "{:?} is not a plugin name: 1 to {MAX_NAME_BYTES} letters, digits, `_` and `-`, then `.wasm` or `.wat`",
            OsStr::from_bytes(file_name)
        )),
    }
}

fn unreadable(path: &Path, error: impl Into<io::Error>) -> String {
    format!("failed to read {}: {}", path.display(), error.into())
}

#[cfg(test)]
mod tests;
