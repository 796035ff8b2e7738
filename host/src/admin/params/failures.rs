//! Parameters of groups of failures.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;

use super::attempts::failed_outcome;
use super::filters::{cursor_of, rows, time};
use crate::admin::problem::ProblemJson;
use crate::event::FailureId;
use crate::store::{FailureCursor, FailureFilter};

/// Filters of `GET /api/v1/failures`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct FailureQuery {
    /// `open`: only groups that have dead or open deliveries, which is the default; or `all`.
    state: Option<String>,
    /// Of this plugin.
    plugin: Option<String>,
    /// With this outcome: `retry`, `reject`, `trap`, `timeout`, `memory`, `error` or `crash`.
    outcome: Option<String>,
    /// Met at or after: RFC 3339 or Unix seconds.
    since: Option<String>,
    /// Met first before: RFC 3339 or Unix seconds.
    until: Option<String>,
    /// Rows of a page, 1 to 500; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl FailureQuery {
    pub(in crate::admin) fn filter(&self) -> Result<FailureFilter, ProblemJson> {
        let open = match self.state.as_deref() {
            None | Some("open") => true,
            Some("all") => false,
            Some(other) => {
                let other: String = other.chars().take(80).collect();
                return Err(ProblemJson::bad_request(format!(
                    "`state`: `{other}` is neither `open` nor `all`"
                )));
            }
        };
        Ok(FailureFilter {
            open,
            plugin: self.plugin.clone(),
            outcome: failed_outcome(self.outcome.as_deref())?,
            since_ms: time("since", self.since.as_deref())?,
            until_ms: time("until", self.until.as_deref())?,
        })
    }

    pub(in crate::admin) fn page(&self) -> Result<(usize, Option<FailureCursor>), ProblemJson> {
        let limit = rows(self.limit.as_deref())?;
        Ok((limit, cursor_of(self.cursor.as_deref(), read)?))
    }
}

/// The text of a cursor: opaque to clients.
pub(in crate::admin) fn failure_text(cursor: FailureCursor) -> String {
    let mut bytes = cursor.first_ms.to_be_bytes().to_vec();
    bytes.extend(cursor.id.row().to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read(text: &str) -> Option<FailureCursor> {
    let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (first_ms, id) = bytes.split_at(8);
    let id = i64::from_be_bytes(id.try_into().ok()?);
    let id = (0..1 << 48).contains(&id).then(|| FailureId::from_row(id))?;
    Some(FailureCursor { first_ms: i64::from_be_bytes(first_ms.try_into().ok()?), id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_failures_is_read_back_and_a_foreign_one_is_not() {
        let cursor = FailureCursor { first_ms: 17, id: FailureId::other(&"audit".into()) };
        assert_eq!(read(&failure_text(cursor)), Some(cursor));
        for text in ["", "x", "AAAA", "_____________________w", "f_0123456789ab"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
