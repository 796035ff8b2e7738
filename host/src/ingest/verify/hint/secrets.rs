//! Changes of a secret on its way from the provider's page into a configuration.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use secrecy::SecretSlice;
use zeroize::Zeroizing;

/// The usual beginning of secrets that are shown as text.
const PREFIX: &[u8] = b"whsec_";

/// Other readings of a key, each with its name for people.
pub(super) fn variations(key: &[u8]) -> Vec<(&'static str, SecretSlice<u8>)> {
    let mut tried: Vec<(&'static str, Option<Vec<u8>>)> = vec![
        ("with a newline after the secret: the provider's has one", Some([key, b"\n"].concat())),
        ("with CR and LF after the secret: the provider's has them", Some([key, b"\r\n"].concat())),
        ("with a blank after the secret: the provider's has one", Some([key, b" "].concat())),
        (
            "with the white space around the secret removed",
            Some(key.trim_ascii()).filter(|it| *it != key).map(<[u8]>::to_vec),
        ),
        (
            "with the quotes around the secret removed",
            key.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\"")).map(<[u8]>::to_vec),
        ),
        ("with quotes around the secret: the provider's has them", {
            Some([b"\"", key, b"\""].concat())
        }),
        (
            "with the prefix `whsec_` of the secret removed",
            key.strip_prefix(PREFIX).map(<[u8]>::to_vec),
        ),
        ("with the prefix `whsec_` in front of the secret", Some([PREFIX, key].concat())),
    ];
    tried.extend(decoded(key));
    tried.extend(encoded(key));
    tried.into_iter().filter_map(|(what, key)| Some((what, SecretSlice::from(key?)))).collect()
}

/// The key behind a text: the source takes the text itself.
fn decoded(key: &[u8]) -> [(&'static str, Option<Vec<u8>>); 5] {
    let text = key.strip_prefix(PREFIX).unwrap_or(key);
    let base64 = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let [standard, unpadded, url_safe, url_unpadded] = base64.map(|it| it.decode(text).ok());
    const BASE64: &str = "with the secret decoded from base64: compare `secret_encoding`";
    [
        (BASE64, standard),
        (BASE64, unpadded),
        (BASE64, url_safe),
        (BASE64, url_unpadded),
        ("with the secret decoded from hex", hex::decode(text).ok()),
    ]
}

/// The text of a key: the source decodes it, and the sender does not.
fn encoded(key: &[u8]) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let texts = [STANDARD.encode(key), STANDARD_NO_PAD.encode(key), URL_SAFE.encode(key)];
    let texts = texts.map(|text| Zeroizing::new(text.into_bytes()));
    let mut tried = Vec::new();
    for text in &texts {
        tried.push((
            "with the secret's text as it is shown, not decoded from base64",
            Some(text.to_vec()),
        ));
        tried.push((
            "with the secret's text as it is shown, `whsec_` included, not decoded from base64",
            Some([PREFIX, text].concat()),
        ));
    }
    tried.push(("with the secret written as hex", Some(hex::encode(key).into_bytes())));
    tried
}
