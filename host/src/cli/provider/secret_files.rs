//! Keeps files in the folder of secrets: whole, and for this user alone.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::cli::failure::Failure;
use crate::files::private;
use crate::files::private::IfThere;

/// The folder, made if it is not there. It is opened before anything is asked of a provider: no
/// secret is made which cannot be kept.
pub(super) fn folder(path: &Path) -> Result<OwnedFd, Failure> {
    let failed = |error: io::Error| {
        Failure::failed(format!(
            "secrets cannot be kept in {}: {error} (`server.data_dir` names another folder)",
            path.display()
        ))
    };
    let folder = private::own_folder(path).map_err(failed)?;
    // A folder that cannot be written is found now.
    let probe = private::unused_name().map_err(failed)?;
    private::create(&folder, &probe).map_err(failed)?;
    fs::remove_file(path.join(&probe)).map_err(failed)?;
    Ok(folder)
}

/// Writes a file; another one of this name is replaced.
pub(super) fn write(folder: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
    private::write(folder, name, content, IfThere::Replace)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::failed(format!("{} cannot be removed: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
