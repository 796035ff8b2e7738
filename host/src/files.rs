//! Opens files that people and other programs have written, without trusting their kind.
//!
//! Opening a named pipe can block for ever, and opening a device may have effects. So the kind of a
//! file is checked before it is opened without blocking, and checked again afterwards. `beneath`
//! follows links that stay within a folder. `private` is for folders that belong to the host alone.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, lstat, open, stat};
use rustix::io::Errno;

pub mod beneath;
pub mod private;

/// Names the kind of a file, with its article: `a named pipe`.
pub fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Symlink => "a symbolic link",
        FileType::Directory => "a folder",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}

/// Opens a regular file to read it; links are followed.
///
/// # Errors
/// It cannot be opened, or it is no regular file. The kind is [`io::ErrorKind::IsADirectory`] for a
/// folder, and [`io::ErrorKind::InvalidInput`] for anything else.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Opening some devices already has an effect.
    regular(stat(path)?.st_mode)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    regular(fstat(&file)?.st_mode)?;
    Ok(file.into())
}

/// Reads a whole regular file of at most `max_bytes`.
///
/// # Errors
/// As for [`open_regular`]; [`io::ErrorKind::FileTooLarge`] if it is longer.
pub fn read_regular(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let length = file.metadata()?.len().min(max_bytes).saturating_add(1);
    // In one allocation: a buffer that grows would leave copies of a secret in memory.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {max_bytes} bytes"),
        ));
    }
    Ok(bytes)
}

/// Opens a folder, but no link to one; `None` if nothing has that name.
///
/// # Errors
/// It cannot be opened, or it is no folder ([`io::ErrorKind::NotADirectory`]).
pub fn open_folder(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(no_folder(lstat(path))),
        Err(errno) => Err(errno.into()),
    }
}

/// The error for a path that should be a folder. It names what the path is; links are followed.
pub fn instead_of_folder(path: &Path) -> io::Error {
    no_folder(stat(path))
}

fn no_folder(found: rustix::io::Result<Stat>) -> io::Error {
    match found {
        Ok(found) => {
            let text = format!(
                "it is {}, not a folder",
                kind_name(FileType::from_raw_mode(found.st_mode))
            );
            io::Error::new(io::ErrorKind::NotADirectory, text)
        }
        Err(errno) => errno.into(),
    }
}

fn regular(mode: rustix::fs::RawMode) -> io::Result<()> {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => io::ErrorKind::IsADirectory,
        _ => io::ErrorKind::InvalidInput,
    };
    let text = format!("it is {}, not a file", kind_name(FileType::from_raw_mode(mode)));
    Err(io::Error::new(kind, text))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, mknodat};

    use super::*;

    #[test]
    fn a_pipe_a_folder_and_a_device_are_named_and_never_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let refused = |path: &Path| read_regular(path, 10).unwrap_err().to_string();
        assert_eq!(refused(&pipe), "it is a named pipe, not a file");
        assert_eq!(refused(dir.path()), "it is a folder, not a file");
        assert_eq!(refused(Path::new("/dev/null")), "it is a device, not a file");
        symlink(&pipe, dir.path().join("link")).unwrap();
        assert_eq!(refused(&dir.path().join("link")), "it is a named pipe, not a file");
        let no_folder = |path: &Path| open_folder(path).unwrap_err().to_string();
        assert_eq!(no_folder(&pipe), "it is a named pipe, not a folder");
        assert_eq!(no_folder(&dir.path().join("link")), "it is a symbolic link, not a folder");
        assert_eq!(
            instead_of_folder(&dir.path().join("link")).to_string(),
            "it is a named pipe, not a folder"
        );
        assert!(open_folder(&dir.path().join("absent")).unwrap().is_none());
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
        assert_eq!(read_regular(&path, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(
            read_regular(&dir.path().join("absent"), 9).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
