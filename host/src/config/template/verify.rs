//! Reads `verify = { … }` over a preset's template, or over the default one; or a list of such
//! tables, of which the first one that applies to a request decides.

use super::field::{self, Affixes};
use super::place::{self, ENCODINGS};
use super::{jwt, key_address, pick, public_keys, signed, timestamp};
use crate::config::raw::{Item, Section};
use crate::config::source::{
    Encoding, Field, KeyEncoding, KeyFormat, Place, Signature, SignatureScheme, SourceTemplate,
};

/// The most places in which a signature is looked for.
const MAX_HEADERS: usize = 8;

/// The numbers that `-*` at the end of a header's name stands for.
const MAX_NUMBERED: usize = 100;

/// The most tables of a list.
const MAX_RULES: usize = 8;

/// The words for schemes; `None` is no verification.
const SCHEMES: [(&str, Option<SignatureScheme>); 13] = [
    ("hmac-sha256", Some(SignatureScheme::HmacSha256)),
    ("none", None),
    ("ed25519", Some(SignatureScheme::Ed25519)),
    ("hmac-sha1", Some(SignatureScheme::HmacSha1)),
    ("hmac-sha512", Some(SignatureScheme::HmacSha512)),
    ("digest-sha1", Some(SignatureScheme::DigestSha1)),
    ("digest-sha256", Some(SignatureScheme::DigestSha256)),
    ("ecdsa-p256", Some(SignatureScheme::EcdsaP256)),
    ("rsa-sha256", Some(SignatureScheme::RsaSha256)),
    ("rsa-sha1", Some(SignatureScheme::RsaSha1)),
    ("token", Some(SignatureScheme::Token)),
    ("basic", Some(SignatureScheme::Basic)),
    ("jwt", Some(SignatureScheme::Jwt)),
];

/// Reads the table, or the list, into `template`; says whether requests are verified. The scheme
/// may only be left out over a preset.
pub(super) fn read(item: &Item<'_>, template: &mut SourceTemplate, over_preset: bool) -> bool {
    if !item.value.is_array() {
        return read_one(item, (&mut template.signature, &mut template.key), over_preset);
    }
    let tables = item.one_or_many();
    if tables.is_empty() || tables.len() > MAX_RULES {
        let what = format!("lists {} rules", tables.len());
        item.refuse(what, format!("write 1 to {MAX_RULES}, the preferred one first"));
    }
    let read = |table: &Item<'_>| {
        let (mut rule, mut key) = (Signature::default(), template.key.clone());
        if !read_one(table, (&mut rule, &mut key), false) {
            table.refuse("verifies nothing beside rules that do", "take it out");
        }
        (rule, key)
    };
    let mut rules = tables.iter().take(MAX_RULES).map(read);
    if let Some((first, key)) = rules.next() {
        let others = rules.map(|(rule, _)| rule).collect();
        (template.signature, template.key) = (Signature { others, ..first }, key);
    }
    true
}

/// Reads one table into a rule, and how its secrets are written.
fn read_one(
    item: &Item<'_>,
    (rule, key): (&mut Signature, &mut KeyFormat),
    over_preset: bool,
) -> bool {
    let Some(mut section) = item.section("{ scheme = \"hmac-sha256\", header = \"X-Signature\" }")
    else {
        return true;
    };
    match section.take("scheme") {
        Some(scheme) => match scheme.word(&SCHEMES) {
            Some(Some(scheme)) => {
                rule.others.clear();
                chose(scheme, rule);
            }
            Some(None) => {
                let help = "take it out, or take `scheme = \"none\"` out";
                section.refuse_others("has no use without verification", help);
                return false;
            }
            None => {}
        },
        None if over_preset => {}
        None => item.refuse(
            "names no scheme",
            "there is no default: write `scheme = \"hmac-sha256\"`, or \
             `scheme = \"none\"` to take requests from anyone",
        ),
    }
    if let Some(when) = section.take("when") {
        rule.when = place::conditions(&when);
    }
    read_signature(item, &mut section, rule);
    read_token(item, &mut section, rule);
    signed::read(&mut section, rule);
    timestamp::read(item, &mut section, rule);
    read_public_keys(&mut section, rule, key);
    for other in &mut rule.others {
        if !rule.public_keys.is_empty() && !other.scheme.has_secrets() {
            other.public_keys.clone_from(&rule.public_keys);
        }
    }
    section.finish();
    true
}

/// Takes a scheme with what usually comes with it.
fn chose(scheme: SignatureScheme, rule: &mut Signature) {
    rule.scheme = scheme;
    match scheme {
        SignatureScheme::Token | SignatureScheme::Jwt => rule.encoding = Encoding::Text,
        SignatureScheme::Basic => {
            rule.encoding = Encoding::Base64;
            let header = Place::Header("authorization".to_owned());
            let basic = |place| Field { place, prefix: "Basic ".to_owned(), separator: None };
            rule.signatures = vec![basic(header)];
        }
        _ => return,
    }
    rule.signed = Vec::new();
}

fn read_signature(item: &Item<'_>, section: &mut Section<'_>, rule: &mut Signature) {
    let first = rule.signatures.first().cloned();
    let mut field = first.unwrap_or_else(field::unnamed);
    if let Some(headers) = section.take("header") {
        rule.signatures = read_headers(&headers, &field);
    } else if let Some(places) = section.take("from") {
        let places = places.one_or_many();
        let places = places.iter().take(MAX_HEADERS).filter_map(place::read);
        rule.signatures = places.map(|place| Field { place, ..field.clone() }).collect();
    } else if rule.signatures.is_empty() {
        item.refuse(
            "names no header",
            "write which header carries the signature: `header = \"X-Signature\"`, or \
             `from = { query = \"…\" }`, { json = \"…\" } or { form = \"…\" }",
        );
    }
    let given: Affixes = field::read_affixes(section, &mut field);
    for signature in &mut rule.signatures {
        if given.prefix {
            signature.prefix.clone_from(&field.prefix);
        }
        if given.separator {
            signature.separator = field.separator;
        }
    }
    if let Some(matching) = section.take("match") {
        let words = [("any", true), ("first", false)];
        rule.matches_any = matching.word(&words).unwrap_or_default();
    }
    if let Some(each) = section.take("each").and_then(|item| pick::pointer(&item)) {
        rule.each = Some(each);
    }
    if let Some(encoding) = section.take("encoding").and_then(|item| item.word(&ENCODINGS)) {
        rule.encoding = encoding;
    }
    if let Some(hash) = section.take("body_hash").and_then(|item| place::body_hash(&item)) {
        rule.body_hash = Some(hash);
    }
}

fn read_token(item: &Item<'_>, section: &mut Section<'_>, rule: &mut Signature) {
    let is_jwt = rule.scheme == SignatureScheme::Jwt;
    match section.take("jwt") {
        Some(jwt) if is_jwt => rule.jwt = jwt::read(&jwt).or(rule.jwt.take()),
        Some(jwt) => jwt.refuse_key("has no use without `scheme = \"jwt\"`", "take it out"),
        None if is_jwt && rule.jwt.is_none() => {
            item.refuse("has no `jwt`", "write for example `jwt = { algorithms = [\"HS256\"] }`");
        }
        None => {}
    }
    if !is_jwt {
        rule.jwt = None;
    }
}

fn read_public_keys(section: &mut Section<'_>, rule: &mut Signature, key: &mut KeyFormat) {
    let has_secrets = match &rule.jwt {
        Some(jwt) => jwt.algorithms.iter().any(|algorithm| algorithm.has_secrets()),
        None => rule.scheme.has_secrets(),
    };
    if has_secrets {
        return read_key(section, key);
    }
    // Each of them says which keys count, so it takes the place of the other in a preset.
    let (keys, address) = (section.take("public_keys"), section.take("key_url"));
    match (keys, address) {
        (Some(keys), Some(_)) => {
            keys.refuse_key("is written beside `key_url`", "take one of them out");
        }
        (Some(keys), None) => {
            rule.public_keys = public_keys::read(&keys, rule.scheme);
            for other in &mut rule.others {
                other.key_address = None;
            }
            rule.key_address = None;
        }
        (None, Some(address)) => {
            if let Some(address) = key_address::read(&address) {
                rule.key_address = Some(address);
                rule.public_keys.clear();
            }
        }
        (None, None) => {}
    }
}

fn read_headers(item: &Item<'_>, like: &Field) -> Vec<Field> {
    let list = item.one_or_many();
    if list.is_empty() || list.len() > MAX_HEADERS {
        item.refuse(
            format_args!("lists {} headers", list.len()),
            format!("write 1 to {MAX_HEADERS}, the preferred one first"),
        );
    }
    let names = list.iter().take(MAX_HEADERS).filter_map(pick::header);
    let numbered = |name: String| match name.strip_suffix('*').filter(|name| name.ends_with('-')) {
        Some(name) => (1..=MAX_NUMBERED).map(|number| format!("{name}{number}")).collect(),
        None => vec![name],
    };
    let names = names.flat_map(numbered);
    names.map(|header| Field { place: Place::Header(header), ..like.clone() }).collect()
}

fn read_key(section: &mut Section<'_>, format: &mut KeyFormat) {
    let encodings = [
        ("utf8", KeyEncoding::Utf8),
        ("base64", KeyEncoding::Base64),
        ("hex", KeyEncoding::Hex),
        ("sha1", KeyEncoding::Sha1),
    ];
    if let Some(encoding) = section.take("secret_encoding").and_then(|item| item.word(&encodings)) {
        format.encoding = encoding;
    }
    if let Some(prefix) =
        section.take("secret_prefix").and_then(|item| field::short_text(&item, "\"whsec_\""))
    {
        format.prefix = prefix;
    }
}
