//! A delivery that a provider repeats is the same event, however it is written the second time; two
//! events are two, whatever their requests have in common.

use hookbox::config::presets;
use hookbox::config::source::DedupeBy;
use hookbox::event::NewEvent;
use hookbox::ingest::SourceRuntime;

use super::apart::{are_one, events};
use super::providers::ProviderVector;
use super::signed::{NOW_S, source};

const SECRET: &str = "sk_0123456789abcdef0123456789abcdef:x";

/// The event of a request: its body, the provider's id of the delivery, and its time.
fn event(runtime: &SourceRuntime, (body, id, at_s): (&str, &str, i64)) -> NewEvent {
    events(runtime, body, id, at_s).remove(0)
}

/// A delivery and its retry: preset, both bodies, both ids of the delivery, and the seconds between
/// them.
const RETRIES: [(&str, [&str; 2], [&str; 2], i64); 6] = [
    (
        "box",
        [r#"{"type":"webhook_event","id":"e-1","trigger":"FILE.UPLOADED"}"#, "="],
        ["d-1", "d-2"],
        60,
    ),
    (
        "docusign",
        [
            r#"{"event":"envelope-sent","retryCount":0,"generatedDateTime":"2026-02-25T06:13:20.1230000Z","data":{"envelopeId":"a"}}"#,
            r#"{"event":"envelope-sent","retryCount":1,"generatedDateTime":"2026-02-25T06:13:20.1230000Z","data":{"envelopeId":"a"}}"#,
        ],
        ["", ""],
        60,
    ),
    ("zoom", [r#"{"event":"meeting.started","event_ts":1772000000123}"#, "="], ["", ""], 300),
    (
        "calendly",
        [r#"{"event":"invitee.created","created_at":"2026-02-25T06:13:20.000000Z"}"#, "="],
        ["", ""],
        300,
    ),
    (
        "elevenlabs",
        [r#"{"type":"post_call_transcription","event_timestamp":1772000000}"#, "="],
        ["", ""],
        300,
    ),
    ("bitbucket", [r#"{"push":{"changes":[]}}"#, "="], ["d-1", "d-1"], 60),
];

#[test]
fn a_retry_with_another_id_time_or_count_is_the_event_that_it_repeats() {
    for (preset, [first, second], [first_id, second_id], later_s) in RETRIES {
        let runtime = SourceRuntime::new(source(preset, SECRET));
        let second = if second == "=" { first } else { second };
        let first = event(&runtime, (first, first_id, NOW_S));
        let retry = event(&runtime, (second, second_id, NOW_S + later_s));
        assert!(are_one(&first, &retry), "{preset}: {:?}", runtime.source().dedupe);
    }
}

#[test]
fn events_that_share_an_id_or_a_part_of_it_are_several() {
    let docusign = |event: &str, at: &str, recipient: &str| {
        format!(
            r#"{{"event":"{event}","generatedDateTime":"{at}","data":{{"envelopeId":"a"{recipient}}}}}"#
        )
    };
    let [one, two] = [r#","recipientId":"1""#, r#","recipientId":"2""#];
    let cases = [
        // Its id of the delivery is a hash of the webhook and the second.
        ("woocommerce", r#"{"id":727,"total":"1"}"#.to_owned(), r#"{"id":728,"total":"1"}"#.into()),
        ("docusign", docusign("e", "1", ""), docusign("e", "2", "")),
        ("docusign", docusign("e", "1", ""), docusign("f", "1", "")),
        ("docusign", docusign("e", "1", one), docusign("e", "1", two)),
        ("zoom", r#"{"event":"e","event_ts":1}"#.into(), r#"{"event":"e","event_ts":2}"#.into()),
    ];
    for (preset, first, second) in cases {
        let runtime = SourceRuntime::new(source(preset, SECRET));
        let [first, second] = [first, second].map(|body| event(&runtime, (&body, "d-1", NOW_S)));
        assert!(!are_one(&first, &second), "{preset}: {:?}", runtime.source().dedupe);
    }
}

#[test]
fn a_body_that_names_its_event_is_the_key_without_the_time_of_sending() {
    for preset in ["calendly", "discord", "elevenlabs", "zoom"] {
        assert_eq!(presets::find(preset).unwrap().dedupe, Some(vec![DedupeBy::Body]), "{preset}");
        let differs = presets::about(preset).unwrap().differs.as_deref().unwrap();
        let pointer = format!("/{}", differs.replace('.', "/"));
        let (_, sample) = &presets::samples(preset)[0];
        let sample: serde_json::Value = serde_json::from_str(sample).unwrap();
        assert!(sample.pointer(&pointer).is_some(), "{preset}: {differs}");
    }
}

#[test]
fn an_event_of_ringcentral_is_no_handshake_although_it_has_the_header_of_one() {
    let mut handshakes = 0;
    for vector in ProviderVector::all().iter().filter(|vector| vector.preset == "ringcentral") {
        let answer = vector.runtime().handshake(&vector.head(), &vector.body(), vector.now_ms());
        assert_eq!(answer.is_some(), vector.expect == "handshake", "{}", vector.name);
        handshakes += usize::from(answer.is_some());
    }
    assert_eq!(handshakes, 2);
}

#[test]
fn what_a_provider_may_send_fits_into_the_bound_of_its_preset() {
    for (preset, bytes) in [
        ("docusign", 25_000_000 / 3 * 4),
        ("github", 25_000_000),
        ("gitlab", 25_000_000),
        ("gitlab-signing-token", 25_000_000),
        ("whatsapp", 3 << 20),
    ] {
        let most = presets::find(preset).unwrap().max_body_bytes.unwrap_or_default();
        assert!(most > bytes, "{preset}: {most}");
    }
}
