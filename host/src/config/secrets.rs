//! Resolves `secrets = [{ env = "…" }, { file = "…" }]` into keys; `made` is for a source that has
//! none, `pair` for one without a public key, `stray` for what stands around a secret.
//!
//! Invariant: the text of a secret goes from where it is kept into a [`SecretSlice`] and nowhere
//! else: not into a message, a log or the debug form of anything.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use super::inputs::Input;
use super::raw::{Item, Section};
use super::source::{KeyEncoding, KeyFormat, SecretPlace};
use super::warnings::Warning;
use crate::files;

mod made;
mod pair;
mod registration;
mod stray;

pub(super) use made::{Fallback, settle};
pub(super) use pair::{Keyless, settle as settle_pair};
pub(super) use registration::read as read_registration;
use stray::Stray;

/// The shortest key that is taken, in bytes: a guess of 128 bits.
pub(super) const MIN_KEY_BYTES: usize = 16;

/// The largest file that is read as a secret, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 10;

/// The most secrets a source may have: each one is tried on every request.
const MAX_SECRETS: usize = 8;

/// Providers differ in whether they show padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Whether [`Config::load`](super::Config::load) may create a secret that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakeSecrets {
    /// Creates it, as `serve` does.
    Yes,
    /// Uses one that was made before, but creates nothing.
    No,
}

/// The places of secrets.
pub(super) struct Places<'a> {
    /// Relative files start here: the folder of the configuration file.
    pub(super) base: &'a Path,
    /// Reads an environment variable.
    pub(super) env: &'a dyn Fn(&str) -> Option<OsString>,
}

/// The secrets that the list of a source yields.
#[derive(Debug, Default)]
pub(super) struct FoundSecrets {
    /// The keys that are set.
    pub(super) keys: Vec<SecretSlice<u8>>,
    /// The listed secrets that are not set, for people.
    pub(super) unset: Vec<String>,
    /// Every listed place.
    pub(super) places: Vec<SecretPlace>,
    /// Whether the registration at the provider is one of the places.
    pub(super) registered: bool,
    /// The place of the list in the file.
    pub(super) span: Option<Range<usize>>,
}

impl FoundSecrets {
    /// The secrets of a source that names the registration alone.
    pub(super) fn registered(span: Range<usize>) -> Self {
        Self { registered: true, span: Some(span), ..Self::default() }
    }
}

/// Keeps from being shown whatever may be a secret in a list of them: all but `env`, `file` and
/// `registered`.
pub(super) fn mask(item: &Item<'_>) {
    mask_but(item, &["env", "file", "registered"]);
}

/// The same, with other names for what may be shown.
pub(super) fn mask_but(item: &Item<'_>, shown: &[&str]) {
    for entry in item.one_or_many() {
        let Some(table) = entry.value.as_table() else {
            entry.sink().mask(entry.span);
            continue;
        };
        let others = table.iter().filter(|(key, _)| !shown.contains(&key.get_ref().as_ref()));
        others.for_each(|(_, value)| entry.sink().mask(value.span()));
    }
}

/// Reads the list of a source.
pub(super) fn read(
    item: &Item<'_>,
    format: &KeyFormat,
    min_key_bytes: usize,
    places: &Places<'_>,
) -> FoundSecrets {
    mask(item);
    let mut found = FoundSecrets { span: Some(item.span.clone()), ..FoundSecrets::default() };
    let list = item.one_or_many();
    if list.is_empty() {
        item.refuse(
            "is empty",
            "write where the secret is kept: [{ env = \"NAME_OF_A_VARIABLE\" }] or [{ file = \"PATH\" }]",
        );
    }
    if let Some(extra) = list.get(MAX_SECRETS) {
        extra.refuse(
            "has too many entries",
            format!("a source can have {MAX_SECRETS} active secrets"),
        );
    }
    for entry in list.iter().take(MAX_SECRETS) {
        if registration::is_meant(entry) {
            found.registered = true;
            continue;
        }
        let Some((name, text)) = read_entry(entry, places) else { continue };
        found.places.push(SecretPlace { name: name.clone(), is_set: text.is_some() });
        match text.map(|text| key(&text, format, min_key_bytes)) {
            None => found.unset.push(name),
            Some(Ok(key)) => found.keys.push(key),
            Some(Err(error)) => {
                entry.refuse(format_args!("names {name}, which {error}"), error.help())
            }
        }
    }
    found
}

/// The secrets of a source whose section names none: a variable, and what is registered.
pub(super) fn usual(
    item: &Item<'_>,
    env: &str,
    format: &KeyFormat,
    min_key_bytes: usize,
    places: &Places<'_>,
) -> FoundSecrets {
    let mut found = FoundSecrets {
        span: Some(item.key_span.clone()),
        registered: true,
        ..FoundSecrets::default()
    };
    let text = (places.env)(env).map(|value| Zeroizing::new(value.into_vec()));
    let placed = strip(item, format!("the environment variable `{env}`"), text);
    let Some((name, text)) = placed else { return found };
    found.places.push(SecretPlace { name: name.clone(), is_set: text.is_some() });
    match text.map(|text| key(&text, format, min_key_bytes)) {
        None => found.unset.push(name),
        Some(Ok(key)) => found.keys.push(key),
        Some(Err(error)) => {
            item.refuse(format_args!("takes its secret from {name}, which {error}"), error.help())
        }
    }
    found
}

/// Reads one entry: its place, as people call it, and the text found there.
fn read_entry(entry: &Item<'_>, places: &Places<'_>) -> Option<Placed> {
    if !entry.value.is_table() {
        let help = "a secret in a file of settings ends up in backups and repositories: put it into an environment \
            variable and write { env = \"NAME\" }, or into a file of its own and write { file = \"PATH\" }";
        entry.refuse("holds a literal value", help);
        return None;
    }
    let mut section = entry.section("{ env = \"NAME\" }")?;
    // It is not there, and is one of the keys that may be meant.
    section.take("registered");
    read_place(entry, section, places)
}

/// A secret's place, as people call it, and the text that was found there, if any, stripped.
pub(super) type Placed = (String, Option<Zeroizing<Vec<u8>>>);

/// Reads `env` or `file` of a section, and finishes it.
pub(super) fn read_place(
    entry: &Item<'_>,
    mut section: Section<'_>,
    places: &Places<'_>,
) -> Option<Placed> {
    let (env, file) = (section.take("env"), section.take("file"));
    let has_unknown = section.finish();
    match (env, file) {
        (Some(item), None) => read_env(&item, places),
        (None, Some(item)) => read_file(&item, places),
        (None, None) if has_unknown => None,
        _ => {
            entry.refuse(
                "has an entry that does not name exactly one place",
                "write { env = \"NAME\" } or { file = \"PATH\" }",
            );
            None
        }
    }
}

fn read_env(item: &Item<'_>, places: &Places<'_>) -> Option<Placed> {
    let name = item.text("\"HEYGEN_WEBHOOK_SECRET\"")?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || !plain || name.starts_with("whsec_") {
        // It may be the secret itself, so it is not repeated.
        item.sink().mask(item.span.clone());
        item.refuse(
            "is not the name of an environment variable",
            "write the variable's name, such as \"HEYGEN_WEBHOOK_SECRET\", not what it holds",
        );
        return None;
    }
    let text = (places.env)(name).map(|value| Zeroizing::new(value.into_vec()));
    strip(item, format!("the environment variable `{name}`"), text)
}

fn read_file(item: &Item<'_>, places: &Places<'_>) -> Option<Placed> {
    let path = super::places::tidy(&places.base.join(item.text("\"/run/secrets/heygen\"")?));
    let holds = |text: &[u8]| stray::strip(text).is_ok_and(|stripped| !stripped.text.is_empty());
    let (input, read) = Input::read(&item.path, &path, MAX_FILE_BYTES, holds);
    item.sink().input(input);
    match read {
        Ok(text) => strip(item, format!("the file {}", path.display()), Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some((format!("the file {}", path.display()), None))
        }
        Err(error) => {
            let help = format!(
                "write the path of a file of at most {MAX_FILE_BYTES} bytes that holds the secret and nothing else"
            );
            item.refuse(
                format_args!("names {}, which cannot be read: {error}", path.display()),
                help,
            );
            None
        }
    }
}

/// Takes away what stands around a secret, and says so.
fn strip(item: &Item<'_>, place: String, text: Option<Zeroizing<Vec<u8>>>) -> Option<Placed> {
    let Some(text) = text else { return Some((place, None)) };
    match stray::strip(&text) {
        Ok(stripped) => {
            if let Some(stray) = stripped.stray {
                let text =
                    format!("`{}` names {place}, whose secret is read without {stray}", item.path);
                item.sink().warn(Warning::new(text));
            }
            let text = Some(Zeroizing::new(stripped.text.to_vec())).filter(|text| !text.is_empty());
            Some((place, text))
        }
        Err(stray) => {
            item.refuse(format_args!("names {place}, whose value {stray}"), stray.help());
            None
        }
    }
}

/// Whether the data folder, in which `path` is a secret of the host, is or can be a folder. If not,
/// that is a problem of `store.url` or `server.data_dir` and is told there.
fn has_folder(path: &Path) -> bool {
    let data = path.parent().and_then(Path::parent);
    data.is_none_or(|data| super::places::instead_of(data).is_none())
}

/// The text in a file that the host made; `None` if there is no file or no text.
fn read_made(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let text = match files::read_regular(path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => Zeroizing::new(read?),
    };
    let stripped = stray::strip(&text)
        .map_err(|stray: Stray| io::Error::other(format!("its content {stray}")))?;
    Ok(Some(Zeroizing::new(stripped.text.to_vec())).filter(|text| !text.is_empty()))
}

/// The reason why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum KeyError {
    #[error("is not base64 as this source's secrets are")]
    NotBase64,
    #[error("is not hex digits as this source's secrets are")]
    NotHex,
    #[error("holds a secret of less than {MIN_KEY_BYTES} bytes")]
    Short,
}

impl KeyError {
    fn help(self) -> &'static str {
        match self {
            Self::NotBase64 | Self::NotHex => {
                "copy the whole secret from the provider, or set `secret_encoding` and `secret_prefix` in `verify`"
            }
            Self::Short => {
                "it could be guessed: let the provider make a new one, for example of 32 random bytes, or write \
                 `allow_short_secrets = true`"
            }
        }
    }
}

fn key(text: &[u8], format: &KeyFormat, min_bytes: usize) -> Result<SecretSlice<u8>, KeyError> {
    let text = text.strip_prefix(format.prefix.as_bytes()).unwrap_or(text);
    let key = match format.encoding {
        KeyEncoding::Utf8 => text.to_vec(),
        KeyEncoding::Base64 => BASE64.decode(text).map_err(|_| KeyError::NotBase64)?,
        KeyEncoding::Hex => hex::decode(text).map_err(|_| KeyError::NotHex)?,
        KeyEncoding::Sha1 if text.len() < min_bytes => return Err(KeyError::Short),
        KeyEncoding::Sha1 => digest(&SHA1_FOR_LEGACY_USE_ONLY, text).as_ref().to_vec(),
    };
    if key.len() < min_bytes { Err(KeyError::Short) } else { Ok(key.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const PLAIN: KeyFormat = KeyFormat { prefix: String::new(), encoding: KeyEncoding::Utf8 };

    fn coded() -> KeyFormat {
        KeyFormat { prefix: "whsec_".to_owned(), encoding: KeyEncoding::Base64 }
    }

    #[test]
    fn a_plain_key_is_its_text_prefix_included() {
        let made = key(b"whsec_0123456789", &PLAIN, MIN_KEY_BYTES).unwrap();
        assert_eq!(made.expose_secret(), b"whsec_0123456789");
    }

    #[test]
    fn a_coded_key_is_decoded_with_or_without_prefix_and_padding() {
        for text in [
            "whsec_MDEyMzQ1Njc4OWFiY2RlZg==",
            "MDEyMzQ1Njc4OWFiY2RlZg==",
            "whsec_MDEyMzQ1Njc4OWFiY2RlZg",
        ] {
            assert_eq!(
                key(text.as_bytes(), &coded(), MIN_KEY_BYTES).unwrap().expose_secret(),
                b"0123456789abcdef",
                "{text}"
            );
        }
        assert_eq!(key(b"whsec_!!!", &coded(), MIN_KEY_BYTES).unwrap_err(), KeyError::NotBase64);
        assert_eq!(key(b"whsec_c2hvcnQ=", &coded(), MIN_KEY_BYTES).unwrap_err(), KeyError::Short);
    }
}
