//! Reads `jwt = { algorithms = ["HS256"], … }`, the rules for a JSON Web Token.

use super::place::ENCODINGS;
use crate::config::raw::Item;
use crate::config::source::{Encoding, JwtAlgorithm, JwtRule};
use crate::config::units::{DAY_MS, SECOND_MS};

/// The longest text of a claim, in bytes.
const MAX_TEXT_BYTES: usize = 256;

const ALGORITHMS: [(&str, JwtAlgorithm); 5] = [
    ("HS256", JwtAlgorithm::Hs256),
    ("HS512", JwtAlgorithm::Hs512),
    ("RS256", JwtAlgorithm::Rs256),
    ("ES256", JwtAlgorithm::Es256),
    ("EdDSA", JwtAlgorithm::EdDsa),
];

/// Reads the table.
pub(super) fn read(item: &Item<'_>) -> Option<JwtRule> {
    let mut section = item.section("{ algorithms = [\"HS256\"] }")?;
    let listed = section.take("algorithms").map(|item| item.one_or_many()).unwrap_or_default();
    let algorithms: Vec<_> = listed.iter().filter_map(|item| item.word(&ALGORITHMS)).collect();
    let mut claim = |key| section.take(key).and_then(|item| short(&item));
    let (issuer, audience, subject) = (claim("issuer"), claim("audience"), claim("subject"));
    let max_age = section.take("max_age");
    let max_age_ms = max_age.and_then(|item| item.duration_ms(SECOND_MS..=30 * DAY_MS));
    let body_claim = section.take("body_claim").and_then(|item| body_claim(&item));
    section.finish();
    check(item, &algorithms);
    Some(JwtRule { algorithms, issuer, audience, subject, max_age_ms, body_claim })
}

/// A token that chose between families of keys could have a public key taken for a secret.
fn check(item: &Item<'_>, algorithms: &[JwtAlgorithm]) {
    let secrets = algorithms.iter().filter(|algorithm| algorithm.has_secrets()).count();
    if algorithms.is_empty() {
        let help = "write the one that the provider uses: `algorithms = [\"HS256\"]`";
        item.refuse("lists no algorithm", help);
    } else if secrets != 0 && secrets != algorithms.len() {
        let help = "list those of one family: HS256 and HS512, or RS256, ES256 and EdDSA";
        item.refuse("mixes algorithms with secrets and with public keys", help);
    }
}

fn body_claim(item: &Item<'_>) -> Option<(String, Encoding)> {
    let mut section = item.section("{ name = \"sha256\", encoding = \"hex\" }")?;
    let name = section.take("name").and_then(|item| short(&item));
    let encoding = section.take("encoding").and_then(|item| item.word(&ENCODINGS));
    section.finish();
    if name.is_none() {
        item.refuse(
            "names no claim",
            "write for example { name = \"sha256\", encoding = \"hex\" }",
        );
    }
    Some((name?, encoding.unwrap_or(Encoding::Hex)))
}

fn short(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"acme\"")?;
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        item.refuse("cannot be a claim", format!("write 1 to {MAX_TEXT_BYTES} bytes"));
        return None;
    }
    Some(text.to_owned())
}
