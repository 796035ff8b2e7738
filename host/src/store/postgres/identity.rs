//! The file by which a host is known again after a restart.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::error::PostgresOpenError;
use crate::store::side_file::open_own;

/// The name of the file.
const FILE: &str = "postgres-host";

/// The identity of a host. The file is locked as long as this is there.
#[derive(Debug)]
pub(super) struct HostIdentity {
    pub(super) id: String,
    _file: File,
}

impl HostIdentity {
    /// Reads the file, or draws an identity and writes it.
    pub(super) fn take(folder: &Path) -> Result<Self, PostgresOpenError> {
        let shown = folder.display().to_string();
        let failed =
            |error| PostgresOpenError::Files { folder: folder.display().to_string(), error };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = open_own(&folder.join(FILE)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(PostgresOpenError::InUse(shown));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut id = String::new();
        file.read_to_string(&mut id).map_err(failed)?;
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let mut drawn = [0; 16];
            getrandom::fill(&mut drawn).map_err(|error| failed(error.into()))?;
            id = hex::encode(drawn);
            file.set_len(0).map_err(failed)?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            file.write_all(id.as_bytes()).map_err(failed)?;
            file.sync_all().map_err(failed)?;
        }
        Ok(Self { id, _file: file })
    }
}
