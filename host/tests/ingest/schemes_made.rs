//! One source for each scheme and algorithm, whose key this test has.

use std::ffi::OsString;
use std::fs;
use std::sync::Arc;

use hookbox::config::{Config, MakeSecrets, Source, Surroundings};

pub(super) const SECRET: &str = "user_0123456789abcdef:a_password_of_some_length";

/// The schemes, and the algorithms of tokens, that the configuration knows.
pub(super) const SCHEMES: [&str; 17] = [
    "hmac-sha1",
    "hmac-sha256",
    "hmac-sha512",
    "digest-sha1",
    "digest-sha256",
    "ed25519",
    "ecdsa-p256",
    "rsa-sha1",
    "rsa-sha256",
    "token",
    "basic",
    "HS256",
    "HS512",
    "RS256",
    "ES256",
    "EdDSA",
    "sns",
];

/// A rule that a test writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) name: &'static str,
    /// The members of `verify`.
    pub(super) verify: &'static str,
    pub(super) is_public: bool,
}

/// The signature in hex, of the time and the body.
macro_rules! over_time {
    ($scheme:literal, $encoding:literal, $signed:literal) => {
        concat!(
            "scheme = \"",
            $scheme,
            "\", header = \"X-S\", encoding = \"",
            $encoding,
            "\", signed = \"",
            $signed,
            "\", timestamp = { header = \"X-T\" }"
        )
    };
}

/// A token that names the digest of the body.
macro_rules! token_of {
    ($algorithm:literal) => {
        concat!(
            "scheme = \"jwt\", header = \"X-S\", jwt = { algorithms = [\"",
            $algorithm,
            "\"], body_claim = { name = \"sha256\", encoding = \"hex\" } }"
        )
    };
}

impl Made {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        let shared = |name, verify| Self { name, verify, is_public: false };
        let public = |name, verify| Self { name, verify, is_public: true };
        vec![
            shared("hmac-sha1", over_time!("hmac-sha1", "hex", "{timestamp}.{body}")),
            shared("hmac-sha256", over_time!("hmac-sha256", "hex", "{timestamp}.{body}")),
            shared("hmac-sha256 base64", over_time!("hmac-sha256", "base64", "{timestamp}.{body}")),
            shared("hmac-sha512", over_time!("hmac-sha512", "base64url", "{timestamp}.{body}")),
            shared("digest-sha1", over_time!("digest-sha1", "hex", "{timestamp}.{body}{secret}")),
            shared(
                "digest-sha256",
                over_time!("digest-sha256", "hex", "{secret}.{timestamp}.{body}"),
            ),
            public("ed25519", over_time!("ed25519", "hex", "{timestamp}{body}")),
            public("ecdsa-p256", over_time!("ecdsa-p256", "base64", "{timestamp}{body}")),
            public("rsa-sha256", over_time!("rsa-sha256", "base64", "{timestamp}{body}")),
            shared("token", "scheme = \"token\", header = \"X-S\""),
            shared("basic", "scheme = \"basic\""),
            shared("jwt HS256", token_of!("HS256")),
            shared("jwt HS512", token_of!("HS512")),
            public("jwt RS256", token_of!("RS256")),
            public("jwt ES256", token_of!("ES256")),
            public("jwt EdDSA", token_of!("EdDSA")),
        ]
    }
}

/// The source of a rule, with a pair of keys if it is of a public key.
pub(super) fn made(rule: &Made) -> Arc<Source> {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("data/secrets");
    fs::create_dir_all(&secrets).unwrap();
    fs::create_dir(folder.path().join("plugins")).unwrap();
    if rule.verify.contains("rsa-") || rule.verify.contains("RS256") {
        fs::write(secrets.join("acme.pair"), include_str!("../data/rsa-pair.pem")).unwrap();
    }
    let secret = if rule.is_public { "" } else { "secrets = [{ env = \"S\" }]\n" };
    let text = format!(
        "[sources.acme]\ntype = {{ json = \"/type\" }}\n{secret}verify = {{ {} }}\n",
        rule.verify
    );
    let env = |name: &str| (name == "S").then(|| OsString::from(SECRET));
    let around = Surroundings { make_secrets: MakeSecrets::Yes, env: &env };
    let config = Config::parse(&folder.path().join("config.toml"), &text, around);
    let config = config.unwrap_or_else(|wrong| panic!("{}: {}", rule.name, wrong.render(false)));
    Arc::clone(&config.sources["acme"])
}
