//! The pair of keys for a source without a public key, if webhooks come from this machine only: the
//! host makes it, or the user puts one there.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::MakeSecrets;
use super::made::own_file;
use crate::config::raw::Sink;
use crate::config::server::Reach;
use crate::config::source::{KeyPair, PublicKeyKind, Secrets};
use crate::config::warnings::Warning;

/// The remedy for a source without a public key.
const HELP: &str = "copy it from the provider: `public_keys = [\"03a107bf…\"]`";

/// A source without a public key.
#[derive(Debug)]
pub(in crate::config) struct Keyless {
    /// The key of the file that would say it.
    pub(in crate::config) key: String,
    /// Its place in the file.
    pub(in crate::config) span: Range<usize>,
    /// The kind of pair that would do; `None` if none does.
    pub(in crate::config) kind: Option<PublicKeyKind>,
}

/// Finds the pair of the source `name` in the file at `path`, or makes it if it may. Problems are
/// written to the sink.
pub(in crate::config) fn settle(
    missing: &Keyless,
    name: &str,
    path: PathBuf,
    (reach, make): (Reach, MakeSecrets),
    sink: &Sink,
) -> Secrets {
    let refuse = |message: String, help: String| {
        sink.problem(Some(missing.span.clone()), message, help);
        Secrets::Missing("no public key is set".to_owned())
    };
    let none = format!("`{}` names no public key", missing.key);
    let kind = match (reach, missing.kind) {
        (Reach::ThisMachine, Some(kind)) => kind,
        (reach, kind) => return refuse(none + &unused(reach, kind, &path), HELP.to_owned()),
    };
    let can_make = KeyPair::can_make(kind);
    let make = if can_make { make } else { MakeSecrets::No };
    let text = own_file(&path, make, || KeyPair::make(kind).map_err(io::Error::other));
    let found = match text {
        Ok(Some(text)) => KeyPair::read(kind, &text),
        Ok(None) if can_make => {
            let what = "no public key is set; `hookbox serve` makes a pair of keys for tests, because \
                        `server.listen` is a loopback address";
            sink.warn(Warning::of_working_source(name, what));
            return Secrets::Missing(what.to_owned());
        }
        Ok(None) => {
            let own = format!(
                "; for tests on this machine put a pair into {}, for example of `openssl genpkey \
                 -algorithm RSA`, because this host cannot make one of RSA",
                path.display()
            );
            return refuse(none, format!("{HELP}{own}"));
        }
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(pair) => {
            let what = format!(
                "no public key is set; the pair of keys in {} is used instead, which `hookbox send` \
                 signs with: it is for tests, so set `public_keys` before others reach this host",
                path.display()
            );
            sink.warn(Warning::of_working_source(name, &what));
            Secrets::Pair { pair, path }
        }
        Err(error) => {
            let message = format!("the pair of keys in {} cannot be used: {error}", path.display());
            let help = if can_make {
                "set `public_keys`; or delete that file, and the host makes a new one, if it may \
                 write to `server.data_dir`"
            } else {
                "set `public_keys`, or write one of 2,048 to 4,096 bits with `openssl genpkey \
                 -algorithm RSA`"
            };
            refuse(message, help.to_owned())
        }
    }
}

/// The reason why a pair that is there is of no use, to stand behind the problem.
fn unused(reach: Reach, kind: Option<PublicKeyKind>, path: &Path) -> String {
    match (reach, kind) {
        (Reach::Others(why), Some(_)) if path.exists() => format!(
            "; the pair of keys in {} is not used, because others reach this host: {why}",
            path.display()
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const OTHERS: Reach = Reach::Others("it is");

    fn missing(kind: PublicKeyKind) -> Keyless {
        Keyless { key: "sources.acme".to_owned(), span: 0..0, kind: Some(kind) }
    }

    #[test]
    fn a_made_pair_is_private_and_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        for kind in [PublicKeyKind::Ed25519, PublicKeyKind::P256] {
            let path = folder.path().join(format!("data/secrets/{kind:?}.pair"));
            let public = |make| {
                let sink = Sink::default();
                let made =
                    settle(&missing(kind), "acme", path.clone(), (Reach::ThisMachine, make), &sink);
                assert!(sink.is_empty());
                assert_eq!(sink.take_warnings().len(), 1);
                match made {
                    Secrets::Pair { pair, .. } => Some(pair.public()),
                    _ => None,
                }
            };
            assert_eq!(public(MakeSecrets::No), None);
            assert!(!path.exists(), "who only looks makes nothing");
            let first = public(MakeSecrets::Yes);
            assert!(first.is_some());
            assert_eq!(public(MakeSecrets::No), first);
            assert_eq!(public(MakeSecrets::Yes), first);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let secrets = folder.path().join("data/secrets");
        assert_eq!(fs::metadata(&secrets).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&secrets).unwrap().count(), 2, "no temporary file stays");
    }

    #[test]
    fn a_listener_that_others_reach_has_no_pair() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets/acme.pair");
        let sink = Sink::default();
        let kind = missing(PublicKeyKind::Ed25519);
        let made = settle(&kind, "acme", path.clone(), (OTHERS, MakeSecrets::Yes), &sink);
        assert!(matches!(made, Secrets::Missing(_)) && !path.exists());
        let (problems, _) = sink.into_parts();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].message, "`sources.acme` names no public key");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, "a pair for tests").unwrap();
        let sink = Sink::default();
        settle(&kind, "acme", path.clone(), (OTHERS, MakeSecrets::Yes), &sink);
        let (problems, _) = sink.into_parts();
        let said = format!("{} is not used, because others reach this host: it is", path.display());
        assert!(problems[0].message.contains(&said), "{problems:?}");
    }

    #[test]
    fn a_file_that_is_no_pair_is_named_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme.pair");
        fs::write(&path, "no pair").unwrap();
        for kind in [PublicKeyKind::P256, PublicKeyKind::Rsa] {
            let sink = Sink::default();
            settle(
                &missing(kind),
                "acme",
                path.clone(),
                (Reach::ThisMachine, MakeSecrets::Yes),
                &sink,
            );
            let (problems, _) = sink.into_parts();
            assert!(problems[0].message.contains("not a private key in PEM"), "{problems:?}");
            assert_eq!(fs::read(&path).unwrap(), b"no pair");
        }
    }
}
