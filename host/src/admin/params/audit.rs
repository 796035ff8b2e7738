//! Parameters of the audit log.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;

use super::filters::{cursor_of, rows, time};
use crate::admin::problem::ProblemJson;
use crate::store::AuditFilter;

/// Filters of `GET /api/v1/audit`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct AuditQuery {
    /// By exactly this client: the name of its token, or `local`.
    actor: Option<String>,
    /// Exactly this action, or all that begin with it and a dot: `deliveries`.
    action: Option<String>,
    /// With this text in the target or the details.
    target: Option<String>,
    /// At or after: RFC 3339 or Unix seconds.
    since: Option<String>,
    /// Before: RFC 3339 or Unix seconds.
    until: Option<String>,
    /// Rows of a page, 1 to 500; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl AuditQuery {
    /// Whether it says how many rows.
    pub(in crate::admin) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    pub(in crate::admin) fn filter(&self) -> Result<AuditFilter, ProblemJson> {
        Ok(AuditFilter {
            actor: self.actor.clone(),
            action: self.action.clone(),
            target: self.target.clone(),
            since_ms: time("since", self.since.as_deref())?,
            until_ms: time("until", self.until.as_deref())?,
        })
    }

    pub(in crate::admin) fn page(&self) -> Result<(usize, Option<i64>), ProblemJson> {
        let limit = rows(self.limit.as_deref())?;
        Ok((limit, cursor_of(self.cursor.as_deref(), read)?))
    }
}

/// The text of a cursor: opaque to clients.
pub(in crate::admin) fn audit_text(before: i64) -> String {
    URL_SAFE_NO_PAD.encode(before.to_be_bytes())
}

fn read(text: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let before = i64::from_be_bytes(bytes.try_into().ok()?);
    (before > 0).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_the_audit_log_is_read_back_and_a_foreign_one_is_not() {
        assert_eq!(read(&audit_text(17)), Some(17));
        for text in ["", "x", "AAAA", "AAAAAAAAAAA", "evt_1a2093497a300000"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
