//! Machine code: the one place that trusts the content of a file.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

use crate::sandbox::load::{Code, LoadError};

/// A file that holds what a compiler of this host wrote.
///
/// Only `Cache::find` and `ChildCompiler::compile` make one.
#[derive(Debug)]
pub(super) struct MachineCode(pub(super) File);

impl MachineCode {
    /// Loads it: mapped, so that only what is used takes memory, or read if nothing may be executed
    /// where the file is.
    #[expect(
        unsafe_code,
        reason = "machine code cannot be checked, only where it comes from: see SAFETY"
    )]
    pub(super) fn load(&self, engine: &Engine) -> Result<Code, LoadError> {
        // The open file itself: nothing that happens to its name can put another one in its place.
        let path = format!("/dev/fd/{}", self.0.as_raw_fd());
        // SAFETY: wasmtime wants the output of `Engine::precompile_*`, unchanged, and unchanged for
        // as long as it is mapped. It checks itself that engine and version
        // are those the code was made for.
        // - A `MachineCode` is made of a file that a child of this process has just written under a
        //   name that nobody was told, or of a file found in the cache. The latter is a regular
        //   file of this user that nobody else may write, in a folder of this user that nobody else
        //   may write. Both were checked through the descriptors that are used here, and the file's
        //   SHA-256 is the one that was taken when a child had written it. A torn or damaged file
        //   has another. All files that a folder held while a group could write it are deleted
        //   unread, but for plugin files: their names do not end with a SHA-256, so none is taken
        //   for machine code.
        // - No process of this host opens such a file for writing once it has its name. It is
        //   replaced and deleted by name only, which leaves what is mapped as it is.
        // - This user, who may write it, and root remain. Both can replace the program.
        unsafe {
            let mapped = match Engine::detect_precompiled_file(&path) {
                Ok(Some(Precompiled::Component)) => {
                    Component::deserialize_file(engine, &path).map(Code::Component).ok()
                }
                Ok(Some(Precompiled::Module)) => {
                    Module::deserialize_file(engine, &path).map(Code::Module).ok()
                }
                _ => None,
            };
            if let Some(code) = mapped {
                return Ok(code);
            }
            let mut bytes = Vec::new();
            (&self.0).rewind().and_then(|()| (&self.0).read_to_end(&mut bytes)).map_err(
                |error| LoadError::Compiler(format!("wrote a file that cannot be read: {error}")),
            )?;
            match Engine::detect_precompiled(&bytes) {
                Some(Precompiled::Component) => {
                    Component::deserialize(engine, &bytes).map(Code::Component)
                }
                Some(Precompiled::Module) => Module::deserialize(engine, &bytes).map(Code::Module),
                None => return Err(LoadError::Compiler("wrote no machine code".to_owned())),
            }
            .map_err(LoadError::invalid)
        }
    }
}
