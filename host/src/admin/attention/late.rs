//! Lateness and shortage: deliveries that are due and not begun, ticks, space on the disk.

use std::collections::BTreeMap;

use super::{OpenTrouble, TroubleKind, TroubleSpan};
use crate::admin::paused;
use crate::admin::state::Admin;
use crate::event::{PluginName, State};
use crate::names::is_built_in;
use crate::store::{DueTimes, Pausable, SkipReason, Stats, StoreSpace, StoredSchedule};
use crate::text::grouped;

/// A delivery that is due and not begun for longer is late, in milliseconds.
const OLD_READY_MS: i64 = 60_000;

/// A tick that is not made so long after its time is late, in milliseconds.
const LATE_TICK_MS: i64 = 60_000;

/// A tick that was missed is told of for so long, or until the next one, in milliseconds.
const MISSED_SHOWN_MS: i64 = 86_400_000;

/// With less than this part of a disk free there is too little space, unless it is a large disk.
const LOW_DISK_PART: u64 = 10;

/// With more free bytes there is enough space on any disk.
const MUCH_DISK_BYTES: u64 = 10 << 30;

/// With fewer free bytes there is too little space on any disk.
const LOW_DISK_BYTES: u64 = 1 << 30;

/// A trouble that loses nothing by itself.
fn trouble(
    about: TroubleKind,
    (part, name): (&'static str, &str),
    says: String,
    effect: &'static str,
    since_ms: Option<i64>,
) -> OpenTrouble {
    let (name, span) = (name.to_owned(), since_ms.map(TroubleSpan::since));
    let (later, trend) = (None, Vec::new());
    OpenTrouble { is_grave: false, about, part, name, says, effect, span, later, trend }
}

/// Plugins that run, and do not begin what is due. Those that are paused or not there are trouble
/// by themselves.
pub(super) fn old_ready(
    admin: &Admin,
    stats: &Stats,
    due: &BTreeMap<PluginName, DueTimes>,
) -> Vec<OpenTrouble> {
    let (registry, now_ms) = (admin.registry.load(), admin.clock.now_ms());
    let runs = |name: &str| {
        let is_loaded = registry.entry(name).is_some_and(|entry| entry.loaded.is_some());
        let is_paused = paused::of(admin, Pausable::Plugin, name).is_some();
        (is_loaded || is_built_in(name)) && !is_paused
    };
    let row = |(name, times): (&PluginName, &DueTimes)| {
        let since_ms = times.oldest_ready_ms.filter(|ms| now_ms - ms > OLD_READY_MS)?;
        let counts = stats.plugins.get(name)?;
        let ready = counts.0[usize::from(State::Ready.code())];
        let are = if ready == 1 { "delivery is" } else { "deliveries are" };
        let says = format!(
            "{} {are} ready and not begun, the oldest for more than {} s",
            grouped(ready),
            OLD_READY_MS / 1_000
        );
        let effect = "events for it are handled late";
        let found =
            || trouble(TroubleKind::OldReady, ("plugin", name), says, effect, Some(since_ms));
        (ready > 0 && runs(name)).then(found)
    };
    due.iter().filter_map(row).collect()
}

/// Schedules of which a tick is late, or was missed.
pub(super) fn schedules(admin: &Admin, stored: &[StoredSchedule]) -> Vec<OpenTrouble> {
    let config = admin.config.load();
    let now_ms = admin.clock.now_ms().saturating_add(admin.store.ahead_of_wall_ms());
    let row = |row: &StoredSchedule| {
        let schedule = config.schedules.get(&*row.name).filter(|schedule| schedule.enabled)?;
        let is_same = row.mark.active && row.mark.spec == schedule.spec_hash();
        if !is_same || paused::of(admin, Pausable::Schedule, &row.name).is_some() {
            return None;
        }
        let late_ms = now_ms.saturating_sub(schedule.due_ms(row.mark.next_ms));
        let (says, since_ms) = match (row.skipped, row.last_ms) {
            _ if late_ms > LATE_TICK_MS => {
                ("its tick is late: it is due, and no host has made it", row.mark.next_ms)
            }
            (Some(SkipReason::Missed), Some(last_ms)) if now_ms - last_ms < MISSED_SHOWN_MS => {
                ("its last tick was missed: no host was there in time", last_ms)
            }
            _ => return None,
        };
        let effect = "there is no event of that time";
        let of = ("schedule", &*row.name);
        Some(trouble(TroubleKind::Schedule, of, says.to_owned(), effect, Some(since_ms)))
    };
    stored.iter().filter_map(row).collect()
}

/// Whether too little of a disk is free.
pub(in crate::admin) fn is_low((free, all): (u64, u64)) -> bool {
    free < LOW_DISK_BYTES || free < MUCH_DISK_BYTES.min(all / LOW_DISK_PART)
}

/// The disk of the store, if too little of it is free.
pub(super) fn low_disk(space: StoreSpace) -> Option<OpenTrouble> {
    let (free, all) = space.disk.filter(|disk| is_low(*disk))?;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let says = format!("{:.1} GiB of {:.1} GiB are free", gib(free), gib(all));
    let effect = "a disk that is full refuses new events";
    Some(trouble(TroubleKind::Host, ("disk", ""), says, effect, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_tenth_of_a_disk_and_a_gib_are_to_be_free() {
        let low = |free, all| low_disk(StoreSpace { store_bytes: 1, disk: Some((free, all)) });
        assert!(low(10 * GIB, 100 * GIB).is_none() && low(GIB, 4 * GIB).is_none());
        assert!(low(GIB - 1, 4 * GIB).is_some(), "less than a GiB");
        assert!(low(10 * GIB, 1_000 * GIB).is_none(), "room for weeks");
        let row = low(6 * GIB, 100 * GIB).unwrap();
        assert_eq!((row.part, row.says.as_str()), ("disk", "6.0 GiB of 100.0 GiB are free"));
        assert!(low_disk(StoreSpace { store_bytes: 1, disk: None }).is_none());
    }
}
