//! The file that a compiler writes to. Nobody else knows its name, and unless it is kept nothing is
//! left of it.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{AtFlags, CWD, unlinkat};

pub(super) use crate::files::private::TEMPORARY_ENDING as ENDING;
use crate::files::private::{create, unused_name};

/// The longest reason for a refusal, in bytes.
const MAX_REASON_BYTES: u64 = 16 << 10;

/// A file that the compiler is writing.
#[derive(Debug)]
pub(super) struct TempFile {
    pub(super) file: File,
    /// Its name, if it may be kept.
    pub(super) name: Option<TempName>,
}

/// The name of a file in a folder, removed when it is dropped.
#[derive(Debug)]
pub(super) struct TempName {
    pub(super) dir: OwnedFd,
    pub(super) name: String,
}

impl Drop for TempName {
    fn drop(&mut self) {
        // The file may have another name by now, which stays.
        let _ = unlinkat(&self.dir, &self.name, AtFlags::empty());
    }
}

impl TempFile {
    /// Creates a file in a folder, where it may be kept under another name.
    pub(super) fn named(dir: OwnedFd) -> io::Result<Self> {
        let name = unused_name()?;
        let file = create(&dir, &name)?.into();
        Ok(Self { file, name: Some(TempName { dir, name }) })
    }

    /// Creates a file that has no name.
    pub(super) fn unnamed(dir: &Path) -> io::Result<Self> {
        let path = dir.join(unused_name()?);
        let file = create(CWD, &path)?.into();
        // The open file lives on without its name, and is gone with the last descriptor.
        unlinkat(CWD, &path, AtFlags::empty())?;
        Ok(Self { file, name: None })
    }

    /// The same file, for the compiler.
    pub(super) fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    /// Its content as the reason for a refusal.
    pub(super) fn text(&self) -> String {
        let mut text = Vec::new();
        let mut file = &self.file;
        // The child has written through the same open file, and left its position at the end.
        let read = file.rewind().and_then(|()| file.take(MAX_REASON_BYTES).read_to_end(&mut text));
        match read {
            Ok(_) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("the reason cannot be read: {error}"),
        }
    }
}
