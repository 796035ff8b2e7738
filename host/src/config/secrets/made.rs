//! The secret that the host makes itself for a source that has none, if webhooks come from this
//! machine only, and the files that keep such secrets.
//!
//! Invariant: a secret file appears whole, with mode 0600, and is never replaced.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use zeroize::Zeroizing;

use super::{BASE64, FoundSecrets, MakeSecrets, has_folder, key, read_made};
use crate::config::raw::Sink;
use crate::config::server::Reach;
use crate::config::source::{KeyEncoding, KeyFormat, Secrets};
use crate::config::warnings::Warning;
use crate::files::private::IfThere;
use crate::files::{self, private};

/// The length of a key that the host makes, in bytes.
const MADE_KEY_BYTES: usize = 32;

/// The use of a secret that the host made, for people.
const FOR_TESTS: &str = "That is for tests, because `server.listen` is a loopback address: webhooks of a provider \
                         are refused with 401 until its secret is set";

/// The way a source without any key gets one.
#[derive(Debug)]
pub(in crate::config) struct Fallback<'a> {
    /// The reach of the listener.
    pub(in crate::config) reach: Reach,
    /// The file that holds the key the host makes.
    pub(in crate::config) path: PathBuf,
    /// Whether it may be made now.
    pub(in crate::config) make: MakeSecrets,
    /// The format of a key.
    pub(in crate::config) format: &'a KeyFormat,
}

/// Completes the keys of the source `name`.
pub(in crate::config) fn settle(
    found: FoundSecrets,
    name: &str,
    fallback: &Fallback<'_>,
    sink: &Sink,
) -> Secrets {
    if !found.keys.is_empty() {
        if !found.unset.is_empty() {
            let are = if found.unset.len() == 1 { "is" } else { "are" };
            let unset = found.unset.join(", ");
            let what = format!("{unset} {are} empty or absent; only its other secrets are in use");
            sink.warn(Warning::of_source(name, &what));
        }
        return Secrets::Set(found.keys);
    }
    let unset = unset(&found);
    let path = fallback.path.clone();
    if let Reach::Others(why) = fallback.reach {
        return missing(name, &unset, (why, &path), sink);
    }
    let made = own_secret(fallback);
    match made.map(|text| text.map(|text| key(&text, fallback.format, super::MIN_KEY_BYTES))) {
        Ok(Some(Ok(secret))) => {
            let what = format!(
                "{unset}. The secret that this host made is used instead, in {}. {FOR_TESTS}",
                path.display()
            );
            sink.warn(Warning::of_working_source(name, &what));
            Secrets::Generated { secret, path }
        }
        Ok(None) => {
            let what = format!("{unset}. `hookbox serve` makes one. {FOR_TESTS}");
            sink.warn(Warning::of_working_source(name, &what));
            Secrets::Missing(what)
        }
        Ok(Some(Err(error))) => {
            let message = format!(
                "the secret that the host made in {} does not fit: it {error}",
                path.display()
            );
            sink.problem(found.span, message, "delete that file, and the host makes a new one");
            Secrets::Missing(unset)
        }
        Err(_) if !has_folder(&path) => Secrets::Missing(unset),
        Err(error) => {
            let message =
                format!("the host cannot keep a secret of its own in {}: {error}", path.display());
            sink.problem(
                found.span,
                message,
                "set the source's secret, or let the host write to `server.data_dir`",
            );
            Secrets::Missing(unset)
        }
    }
}

/// A source that others reach has no secret of the host.
fn missing(name: &str, unset: &str, (why, path): (&str, &Path), sink: &Sink) -> Secrets {
    let others = format!("because others reach this host: {why}");
    let made = match path.exists() {
        true => {
            let path = path.display();
            format!(". The secret that this host made for tests, in {path}, is not used")
        }
        false => String::new(),
    };
    let what = format!("{unset}. Every post is refused with 503 until one is set, {others}{made}");
    sink.warn(Warning::of_source(name, &what));
    Secrets::Missing(what)
}

/// The places in which a secret was looked for, in a sentence.
fn unset(found: &FoundSecrets) -> String {
    let bare = |place: &String| {
        let place = place.strip_prefix("the environment ").unwrap_or(place);
        place.strip_prefix("the ").unwrap_or(place).to_owned()
    };
    let places = found.unset.iter().map(bare).collect::<Vec<_>>().join("; ");
    match places.as_str() {
        "" => "it has no secret yet".to_owned(),
        places => format!("it has no secret yet. Looked for: {places}"),
    }
}

/// The text of the secret that the host made, or makes now if it may.
fn own_secret(fallback: &Fallback<'_>) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    own_file(&fallback.path, fallback.make, || secret(fallback.format))
}

/// The text of a file in the host's folder of secrets, which is made now if it may be.
pub(super) fn own_file(
    path: &Path,
    make: MakeSecrets,
    text: impl FnOnce() -> io::Result<Zeroizing<String>>,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let about =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let open = files::open_folder(folder).map_err(about)?;
    if make == MakeSecrets::Yes
        && let Some(open) = open
        && private::restrict(&open).map_err(about)?
    {
        tracing::warn!(path = %folder.display(), "others could write the folder of secrets: its mode is 0700 again");
    }
    match (read_made(path)?, make) {
        (None, MakeSecrets::Yes) => create(path, &text()?).and_then(|()| read_made(path)),
        (text, _) => Ok(text),
    }
}

/// A random secret as a text.
fn secret(format: &KeyFormat) -> io::Result<Zeroizing<String>> {
    let mut key = Zeroizing::new([0u8; MADE_KEY_BYTES]);
    getrandom::fill(key.as_mut_slice()).map_err(|error| io::Error::other(error.to_string()))?;
    let prefix = match (format.prefix.as_str(), format.encoding) {
        ("", KeyEncoding::Utf8 | KeyEncoding::Sha1) => "whsec_",
        (prefix, _) => prefix,
    };
    let coded = match format.encoding {
        KeyEncoding::Hex => hex::encode(key.as_slice()),
        KeyEncoding::Utf8 | KeyEncoding::Sha1 | KeyEncoding::Base64 => {
            BASE64.encode(key.as_slice())
        }
    };
    Ok(Zeroizing::new(format!("{prefix}{coded}\n")))
}

/// Writes a secret, whole or not at all, and never over another one.
fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if let Some(data) = folder.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let name =
        path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    // Where another host was faster, its secret is the one.
    match files::open_folder(folder)? {
        Some(folder) => private::write(&folder, name, text.as_bytes(), IfThere::Keep),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    const PLAIN: KeyFormat = KeyFormat { prefix: String::new(), encoding: KeyEncoding::Utf8 };

    fn coded() -> KeyFormat {
        KeyFormat { prefix: "whsec_".to_owned(), encoding: KeyEncoding::Base64 }
    }

    #[test]
    fn a_made_secret_is_private_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/secrets/heygen");
        for format in [PLAIN, coded()] {
            let fallback = Fallback {
                reach: Reach::ThisMachine,
                path: path.clone(),
                make: MakeSecrets::Yes,
                format: &format,
            };
            let sink = Sink::default();
            let first = settle(FoundSecrets::default(), "s", &fallback, &sink);
            let again = settle(
                FoundSecrets::default(),
                "s",
                &Fallback { make: MakeSecrets::No, ..fallback },
                &sink,
            );
            let (
                Secrets::Generated { secret: first, .. },
                Secrets::Generated { secret: again, .. },
            ) = (first, again)
            else {
                panic!("no secret was made");
            };
            assert_eq!(first.expose_secret(), again.expose_secret());
            assert!(first.expose_secret().len() >= MADE_KEY_BYTES);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(
                fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777,
                0o700
            );
            assert_eq!(
                fs::read_dir(path.parent().unwrap()).unwrap().count(),
                1,
                "the temporary file is gone"
            );
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_made_secret_that_its_group_could_write_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets/heygen");
        create(&path, &secret(&PLAIN).unwrap()).unwrap();
        let chmod = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap()
        };
        let secrets = path.parent().unwrap();
        chmod(&path, 0o660);
        chmod(secrets, 0o2770);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let fallback = Fallback {
            reach: Reach::ThisMachine,
            path: path.clone(),
            make: MakeSecrets::No,
            format: &PLAIN,
        };
        assert!(own_secret(&fallback).unwrap().is_some());
        assert_eq!(mode(secrets), 0o2770, "who only looks changes nothing");
        assert!(own_secret(&Fallback { make: MakeSecrets::Yes, ..fallback }).unwrap().is_some());
        assert_eq!((mode(secrets), mode(&path)), (0o700, 0o600));
    }

    #[test]
    fn what_stands_in_the_place_of_a_made_secret_is_named_and_never_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: PathBuf| {
            let fallback = Fallback {
                reach: Reach::ThisMachine,
                path,
                make: MakeSecrets::Yes,
                format: &PLAIN,
            };
            own_secret(&fallback).unwrap_err().to_string()
        };
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(refused(pipe.clone()), "it is a named pipe, not a file");
        assert_eq!(
            refused(pipe.join("heygen")),
            format!("{}: it is a named pipe, not a folder", pipe.display())
        );
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(refused(folder.path().join("folder")), "it is a folder, not a file");
    }

    #[test]
    fn creating_never_replaces_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets/heygen");
        create(&path, &secret(&PLAIN).unwrap()).unwrap();
        let first = fs::read(&path).unwrap();
        create(&path, &secret(&PLAIN).unwrap()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }
}
