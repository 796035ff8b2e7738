//! The body of an event, byte for byte.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::admin::params::{Id, NoQuery, Params};
use crate::admin::problem::ProblemJson;
use crate::admin::sees::Sees;
use crate::admin::state::Admin;
use crate::event::EventId;

/// The body of an event, for a client that reads it.
pub(in crate::admin) async fn body(
    admin: &Admin,
    sees: Sees,
    id: EventId,
) -> Result<Bytes, ProblemJson> {
    sees.need("this is a payload")?;
    Ok(admin.store.event(id).await?.event.attributes.body)
}

/// Download the body of an event, byte for byte.
///
/// It is sent as an attachment of unknown kind: it is a stranger's, and nothing for a browser to
/// show. A `Range` of one piece (RFC 9110 §14) is answered with that piece.
#[utoipa::path(get, path = "/api/v1/events/{id}/body", tag = "events",
    params(("id" = String, Path, description = "An event id (`evt_…`)")), responses(
    (status = 200, description = "The bytes", body = serde_json::Value, content_type = "application/octet-stream"),
    (status = 206, description = "The bytes of `Range`", body = serde_json::Value, content_type = "application/octet-stream"),
    (status = 416, description = "`Range` begins behind the end", body = ProblemJson, content_type = "application/problem+json"),
    (status = "default", description = "Refused", body = ProblemJson, content_type = "application/problem+json"),
))]
pub(in crate::admin) async fn show_body(
    State(admin): State<Arc<Admin>>,
    sees: Sees,
    Params(NoQuery {}): Params<NoQuery>,
    Id(id): Id<EventId>,
    headers: HeaderMap,
) -> Result<Response, ProblemJson> {
    let bytes = body(&admin, sees, id).await?;
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let length = bytes.len();
    let name = format!("attachment; filename=\"{id}\"");
    let name = HeaderValue::from_str(&name)
        .map_err(|error| ProblemJson::bad_request(error.to_string()))?;
    let kind = HeaderValue::from_static("application/octet-stream");
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_DISPOSITION, name),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ];
    let of_all = |piece: &str| [(header::CONTENT_RANGE, format!("bytes {piece}/{length}"))];
    match range.map_or(ByteRange::All, |range| piece(range, length)) {
        ByteRange::All => Ok((headers, bytes).into_response()),
        ByteRange::Part(from, to) => {
            let part = bytes.slice(from..to);
            let of_all = of_all(&format!("{from}-{}", to - 1));
            Ok((StatusCode::PARTIAL_CONTENT, headers, of_all, part).into_response())
        }
        ByteRange::None => {
            let detail = format!("`Range` begins behind the end: the body has {length} bytes");
            let problem = ProblemJson::new(StatusCode::RANGE_NOT_SATISFIABLE, detail);
            Ok((of_all("*"), problem).into_response())
        }
    }
}

/// The bytes that a range means.
#[derive(Debug, PartialEq, Eq)]
enum ByteRange {
    /// Anything but a range of one piece is ignored.
    All,
    /// From this byte up to that one, which is none of it.
    Part(usize, usize),
    /// None of these are there.
    None,
}

/// Reads `bytes=A-B`, `bytes=A-` or `bytes=-COUNT` for a body of this length.
fn piece(range: &str, length: usize) -> ByteRange {
    let Some((from, to)) = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return ByteRange::All;
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(from) || !is_number(to) || from.is_empty() && to.is_empty() {
        return ByteRange::All;
    }
    // A position that is too long for a number is behind every end.
    let number = |text: &str| text.parse().unwrap_or(usize::MAX);
    if from.is_empty() {
        let count = number(to).min(length);
        return if count == 0 { ByteRange::None } else { ByteRange::Part(length - count, length) };
    }
    let from = number(from);
    let to = if to.is_empty() { length } else { number(to).saturating_add(1).min(length) };
    match from {
        from if from >= length => ByteRange::None,
        from if from >= to => ByteRange::All,
        from => ByteRange::Part(from, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_one_piece_is_read_and_everything_else_is_the_whole() {
        for (range, wanted) in [
            ("bytes=0-3", ByteRange::Part(0, 4)),
            ("bytes=4-", ByteRange::Part(4, 10)),
            ("bytes=8-99999999999999999999999", ByteRange::Part(8, 10)),
            ("bytes=-3", ByteRange::Part(7, 10)),
            ("bytes=-99", ByteRange::Part(0, 10)),
            ("bytes=10-", ByteRange::None),
            ("bytes=-0", ByteRange::None),
            ("bytes=3-2", ByteRange::All),
            ("bytes=0-1,3-4", ByteRange::All),
            ("bytes=a-b", ByteRange::All),
            ("bytes=-", ByteRange::All),
            ("lines=0-1", ByteRange::All),
        ] {
            assert_eq!(piece(range, 10), wanted, "{range}");
        }
        assert_eq!(piece("bytes=0-", 0), ByteRange::None);
    }
}
