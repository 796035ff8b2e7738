//! Reads what a section says of a source, its keys aside, into a [`SourceTemplate`]. Sections of
//! the user's file and preset files are read by the same code.

use super::raw::{Item, Section};
use super::server::MAX_BODY_BOUNDS;
use super::source::{EventTypes, Part, Pick, SignatureScheme, SourceTemplate};

mod cloudevents;
mod dedupe;
mod field;
mod handshake;
mod jwt;
mod key_address;
mod pick;
mod place;
mod public_keys;
mod replies;
mod signed;
mod timestamp;
mod verify;

pub(super) use pick::header_name;

/// Reads everything but `verify`'s own key and `max_body` into `template`, which is that of a
/// preset or the default one. Says whether requests are verified.
pub(super) fn read(
    item: &Item<'_>,
    section: &mut Section<'_>,
    verify_item: Option<&Item<'_>>,
    template: &mut SourceTemplate,
    over_preset: bool,
) -> bool {
    let is_verified = verify_item.is_none_or(|item| verify::read(item, template, over_preset));
    read_picks(item, section, template, over_preset);
    if is_verified {
        check_signed(verify_item.unwrap_or(item), template);
    }
    if let Some(item) = section.take("handshake") {
        template.handshakes = handshake::read_all(&item);
    }
    replies::read(section, &mut template.replies);
    if let Some(item) = section.take("dedupe") {
        // A value that was refused in its own place is reported there only.
        let says_timestamp = verify_item.and_then(|item| item.value.as_table());
        let says_timestamp =
            says_timestamp.is_some_and(|table| table.get_key_value("timestamp").is_some());
        let available = dedupe::Available {
            id: template.id.is_some() || section.keys().any(|key| key == "id"),
            timestamp: template.signature.timestamp.is_some() || says_timestamp,
            signs: template
                .signature
                .all()
                .any(|rule| rule.scheme.signs() || rule.scheme == SignatureScheme::Jwt),
            is_verified,
        };
        template.bodies_repeat = false;
        template.dedupe = dedupe::read(&item, available).or(template.dedupe.take());
    }
    is_verified
}

/// Reads `max_body`.
pub(super) fn read_max_body(section: &mut Section<'_>, template: &mut SourceTemplate) {
    let bytes = section.take("max_body").and_then(|item| item.size_bytes(MAX_BODY_BOUNDS));
    if let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
        template.max_body_bytes = Some(bytes);
    }
}

fn check_signed(item: &Item<'_>, template: &SourceTemplate) {
    let signs_id = template.signature.signed.contains(&Part::Id);
    if signs_id && !matches!(template.id, Some(Pick::Header(_))) {
        let help = "say which header carries it: `id = { header = \"X-Delivery-Id\" }`";
        item.refuse_key("signs the {id}, but no header is named for it", help);
    }
}

fn read_picks(
    item: &Item<'_>,
    section: &mut Section<'_>,
    template: &mut SourceTemplate,
    over_preset: bool,
) {
    let says_itself = cloudevents::read(section, template);
    match section.take("type") {
        _ if says_itself => {}
        Some(kind) => {
            template.kind = pick::read(&kind, pick::Attribute::Type);
            template.types = EventTypes::Any;
        }
        None if template.kind.is_none() && !over_preset => {
            let help = "write `type = { json = \"/event/type\" }`, or { header = \"X-Event\" }, or { fixed = \"acme.event\" }";
            item.refuse_key("does not say where the event type is found", help);
        }
        None => {}
    }
    if let Some(id) = section.take("id")
        && !says_itself
    {
        template.id = pick::read(&id, pick::Attribute::Id);
    }
    if let Some(item) = section.take("form")
        && !says_itself
        && let Some(form) = pick::form_field(&item)
    {
        template.form = Some(form);
    }
    if let Some(subject) = section.take("subject") {
        template.subject = pick::read(&subject, pick::Attribute::Subject);
    }
    if let Some(item) = section.take("split")
        && !says_itself
        && let Some(split) = pick::list(&item)
    {
        template.split = Some(split);
    }
    let picks = [&template.kind, &template.id, &template.subject];
    let of_request = picks.into_iter().flatten().any(Pick::is_of_request);
    if of_request && template.split.is_none() {
        let help = "without `split` the event is the request: write { json = … }, or {json:…}";
        item.refuse_key("names a member of the request beside the event", help);
    }
}
