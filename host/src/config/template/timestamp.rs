//! Reads when a request was sent, and how old it may be.

use std::ops::RangeInclusive;

use super::{field, place};
use crate::config::raw::{Item, Section};
use crate::config::source::{Field, Part, Signature, Stale, TimeFormat, Timestamp};
use crate::config::units::{DAY_MS, SECOND_MS};

const TOLERANCE_BOUNDS_MS: RangeInclusive<u64> = SECOND_MS..=30 * DAY_MS;

/// Reads `timestamp`, `tolerance` and `stale` of `verify`, which is `item`.
pub(super) fn read(item: &Item<'_>, section: &mut Section<'_>, rule: &mut Signature) {
    if let Some((field, format)) =
        section.take("timestamp").and_then(|item| read_field(&item, rule.timestamp.as_ref()))
    {
        let (tolerance_ms, stale) = rule
            .timestamp
            .as_ref()
            .map_or((Timestamp::DEFAULT_TOLERANCE_MS, Stale::Reject), |known| {
                (known.tolerance_ms, known.stale)
            });
        rule.timestamp = Some(Timestamp { field, required: false, tolerance_ms, stale, format });
    }
    let tolerance_item = section.take("tolerance");
    let stale_item = section.take("stale");
    let is_signed = rule.signed.contains(&Part::Timestamp);
    let Some(timestamp) = &mut rule.timestamp else {
        for item in [&tolerance_item, &stale_item].into_iter().flatten() {
            item.refuse_key(
                "has no use without a `timestamp`",
                "say which header carries it: `timestamp = { header = \"X-Timestamp\" }`",
            );
        }
        if is_signed {
            item.refuse(
                "signs the {timestamp}, but no header is named for it",
                "add `timestamp = { header = \"X-Timestamp\" }`",
            );
        }
        return;
    };
    // A signed timestamp that is missing leaves nothing to check; an unsigned one could be taken
    // out by anyone.
    timestamp.required = is_signed || timestamp.field.place.is_in_body();
    if let Some(tolerance_ms) =
        tolerance_item.and_then(|item| item.duration_ms(TOLERANCE_BOUNDS_MS))
    {
        timestamp.tolerance_ms = tolerance_ms;
    }
    if let Some(stale) = stale_item
        .and_then(|item| item.word(&[("reject", Stale::Reject), ("accept", Stale::Accept)]))
    {
        timestamp.stale = stale;
    }
}

fn read_field(item: &Item<'_>, known: Option<&Timestamp>) -> Option<(Field, TimeFormat)> {
    let mut section = item.section("{ header = \"X-Timestamp\" }")?;
    let mut field = known.map_or_else(field::unnamed, |known| known.field.clone());
    match place::take(item, &mut section) {
        Some(place) => field.place = place,
        None if field.place.header() == Some("") => {
            item.refuse("names no header", "write for example { header = \"X-Timestamp\" }")
        }
        None => {}
    }
    let format = section.take("format").and_then(|item| {
        item.word(&[
            ("s", TimeFormat::Seconds),
            ("ms", TimeFormat::Milliseconds),
            ("rfc3339", TimeFormat::Rfc3339),
        ])
    });
    let format = format.or(known.map(|known| known.format)).unwrap_or_default();
    field::read_affixes(&mut section, &mut field);
    section.finish();
    Some((field, format))
}
