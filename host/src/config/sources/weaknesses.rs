//! Weaknesses that the rules of a source leave, for warnings.

use crate::config::presets;
use crate::config::source::{DedupeBy, Part, Pick, Signature, SignatureScheme, SourceTemplate};

/// The weaknesses that the rules of a source leave, for people.
pub(super) fn weaknesses(template: &SourceTemplate) -> Vec<&'static str> {
    let mut found = Vec::new();
    for rule in template.signature.all() {
        let covers_body = rule.binds_body() || rule.signed.contains(&Part::Form);
        let weakness = match rule.scheme {
            SignatureScheme::Token | SignatureScheme::Basic => {
                "its requests carry the secret itself, which proves nothing about the body"
            }
            SignatureScheme::Jwt if rule.jwt.as_ref().is_some_and(|it| it.body_claim.is_none()) => {
                "its tokens prove nothing about the body"
            }
            SignatureScheme::HmacSha1 | SignatureScheme::DigestSha1 | SignatureScheme::RsaSha1 => {
                "it signs with SHA-1, which is weak; take SHA-256 where the provider has it"
            }
            SignatureScheme::DigestSha256 => {
                "it signs with a plain digest, which is weaker than an HMAC"
            }
            _ if rule.signed.contains(&Part::BodyCrc32) => {
                "its signature covers a checksum of the body that others can meet"
            }
            _ if rule.scheme.signs() && !covers_body => {
                "its signature covers values of the body, but not the whole body"
            }
            _ => continue,
        };
        if !found.contains(&weakness) {
            found.push(weakness);
        }
    }
    let keys = template.dedupe(true).keys;
    if template.leaves_attributes_open() && !keys.contains(&DedupeBy::Signed) {
        found.push(
            "its signature covers the body alone, and a CloudEvent in the binary form has its id and \
             type in headers: a captured one can be sent again as another event; sign \
             `{header:ce-id}`, `{header:ce-source}` and `{header:ce-type}`, or add \"signed\" to \
             its `dedupe`, which makes events with equal data one",
        );
    }
    if may_be_repeated(template) {
        found.push(
            "a captured request can be sent again in other bytes as another event: add \"signed\" \
             to its `dedupe`",
        );
    }
    found
}

/// The warning of a key that signs for all customers, if no rule names the user's registration.
pub(super) fn shared_key(preset: &str, template: &SourceTemplate) -> Option<String> {
    let presets::AboutProvider { name, everybody, .. } = presets::about(preset)?;
    let names = |rule: &Signature| rule.when.iter().any(|when| when.param.is_some());
    let remedy = everybody.as_ref()?;
    if template.signature.all().all(names) {
        return None;
    }
    Some(format!(
        "the key of {name} is that of all its customers, and any of them can have events sent \
         here: {remedy}"
    ))
}

/// Whether a captured request counts as another event once it is written in other bytes.
pub(in crate::config) fn may_be_repeated(template: &SourceTemplate) -> bool {
    let keys = template.dedupe(true).keys;
    let signs_id = |rule: &Signature| match &template.id {
        Some(Pick::Header(name)) => {
            rule.signed.contains(&Part::Id) || rule.signed.contains(&Part::Header(name.clone()))
        }
        _ => false,
    };
    let goes_by_id = keys.contains(&DedupeBy::Id) && template.signature.all().all(signs_id);
    let is_known = keys.is_empty() || keys.contains(&DedupeBy::Signed) || goes_by_id;
    template.signature.leaves_bytes_open() && !is_known
}
