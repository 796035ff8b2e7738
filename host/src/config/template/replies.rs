//! Reads what a source replies: `answer`, `refuse_status` and `methods`.

use crate::config::raw::{Item, Section};
use crate::config::source::{FixedReply, Replies};

const EXAMPLE: &str = "{ status = 200, content_type = \"text/plain\", body = \"ok\" }";

/// The longest body, in bytes.
const MAX_BODY_BYTES: usize = 1_024;

/// Never HTML: a browser that is sent here must not run anything.
const MEDIA_TYPES: [(&str, &str); 4] = [
    ("text/plain", "text/plain"),
    ("application/json", "application/json"),
    ("text/xml", "text/xml"),
    ("application/xml", "application/xml"),
];

/// Statuses that HTTP sends without a body.
const WITHOUT_BODY: [u16; 2] = [204, 205];

/// Reads the three keys over those of the preset.
pub(super) fn read(section: &mut Section<'_>, replies: &mut Replies) {
    if let Some(reply) = section.take("answer").and_then(|item| read_answer(&item)) {
        replies.accepted = Some(reply);
    }
    if let Some(status) = section.take("refuse_status").and_then(|item| read_status(&item)) {
        replies.refuse_status = status;
    }
    if let Some(takes_put) = section.take("methods").and_then(|item| read_methods(&item)) {
        replies.takes_put = takes_put;
    }
}

fn read_answer(item: &Item<'_>) -> Option<FixedReply> {
    let mut section = item.section(EXAMPLE)?;
    let status_item = section.take("status");
    let status = status_item.as_ref().map(|item| item.whole(200..=299));
    let kind_item = section.take("content_type");
    let kind = kind_item.as_ref().and_then(|item| item.word(&MEDIA_TYPES));
    let body_item = section.take("body");
    let body = body_item.as_ref().and_then(|item| read_body(item)).unwrap_or_default();
    section.finish();
    let status = status.map_or(Some(200), |status| status.and_then(|n| u16::try_from(n).ok()))?;
    if WITHOUT_BODY.contains(&status) && !body.is_empty() {
        let help = format!("take `body` out: HTTP has none with {status}; or write status = 200");
        item.refuse(format_args!("has a body with the status {status}"), help);
        return None;
    }
    if let Some(kind_item) = kind_item
        && body_item.is_none()
    {
        kind_item.refuse_key("says of no body what it is", "add `body`, or take it out");
        return None;
    }
    let content_type = (!body.is_empty()).then(|| kind.unwrap_or("text/plain"));
    Some(FixedReply { status, content_type, body })
}

fn read_body(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"ok\"")?;
    if text.len() > MAX_BODY_BYTES {
        let help = format!("write at most {MAX_BODY_BYTES} bytes");
        item.refuse(format_args!("is {} bytes long", text.len()), help);
        return None;
    }
    Some(text.to_owned())
}

fn read_status(item: &Item<'_>) -> Option<u16> {
    let status = item.whole(400..=499)?;
    if status == 410 {
        let help = "many providers delete a subscription that is answered with 410: write 401, \
                    or what the provider asks for";
        item.refuse("is 410, which says that the address is gone for good", help);
        return None;
    }
    u16::try_from(status).ok()
}

/// Whether PUT is among the methods.
fn read_methods(item: &Item<'_>) -> Option<bool> {
    let listed = item.one_or_many();
    let words = listed.iter().map(|item| item.word(&[("POST", false), ("PUT", true)]));
    let methods = words.collect::<Option<Vec<bool>>>()?;
    if !methods.contains(&false) {
        let help = "write [\"POST\", \"PUT\"]: `hookbox send` and test events come by POST";
        item.refuse("leaves POST out", help);
        return None;
    }
    Some(methods.contains(&true))
}
