//! Files that people and other programs put in place: opened without trust in what they are.
//!
//! A named pipe keeps whoever opens it waiting for ever, and a device may do anything. So a file is
//! looked at before it is opened, opened without waiting, and looked at again. `beneath` follows
//! links that stay within a folder, `private` keeps the host's own folders from everybody else.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, lstat, open, stat};
use rustix::io::Errno;

pub mod beneath;
pub mod private;

/// Says what stands there, with its article: `a named pipe`.
pub fn what(kind: FileType) -> &'static str {
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
/// It cannot be opened; or it is something else, with [`io::ErrorKind::IsADirectory`] for a folder
/// and [`io::ErrorKind::InvalidInput`] for the rest.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Only to open some devices does something already.
    regular(stat(path)?.st_mode)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    regular(fstat(&file)?.st_mode)?;
    Ok(file.into())
}

/// Reads a regular file of at most `max_bytes` whole.
///
/// # Errors
/// As for [`open_regular`]; [`io::ErrorKind::FileTooLarge`] if there is more of it.
pub fn read_regular(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let length = file.metadata()?.len().min(max_bytes).saturating_add(1);
    // In one piece: a secret leaves no copy behind where a buffer was too small.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {max_bytes} bytes")));
    }
    Ok(bytes)
}

/// Opens a folder that is itself no link; `None` if there is nothing under that name.
///
/// # Errors
/// It cannot be opened; or it is something else, with [`io::ErrorKind::NotADirectory`].
pub fn open_folder(path: &Path) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match open(path, flags, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => Err(no_folder(lstat(path))),
        Err(errno) => Err(errno.into()),
    }
}

/// Says what stands in the place of a folder; links are followed.
pub fn instead_of_folder(path: &Path) -> io::Error {
    no_folder(stat(path))
}

fn no_folder(found: rustix::io::Result<Stat>) -> io::Error {
    match found {
        Ok(found) => {
            let text = format!("it is {}, not a folder", what(FileType::from_raw_mode(found.st_mode)));
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
    let text = format!("it is {}, not a file", what(FileType::from_raw_mode(mode)));
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
        assert_eq!(instead_of_folder(&dir.path().join("link")).to_string(), "it is a named pipe, not a folder");
        assert!(open_folder(&dir.path().join("absent")).unwrap().is_none());
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read_regular(&path, 10).unwrap(), b"0123456789");
        assert_eq!(read_regular(&path, 9).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_regular(&dir.path().join("absent"), 9).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
