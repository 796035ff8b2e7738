//! The types that come from a source, and how often.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::state::Admin;
use crate::clock::rfc3339;
use crate::series::{PairKind, PairWindow};

/// The most types that are shown of a source.
const MAX_TYPES: usize = 50;

/// A type that came from a source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TypeSeen)]
pub(in crate::admin) struct TypeSeenJson {
    /// The type.
    #[serde(rename = "type")]
    pub(in crate::admin) kind: String,
    /// Events within the last hour.
    pub(in crate::admin) hour: u64,
    /// Events a minute: those of the last hour, or of the time since the start if that is less.
    pub(in crate::admin) per_minute: f64,
    /// Events within the last 24 hours.
    pub(in crate::admin) day: u64,
    /// About when the last one came, RFC 3339 with milliseconds.
    pub(in crate::admin) last_at: Option<String>,
    /// Whether a route takes it now, if its conditions hold.
    pub(in crate::admin) routed: bool,
}

/// The types that came from a source.
pub(super) fn types(admin: &Admin, source: &str) -> Vec<TypeSeenJson> {
    let (config, now_ms) = (admin.config.load(), admin.clock.now_ms());
    let came = |window| {
        let all = admin.series.pairs().totals(window, now_ms).into_iter();
        all.filter(|total| total.kind == PairKind::Received && *total.from == *source)
    };
    let hour: HashMap<_, _> = came(PairWindow::Hour).map(|total| (total.to, total.count)).collect();
    // Pairs are counted by the minute.
    let up_minutes = now_ms.saturating_sub(admin.started_ms) as f64 / 60_000.0;
    let minutes = up_minutes.clamp(1.0, 60.0);
    let in_hour = |kind: &Arc<str>| hour.get(kind).copied().unwrap_or_default();
    let mut types: Vec<_> = came(PairWindow::Day)
        .map(|total| TypeSeenJson {
            hour: in_hour(&total.to),
            per_minute: in_hour(&total.to) as f64 / minutes,
            day: total.count,
            last_at: total.last_ms.map(rfc3339),
            routed: config.routes.takes(source, &total.to),
            kind: total.to.to_string(),
        })
        .collect();
    types.sort_by_key(|seen| std::cmp::Reverse(seen.day));
    types.truncate(MAX_TYPES);
    types
}
