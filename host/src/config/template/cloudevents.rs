//! Reads `cloudevents` and `origins`: requests that are CloudEvents, and who may send them.

use crate::config::raw::{Item, Section};
use crate::config::source::{Pick, SourceTemplate};

/// The keys that say what a CloudEvent says of itself.
const SAID: [&str; 4] = ["type", "id", "split", "form"];

/// The most origins, and the longest one in bytes.
const MAX_ORIGINS: usize = 64;
const MAX_ORIGIN_BYTES: usize = 253;

/// Reads both. Says whether requests are CloudEvents.
pub(super) fn read(section: &mut Section<'_>, template: &mut SourceTemplate) -> bool {
    if let Some(origins) = section.take("origins") {
        template.origins = origins.one_or_many().iter().filter_map(origin).collect();
        if let Some(extra) = origins.one_or_many().get(MAX_ORIGINS) {
            extra.refuse("is one origin too many", format!("write at most {MAX_ORIGINS}"));
        }
    }
    if let Some(truth) = section.take("cloudevents").and_then(|item| item.truth()) {
        template.cloudevents = truth;
    }
    if !template.cloudevents {
        return false;
    }
    for key in SAID {
        let help = "take it out, or `cloudevents = true`";
        section.refuse(key, "has no use: a CloudEvent says it itself", help);
    }
    let header = |name: &str| Some(Pick::Header(name.to_owned()));
    (template.kind, template.id) = (header("ce-type"), header("ce-id"));
    (template.split, template.form) = (None, None);
    if template.subject.is_none() {
        template.subject = header("ce-subject");
    }
    true
}

/// The name of an origin as `WebHook-Request-Origin` has it: mostly that of a host.
fn origin(item: &Item<'_>) -> Option<String> {
    let text = item.text("\"eventgrid.azure.net\"")?;
    let plain = !text.is_empty()
        && text.len() <= MAX_ORIGIN_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain {
        let help = "write the sender's name as it sends it in `WebHook-Request-Origin`, such as \
                    \"eventgrid.azure.net\", or \"*\" for any";
        item.refuse(format_args!("is {text:?}, which is no origin"), help);
    }
    plain.then(|| text.to_ascii_lowercase())
}
