//! The events that a handler returned, checked before anything else sees them.

use crate::config::Limits;
use crate::event::name::{self, RESERVED};
use crate::sandbox::Emitted;
use crate::sandbox::bindings::exports::hookbox::plugin::handler::NewEvent;
use crate::sandbox::limits::{MAX_EMITTED_DELAY_MS, set_by};
use crate::text;

/// The longest media type, in bytes.
const MAX_CONTENT_TYPE_BYTES: usize = 256;

/// Takes what a handler returned for an event about `subject`, or says what is wrong with it.
pub(super) fn take(
    returned: Vec<NewEvent>,
    subject: Option<&str>,
    limits: &Limits,
) -> Result<Vec<Emitted>, String> {
    if returned.len() > limits.emitted {
        let (count, most) = (returned.len(), limits.emitted);
        return Err(format!(
            "the handler returned {count} events; at most {most} are taken: {}",
            set_by("limits.emitted")
        ));
    }
    let bytes: usize = returned.iter().map(size).sum();
    if bytes > limits.emitted_bytes {
        let (most, key) = (limits.emitted_bytes, set_by("limits.emitted_size"));
        return Err(format!(
            "the handler returned events of {bytes} bytes; at most {most} are taken: {key}"
        ));
    }
    // One bad event refuses all of them: a part would be settled as if it were the whole.
    let count = returned.len();
    let mut emitted = Vec::with_capacity(count);
    for (index, event) in returned.into_iter().enumerate() {
        if let Some(fault) = fault(&event, subject) {
            let kind = text::plain(&event.type_, 64);
            return Err(format!(
                "the handler returned an event ({} of {count}, type `{kind}`) whose {fault}",
                index + 1
            ));
        }
        emitted.push(Emitted {
            kind: event.type_,
            subject: event.subject.or_else(|| subject.map(str::to_owned)),
            content_type: event.data_content_type,
            data: event.data,
            delay_ms: event.delay_ms.unwrap_or(0),
        });
    }
    Ok(emitted)
}

fn size(event: &NewEvent) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    event.type_.len()
        + optional(&event.subject)
        + optional(&event.data_content_type)
        + event.data.len()
}

/// The fault of an event, as the end of a sentence. `handled`, the subject of the handled
/// event, may be passed on whatever it is: an event that was stored under an older rule must not
/// fail its plugin.
fn fault(event: &NewEvent, handled: Option<&str>) -> Option<String> {
    let kind = event.type_.as_str();
    if let Err(fault) = name::check(kind) {
        return Some(format!("type {fault}"));
    }
    if kind.starts_with(RESERVED) {
        return Some(format!("type starts with `{RESERVED}`, which is the host's own prefix"));
    }
    let subject =
        event.subject.as_deref().filter(|subject| !subject.is_empty() && Some(*subject) != handled);
    if let Some(Err(fault)) = subject.map(name::check) {
        return Some(format!("subject {fault}"));
    }
    let content_type = event.data_content_type.as_deref().unwrap_or_default();
    if content_type.len() > MAX_CONTENT_TYPE_BYTES {
        return Some(format!("data-content-type has more than {MAX_CONTENT_TYPE_BYTES} bytes"));
    }
    if content_type.chars().any(text::needs_escape) {
        return Some("data-content-type has control characters".to_owned());
    }
    let is_late = event.delay_ms.is_some_and(|delay_ms| delay_ms > MAX_EMITTED_DELAY_MS);
    is_late.then(|| format!("delay-ms is more than {MAX_EMITTED_DELAY_MS} (366 days)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str) -> NewEvent {
        NewEvent {
            type_: kind.to_owned(),
            subject: None,
            data_content_type: None,
            data: Vec::new(),
            delay_ms: None,
        }
    }

    #[test]
    fn a_subject_is_inherited_unless_the_handler_sets_one() {
        let own = NewEvent { subject: Some("own".into()), ..event("a") };
        let taken = take(vec![event("a"), own], Some("order_1"), &Limits::default()).unwrap();
        let subjects: Vec<_> = taken.iter().map(|event| event.subject.as_deref()).collect();
        assert_eq!(subjects, [Some("order_1"), Some("own")]);
        assert_eq!(take(vec![event("a")], None, &Limits::default()).unwrap()[0].subject, None);
    }

    #[test]
    fn a_bad_event_is_refused_and_named() {
        let long = "x".repeat(crate::event::MAX_NAME_BYTES + 1);
        let cases = [
            (event(""), "type is empty"),
            (event(&long), "type has more than 512 bytes"),
            (event("a  b"), "type has blanks other than single spaces"),
            (event(" a"), "type has blanks other than single spaces"),
            (event("a\u{7f}"), "type has control, bidi or line-break characters"),
            (event("hookbox.unidentified"), "type starts with `hookbox.`"),
            (
                NewEvent { subject: Some(long.clone()), ..event("a") },
                "subject has more than 512 bytes",
            ),
            (
                NewEvent { subject: Some("a\nb".into()), ..event("a") },
                "subject has control, bidi or line-break",
            ),
            (
                NewEvent { subject: Some("a\u{202e}b".into()), ..event("a") },
                "subject has control, bidi or line-break",
            ),
            (
                NewEvent { subject: Some("a ".into()), ..event("a") },
                "subject has blanks other than",
            ),
            (
                NewEvent { data_content_type: Some(long.clone()), ..event("a") },
                "data-content-type has more than 256",
            ),
            (
                NewEvent { data_content_type: Some("\r".into()), ..event("a") },
                "data-content-type has control",
            ),
            (NewEvent { delay_ms: Some(u64::MAX), ..event("a") }, "delay-ms is more than"),
        ];
        for (bad, expected) in cases {
            let fault = take(vec![event("fine"), bad], None, &Limits::default()).unwrap_err();
            assert!(fault.contains(expected) && fault.contains("(2 of 2"), "{fault}");
        }
    }

    #[test]
    fn a_type_or_a_subject_may_have_single_blanks_slashes_and_colons() {
        for name in ["Push Hook", "repo:push", "a/b", "é"] {
            let event = NewEvent { subject: Some(name.to_owned()), ..event(name) };
            let taken = take(vec![event], None, &Limits::default()).unwrap();
            assert_eq!((taken[0].kind.as_str(), taken[0].subject.as_deref()), (name, Some(name)));
        }
    }

    #[test]
    fn the_subject_of_the_event_that_is_handled_can_always_be_handed_on() {
        let long = "x".repeat(1_000);
        for subject in ["a\u{202e}b", " a  b ", "a\nb", &long] {
            let handed_on = NewEvent { subject: Some(subject.to_owned()), ..event("a") };
            let taken = take(vec![handed_on.clone()], Some(subject), &Limits::default()).unwrap();
            assert_eq!(taken[0].subject.as_deref(), Some(subject));
            assert!(
                take(vec![handed_on], Some("another"), &Limits::default()).is_err(),
                "{subject:?}"
            );
        }
    }

    #[test]
    fn number_and_size_are_limited() {
        let limits = Limits::default();
        assert_eq!(
            take(vec![event("a"); limits.emitted], None, &Limits::default()).unwrap().len(),
            limits.emitted
        );
        assert!(
            take(vec![event("a"); limits.emitted + 1], None, &Limits::default())
                .unwrap_err()
                .contains("257 events; at most 256")
        );
        let large = NewEvent { data: vec![0; limits.emitted_bytes / 2 - 1], ..event("a") };
        assert!(take(vec![large.clone(), large.clone()], None, &Limits::default()).is_ok());
        assert!(
            take(vec![large.clone(), large, event("a")], None, &Limits::default())
                .unwrap_err()
                .contains("at most 4194304")
        );
    }
}
