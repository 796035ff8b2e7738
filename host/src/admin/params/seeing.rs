//! Parameters of trees and of open joins.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use utoipa::IntoParams;

use super::filters::{cursor_of, limit_of, rows};
use crate::admin::problem::ProblemJson;
use crate::event::{DeliveryId, EventId};
use crate::store::{GatheringCursor, GatheringFilter, MAX_PAGE};

/// Parameters of `GET /api/v1/events/{id}/tree`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct TreeQuery {
    /// Events of a page, 1 to 1000; 1000 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Filters of `GET /api/v1/joins`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct JoinQuery {
    /// Of this section: `joins/NAME` or `batches/NAME`.
    name: Option<String>,
    /// With exactly this key.
    key: Option<String>,
    /// Rows of a page, 1 to 500; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl TreeQuery {
    /// Asks for the page after this cursor.
    pub(in crate::admin) fn after(cursor: Option<String>) -> Self {
        Self { limit: None, cursor }
    }

    pub(in crate::admin) fn page(&self) -> Result<(usize, Option<EventId>), ProblemJson> {
        let limit = limit_of(self.limit.as_deref(), MAX_PAGE, MAX_PAGE)?;
        Ok((limit, cursor_of(self.cursor.as_deref(), |text| text.parse().ok())?))
    }
}

impl JoinQuery {
    pub(in crate::admin) fn filter(&self) -> Result<GatheringFilter, ProblemJson> {
        let is_known = |name: &String| name.starts_with("joins/") || name.starts_with("batches/");
        if let Some(name) = self.name.as_ref().filter(|name| !is_known(name)) {
            let name: String = name.chars().take(80).collect();
            return Err(ProblemJson::bad_request(format!(
                "`name`: `{name}` is neither `joins/NAME` nor `batches/NAME`"
            )));
        }
        Ok(GatheringFilter { plugin: self.name.clone(), key: self.key.clone() })
    }

    pub(in crate::admin) fn page(&self) -> Result<(usize, Option<GatheringCursor>), ProblemJson> {
        let limit = rows(self.limit.as_deref())?;
        Ok((limit, cursor_of(self.cursor.as_deref(), read_gathering)?))
    }
}

/// The text of a cursor: opaque to clients.
pub(in crate::admin) fn gathering_text(cursor: &GatheringCursor) -> String {
    let GatheringCursor { crashes, plugin, due_ms, id: DeliveryId { event, ordinal } } = cursor;
    let mut bytes = event.row().to_be_bytes().to_vec();
    bytes.extend(due_ms.to_be_bytes());
    bytes.extend(ordinal.to_be_bytes());
    bytes.extend(crashes.to_be_bytes());
    bytes.extend(plugin.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_gathering(text: &str) -> Option<GatheringCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (event, rest) = bytes.split_first_chunk()?;
    let (due_ms, rest) = rest.split_first_chunk()?;
    let (ordinal, rest) = rest.split_first_chunk()?;
    let (crashes, plugin) = rest.split_first_chunk()?;
    let event = EventId::from_row(i64::from_be_bytes(*event));
    Some(GatheringCursor {
        crashes: u32::from_be_bytes(*crashes),
        plugin: String::from_utf8(plugin.to_vec()).ok()?,
        due_ms: i64::from_be_bytes(*due_ms),
        id: DeliveryId { event, ordinal: u32::from_be_bytes(*ordinal) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_joins_is_read_back_and_a_foreign_one_is_not() {
        let cursor = GatheringCursor {
            crashes: 1,
            plugin: "joins/order".to_owned(),
            due_ms: i64::MAX,
            id: DeliveryId { event: EventId::first_at(1_770_000_000_000), ordinal: 7 },
        };
        assert_eq!(read_gathering(&gathering_text(&cursor)), Some(cursor));
        for text in ["", "x", "AAAA", "%00"] {
            assert_eq!(read_gathering(text), None, "{text}");
        }
    }
}
