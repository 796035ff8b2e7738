//! A component that exports `wasi:http/incoming-handler`, as it is built for `wasmtime serve`, Spin
//! or wasmCloud: it gets the event as a POST in CloudEvents binary mode, and its answer is the
//! verdict. 2xx is success, 429 and 5xx are retried, anything else is rejected; CloudEvents in a
//! 2xx answer are emitted, and with the header `hookbox-again` it is called again.
//!
//! The format:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.

use std::future::Future;
use std::pin::pin;

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::ended::{Ended, from_document};
use super::times;
use crate::config::Limits;
use crate::sandbox::Call;
use crate::sandbox::bindings::exports::hookbox::plugin::handler::{Failure, NewEvent};
use crate::sandbox::bindings::hookbox::plugin::types::RetryLater;
use crate::sandbox::host::AttemptState;
use crate::sandbox::limits::set_by;
use crate::{clock, cloudevents, text};

/// The host of the request: the name is reserved (RFC 6761) and never resolves.
const AUTHORITY: &str = "hookbox.invalid";
/// Characters that are escaped in a header, besides those beyond ASCII (section 3.1.3.2).
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// The most of an answer's text that becomes the reason of a failure, in bytes.
const MAX_REASON_BYTES: usize = 512;

type ProxyResult = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// An answer that has been read to its end.
struct FullAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Sends the event to the handler and reads its answer.
pub(super) async fn call(proxy: &Proxy, store: &mut Store<AttemptState>, call: &Call) -> Ended {
    let (sender, receiver) = oneshot::channel::<ProxyResult>();
    let mut http = store.data_mut().http();
    let resources = http
        .new_incoming_request(Scheme::Http, request(call))
        .and_then(|request| Ok((request, http.new_response_outparam(sender)?)));
    let (request, out) = match resources {
        Ok(resources) => resources,
        Err(error) => return Ended::Failed(error),
    };
    let handled = proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out);
    match answered(handled, receiver, &call.limits).await {
        Err(error) => Ended::Failed(error),
        Ok(Some(Ok(answer))) => match times::again(answer.status, &answer.headers) {
            Ok(again) => {
                if let Some(after) = again {
                    store.data_mut().ask_again(after);
                }
                ended(answer, &call.limits, call.event.attributes.subject.as_deref())
            }
            Err(why) => Ended::Refused(why),
        },
        Ok(Some(Err(why))) => Ended::Refused(why),
        Ok(None) => Ended::Refused("the handler returned without an answer".to_owned()),
    }
}

/// The answer, if there is one. The handler runs on while the body is read, because it writes it
/// meanwhile; a handler that fails ends both.
async fn answered(
    handled: impl Future<Output = wasmtime::Result<()>>,
    mut receiver: oneshot::Receiver<ProxyResult>,
    limits: &Limits,
) -> wasmtime::Result<Option<Result<FullAnswer, String>>> {
    let mut handled = pin!(handled);
    let answer = tokio::select! {
        biased;
        done = &mut handled => {
            done?;
            // A handler that has returned cannot answer any more.
            let Ok(answer) = receiver.try_recv() else { return Ok(None) };
            return Ok(Some(read(answer, limits).await));
        }
        answer = &mut receiver => match answer {
            Ok(answer) => answer,
            Err(_) => return handled.await.map(|()| None),
        },
    };
    let mut answer = pin!(read(answer, limits));
    tokio::select! {
        biased;
        done = &mut handled => {
            done?;
            Ok(Some(answer.await))
        }
        answer = &mut answer => {
            // A fault of the answer is the cause, and not that the handler cannot finish it.
            if answer.is_ok() {
                handled.await?;
            }
            Ok(Some(answer))
        }
    }
}

async fn read(answer: ProxyResult, limits: &Limits) -> Result<FullAnswer, String> {
    let (parts, body) = match answer {
        Ok(response) => response.into_parts(),
        Err(code) => return Err(format!("the handler answered with an error: {code:?}")),
    };
    let mut body = pin!(body);
    // One buffer: a list of small pieces would cost more than their bytes.
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| format!("the handler's answer ended early: {error:?}"))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limits.emitted_bytes {
            let most = limits.emitted_bytes;
            return Err(format!(
                "the handler's answer has more than {most} bytes; {}",
                set_by("limits.emitted_size")
            ));
        }
        read.extend_from_slice(&data);
    }
    Ok(FullAnswer { status: parts.status, headers: parts.headers, body: read.freeze() })
}

/// The event as a request in binary mode.
fn request(call: &Call) -> Request<Full<Bytes>> {
    let (event, attributes) = (&call.event, &call.event.attributes);
    let mut request = Request::new(Full::new(attributes.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri(&call.path);
    let headers = request.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        let value = utf8_percent_encode(value, ESCAPED).to_string();
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::try_from(value).expect("it is visible ASCII"),
        );
    };
    put("ce-specversion", "1.0");
    put("ce-id", &event.id.to_string());
    put("ce-source", &attributes.source);
    put("ce-type", &attributes.kind);
    put("ce-time", &clock::rfc3339(attributes.time_ms));
    if let Some(subject) = &attributes.subject {
        put("ce-subject", subject);
    }
    if let Some(parent) = event.parent {
        put("ce-parentid", &parent.to_string());
    }
    put("ce-attempt", &call.attempt.to_string());
    put("ce-maxattempts", &call.max_attempts.to_string());
    put("ce-idempotencykey", &call.idempotency_key);
    // For services that know nothing of CloudEvents.
    put("idempotency-key", &call.idempotency_key);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(attributes.body.len()));
    // A media type that is not a valid header value is left out.
    if let Some(Ok(media_type)) = attributes.content_type.as_deref().map(HeaderValue::from_str) {
        headers.insert(header::CONTENT_TYPE, media_type);
    }
    request
}

/// The configured path; the root if it is not valid.
fn uri(path: &str) -> Uri {
    let uri = Uri::builder().scheme("http").authority(AUTHORITY).path_and_query(path).build();
    uri.unwrap_or_else(|_| Uri::from_static("/"))
}

/// Reads the status. `subject` is that of the handled event.
fn ended(answer: FullAnswer, limits: &Limits, subject: Option<&str>) -> Ended {
    let status = answer.status;
    if status.is_success() {
        return match events(answer, limits, subject) {
            Ok(events) => Ended::Returned(Ok(events)),
            Err(why) => Ended::Refused(format!(
                "the handler answered with CloudEvents that cannot be read: {why}"
            )),
        };
    }
    let reason = reason(&answer);
    let again = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    Ended::Returned(Err(match again {
        true => {
            Failure::Retry(RetryLater { reason, after_ms: times::retry_after_ms(&answer.headers) })
        }
        false => Failure::Reject(reason),
    }))
}

/// The status, and the answer's text.
fn reason(answer: &FullAnswer) -> String {
    let status = answer.status;
    let said = std::str::from_utf8(&answer.body).map(str::trim).unwrap_or_default();
    let said = text::plain(said, MAX_REASON_BYTES);
    if said.is_empty() {
        format!("the handler answered {status}")
    } else {
        format!("the handler answered {status}: {said}")
    }
}

/// The events of an answer: a structured one, a batch, one in binary mode, or none.
fn events(
    answer: FullAnswer,
    limits: &Limits,
    handled: Option<&str>,
) -> Result<Vec<NewEvent>, String> {
    let media_type = answer.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type
        .and_then(|media_type| media_type.split(';').next())
        .map(str::trim)
        .unwrap_or_default();
    if essence.eq_ignore_ascii_case(cloudevents::MEDIA_TYPE) {
        return cloudevents::read(&answer.body).map(|document| vec![from_document(document)]);
    }
    if essence.eq_ignore_ascii_case(cloudevents::BATCH_MEDIA_TYPE) {
        let documents = cloudevents::read_batch(&answer.body, limits.emitted)?;
        return Ok(documents.into_iter().map(from_document).collect());
    }
    let attribute = |name: &str| {
        let value = percent_decode(answer.headers.get(name)?.as_bytes());
        Some(
            value
                .decode_utf8()
                .map(|value| value.into_owned())
                .map_err(|_| format!("`{name}` is not UTF-8")),
        )
    };
    let Some(type_) = attribute("ce-type").transpose()? else { return Ok(Vec::new()) };
    let delay = attribute("ce-delayms").transpose()?;
    let delay_ms = delay
        .map(|delay| delay.parse().map_err(|_| format!("`ce-delayms` is `{delay}`")))
        .transpose()?;
    // A handler may pass the subject on as it came, without encoding it: then `a%0Ab` is no line
    // break.
    let is_handled = answer
        .headers
        .get("ce-subject")
        .is_some_and(|value| handled.map(str::as_bytes) == Some(value.as_bytes()));
    let subject = if is_handled {
        handled.map(str::to_owned)
    } else {
        attribute("ce-subject").transpose()?
    };
    Ok(vec![NewEvent {
        type_,
        subject,
        data_content_type: media_type.map(str::to_owned),
        data: answer.body.to_vec(),
        delay_ms,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> FullAnswer {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let status = StatusCode::from_u16(status).unwrap();
        FullAnswer { status, headers: headers.collect(), body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn the_status_is_the_verdict() {
        for status in [200, 202, 204] {
            assert!(matches!(ended(answer(status, &[], "fine"), &Limits::default(), None),
                    Ended::Returned(Ok(events)) if events.is_empty()));
        }
        for (status, after) in [(429, "7"), (503, "7"), (500, "Wed, 21 Oct 2026 07:28:00 GMT")] {
            let ended = ended(
                answer(status, &[("retry-after", after)], " busy\n"),
                &Limits::default(),
                None,
            );
            let Ended::Returned(Err(Failure::Retry(later))) = ended else { panic!("{status}") };
            assert!(
                later.reason.contains(&status.to_string()) && later.reason.ends_with(": busy"),
                "{}",
                later.reason
            );
            assert_eq!(later.after_ms, (after == "7").then_some(7_000));
        }
        for status in [301, 400, 404, 410] {
            assert!(
                matches!(
                    ended(answer(status, &[], ""), &Limits::default(), None),
                    Ended::Returned(Err(Failure::Reject(_)))
                ),
                "{status}"
            );
        }
    }

    #[test]
    fn cloudevents_in_an_answer_are_emitted() {
        let one = r#"{"specversion":"1.0","type":"a","data":{"n":1}}"#;
        let structured =
            answer(200, &[("content-type", "application/cloudevents+json; charset=utf-8")], one);
        assert_eq!(events(structured, &Limits::default(), None).unwrap()[0].data, b"{\"n\":1}");
        let batch = r#"[{"specversion":"1.0","type":"a"},{"specversion":"1.0","type":"b"}]"#;
        let batch = answer(200, &[("content-type", "application/cloudevents-batch+json")], batch);
        assert_eq!(events(batch, &Limits::default(), None).unwrap().len(), 2);
        let headers = [
            ("ce-type", "a.b"),
            ("ce-subject", "order%201"),
            ("ce-delayms", "5"),
            ("content-type", "text/plain"),
        ];
        let binary =
            events(answer(200, &headers, "hello"), &Limits::default(), None).unwrap().remove(0);
        assert_eq!(
            (binary.type_.as_str(), binary.subject.as_deref(), binary.delay_ms),
            ("a.b", Some("order 1"), Some(5))
        );
        assert_eq!(
            (binary.data_content_type.as_deref(), binary.data.as_slice()),
            (Some("text/plain"), &b"hello"[..])
        );
    }

    #[test]
    fn a_subject_that_is_handed_on_stays_as_it_is_encoded_or_not() {
        for (header, handled, expected) in [
            ("a%250Ab", "a%0Ab", "a%0Ab"),
            ("a%0Ab", "a%0Ab", "a%0Ab"),
            ("order%201", "order 1", "order 1"),
            ("a%0Ab", "another", "a\nb"),
        ] {
            let answer = answer(200, &[("ce-type", "t"), ("ce-subject", header)], "");
            let event = events(answer, &Limits::default(), Some(handled)).unwrap().remove(0);
            assert_eq!(
                event.subject.as_deref(),
                Some(expected),
                "{header} while {handled} is handled"
            );
        }
    }

    #[test]
    fn cloudevents_that_cannot_be_read_are_an_error() {
        let broken = answer(200, &[("content-type", "application/cloudevents+json")], "{");
        assert!(
            matches!(ended(broken, &Limits::default(), None), Ended::Refused(why) if why.contains("cannot be read"))
        );
        assert!(
            events(
                answer(200, &[("ce-type", "a"), ("ce-delayms", "soon")], ""),
                &Limits::default(),
                None
            )
            .is_err()
        );
    }
}
