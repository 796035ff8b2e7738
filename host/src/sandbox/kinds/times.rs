//! Times that an HTTP handler's answer asks for, by its headers.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};

use crate::text;

/// The header that asks for another call with the same event, after so many seconds.
const AGAIN: &str = "hookbox-again";

/// The time after which a handler that succeeded asks to be called again.
///
/// # Errors
/// The header holds something else; says what, for people.
pub(super) fn again(status: StatusCode, headers: &HeaderMap) -> Result<Option<Duration>, String> {
    if !status.is_success() {
        return Ok(None);
    }
    let Some(value) = headers.get(AGAIN) else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(|| {
        let shown = text::plain(&String::from_utf8_lossy(value.as_bytes()), 80);
        format!(
            "the handler answered with `{AGAIN}: {shown}`: write after how many whole seconds it is \
             to be called again"
        )
    })
}

/// `Retry-After` in seconds. A date (RFC 9110, section 10.2.3, allows both) is ignored, because the
/// clocks may differ.
pub(super) fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn a_header_of_a_success_asks_for_another_call() {
        let asks = |status: u16, value| {
            let headers = HeaderMap::from_iter([(
                header::HeaderName::from_static(AGAIN),
                HeaderValue::from_static(value),
            )]);
            again(StatusCode::from_u16(status).unwrap(), &headers)
        };
        assert_eq!(asks(204, " 30 "), Ok(Some(Duration::from_secs(30))));
        assert_eq!(asks(503, "30"), Ok(None), "a failure has its own header");
        assert_eq!(again(StatusCode::OK, &HeaderMap::new()), Ok(None));
        for bad in ["soon", "-1", "1.5", ""] {
            assert!(asks(200, bad).unwrap_err().contains("whole seconds"), "{bad:?}");
        }
    }
}
