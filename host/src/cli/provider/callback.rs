//! The address of callbacks, which are not signed: it ends in a token that nobody can guess.

use std::path::Path;

use serde_json::json;

use super::secret_files;
use super::talk::{Talk, random};
use crate::cli::failure::Failure;
use crate::cli::output::{Printout, print_json};
use crate::files;
use crate::providers::registered::{callback_file_name, is_callback_token};

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 10;

/// Prints the address, and makes its token if there is none, or another one if `is_new`.
pub(super) fn show(talk: &Talk, is_new: bool) -> Result<(), Failure> {
    let name = &talk.source.name;
    let base = talk.address(None)?;
    let file = callback_file_name(name);
    let path = talk.secrets_dir.join(&file);
    let known = if is_new { None } else { read(&path)? };
    let token = match known {
        Some(token) => token,
        None if talk.dry_run => {
            let mut out = Printout::new();
            out.line(format!("a token would be written to {}", path.display()));
            return out.print();
        }
        None => {
            let (folder, token) = (secret_files::folder(&talk.secrets_dir)?, random()?);
            secret_files::write(&folder, &file, format!("{token}\n").as_bytes()).map_err(
                |error| Failure::failed(format!("cannot write {}: {error}", path.display())),
            )?;
            token
        }
    };
    let url = format!("{base}/{token}");
    if talk.json {
        return print_json(&json!({ "url": url, "file": path.display().to_string() }));
    }
    let mut out = Printout::new();
    out.line(&url);
    out.remark("Whoever knows this address can send events: give it to the provider only.".into());
    if talk.source.provider.callback.is_none() {
        out.remark(format!(
            "The host does not take them yet: add `callback = true` under [sources.{name}], or {{ known = … }}."
        ));
    }
    out.print()
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match files::read_regular(path, MAX_BYTES) {
        Ok(text) if is_callback_token(text.trim_ascii()) => {
            Ok(Some(String::from_utf8_lossy(text.trim_ascii()).into_owned()))
        }
        Ok(_) => Err(Failure::failed(format!(
            "{} is damaged: `--new` makes another token, and the old address ends",
            path.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::failed(format!("{} cannot be read: {error}", path.display()))),
    }
}
