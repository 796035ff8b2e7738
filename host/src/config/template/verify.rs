//! Reads `verify = { … }` over a preset's template, or over the default one.

use super::field::{self, Affixes};
use super::{pick, public_keys, signed, timestamp};
use crate::config::raw::{Item, Section};
use crate::config::source::{
    Encoding, Field, KeyEncoding, KeyFormat, SignatureScheme, SourceTemplate,
};

/// The most headers in which a signature is looked for.
const MAX_HEADERS: usize = 8;

/// The words for schemes; `None` is no verification.
const SCHEMES: [(&str, Option<SignatureScheme>); 3] = [
    ("hmac-sha256", Some(SignatureScheme::HmacSha256)),
    ("none", None),
    ("ed25519", Some(SignatureScheme::Ed25519)),
];

/// Reads the table into `template`; says whether requests are verified. The scheme may only be left
/// out over a preset.
pub(super) fn read(item: &Item<'_>, template: &mut SourceTemplate, over_preset: bool) -> bool {
    let Some(mut section) = item.section("{ scheme = \"hmac-sha256\", header = \"X-Signature\" }")
    else {
        return true;
    };
    match section.take("scheme") {
        Some(scheme) => match scheme.word(&SCHEMES) {
            Some(Some(scheme)) => template.scheme = scheme,
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
    read_signature(item, &mut section, template);
    signed::read(&mut section, template);
    timestamp::read(item, &mut section, template);
    if template.scheme.has_secrets() {
        read_key(&mut section, &mut template.key);
    } else if let Some(keys) = section.take("public_keys") {
        template.public_keys = public_keys::read(&keys);
    }
    section.finish();
    true
}

fn read_signature(item: &Item<'_>, section: &mut Section<'_>, template: &mut SourceTemplate) {
    let first = template.signatures.first().cloned();
    let mut field = first.unwrap_or_else(field::unnamed);
    match section.take("header") {
        Some(headers) => template.signatures = read_headers(&headers, &field),
        None if template.signatures.is_empty() => {
            item.refuse(
                "names no header",
                "write which header carries the signature: `header = \"X-Signature\"`",
            );
        }
        None => {}
    }
    let given: Affixes = field::read_affixes(section, &mut field);
    for signature in &mut template.signatures {
        if given.prefix {
            signature.prefix.clone_from(&field.prefix);
        }
        if given.separator {
            signature.separator = field.separator;
        }
    }
    if let Some(encoding) = section
        .take("encoding")
        .and_then(|item| item.word(&[("hex", Encoding::Hex), ("base64", Encoding::Base64)]))
    {
        template.encoding = encoding;
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
    names.map(|header| Field { header, ..like.clone() }).collect()
}

fn read_key(section: &mut Section<'_>, format: &mut KeyFormat) {
    let encodings = [("utf8", KeyEncoding::Utf8), ("base64", KeyEncoding::Base64)];
    if let Some(encoding) = section.take("secret_encoding").and_then(|item| item.word(&encodings)) {
        format.encoding = encoding;
    }
    if let Some(prefix) =
        section.take("secret_prefix").and_then(|item| field::short_text(&item, "\"whsec_\""))
    {
        format.prefix = prefix;
    }
}
