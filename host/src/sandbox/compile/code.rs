//! Machine code on its way into this process: a file the compiler writes, and the one place that trusts its content.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

use super::cache::{Cache, Place};
use crate::sandbox::load::link::{self, Code, LoadError};

/// The longest reason for a refusal, in bytes.
const MAX_REASON_BYTES: u64 = 16 << 10;

/// A file that the compiler is writing. Nobody else knows it; unless it is finished, nothing is left of it.
#[derive(Debug)]
pub(super) struct Draft {
    file: File,
    /// Where it has a name.
    place: Option<Place>,
}

impl Draft {
    /// One that is nowhere to be found.
    pub(super) fn without_name(dir: &Path) -> io::Result<Self> {
        let path = dir.join(draft_name()?);
        let file = create(CWD, &path)?;
        unlinkat(CWD, &path, AtFlags::empty())?;
        Ok(Self { file: file.into(), place: None })
    }

    /// One that may be kept.
    pub(super) fn at(place: Place, file: OwnedFd) -> Self {
        Self { file: file.into(), place: Some(place) }
    }

    /// The same file, for the compiler.
    pub(super) fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    /// Its content as a reason for a refusal.
    pub(super) fn text(&self) -> String {
        let mut text = Vec::new();
        let read = (&self.file).rewind().and_then(|()| (&self.file).take(MAX_REASON_BYTES).read_to_end(&mut text));
        match read {
            Ok(_) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("the reason cannot be read: {error}"),
        }
    }

    /// Takes what the compiler wrote for machine code, and keeps it if there is where.
    pub(super) fn finish(mut self, key: &str, cache: Option<&Cache>) -> Verified {
        if let (Some(place), Some(cache)) = (self.place.take(), cache) {
            cache.keep(place, &self.file, key);
        }
        Verified(self.file)
    }
}

/// Creates a file for this user alone.
pub(super) fn create(dir: impl std::os::fd::AsFd, path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, path, flags, Mode::RUSR | Mode::WUSR)?)
}

/// A name that nothing has.
pub(super) fn draft_name() -> io::Result<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(format!("{}{DRAFT_ENDING}", hex::encode(random)))
}

/// What the names of drafts end with.
pub(super) const DRAFT_ENDING: &str = ".hookbox-draft";

/// SHA-256 of a whole file, in hex.
pub(super) fn sha256(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// A file that holds what a compiler of this host wrote: [`Draft::finish`] and [`Cache::find`] make one, nobody else.
#[derive(Debug)]
pub(super) struct Verified(pub(super) File);

impl Verified {
    /// Loads it: mapped, so that only what is used takes memory, or read if it lies where nothing may be executed.
    #[expect(unsafe_code, reason = "machine code cannot be checked, only where it comes from: see SAFETY")]
    pub(super) fn load(&self, engine: &Engine) -> Result<Code, LoadError> {
        // The open file by itself: nothing that happens to names can put another one in its place.
        let path = format!("/dev/fd/{}", self.0.as_raw_fd());
        // SAFETY: wasmtime wants the output of `Engine::precompile_*`, unchanged, and unchanged for as long as it is
        // mapped; it checks itself that engine and version are those it was made for.
        // - A `Verified` is made of a file that a child of this process has just written under a name nobody was told,
        //   or of one found in the cache: a regular file of this user that nobody else may write, in a folder of this
        //   user that nobody else may write, both looked at through the descriptors that are used here, whose SHA-256 is
        //   the one that was taken when a child had written it. A torn or damaged file has another. All files that a
        //   folder held while a group could write it are deleted, not looked at.
        // - No process of this host opens such a file for writing once it has its name; it is replaced and deleted by
        //   name only, which leaves what is mapped as it is.
        // - What remains is this user, who may write it, and root. Both can replace the program itself.
        unsafe {
            let mapped = match Engine::detect_precompiled_file(&path) {
                Ok(Some(Precompiled::Component)) => {
                    Component::deserialize_file(engine, &path).map(Code::Component).ok()
                }
                Ok(Some(Precompiled::Module)) => Module::deserialize_file(engine, &path).map(Code::Module).ok(),
                _ => None,
            };
            if let Some(code) = mapped {
                return Ok(code);
            }
            let mut bytes = Vec::new();
            (&self.0)
                .rewind()
                .and_then(|()| (&self.0).read_to_end(&mut bytes))
                .map_err(|error| LoadError::Compiler(format!("wrote what cannot be read again: {error}")))?;
            match Engine::detect_precompiled(&bytes) {
                Some(Precompiled::Component) => Component::deserialize(engine, &bytes).map(Code::Component),
                Some(Precompiled::Module) => Module::deserialize(engine, &bytes).map(Code::Module),
                None => return Err(LoadError::Compiler("wrote no machine code".to_owned())),
            }
            .map_err(link::invalid)
        }
    }
}
