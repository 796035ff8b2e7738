//! Gatherings: their members, and the delivery of each that waits for its end.
//!
//! The first member of a key opens a gathering, whichever it is, so that none can come too early. A
//! gathering is open until it is complete, or until its delivery is leased or has ended: then its
//! members are frozen. Only integers are compared here. The meaning of a member was read from the
//! event before.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::append::Creation;
use super::batch::WriteBatch;
use crate::clock::after_ms;
use crate::event::{
    Counted, DeliveryId, Event, EventId, GatheringKind, MAX_MEMBERS, NewMember, PluginName,
    TargetOptions, Why,
};

/// A gathering as the writer sees it.
struct OpenGathering {
    /// Its delivery.
    id: DeliveryId,
    /// Host time of its first member.
    opened_ms: i64,
    /// Host time at which it ends in any case.
    until_ms: i64,
    /// Host time at which it ends if no further member comes; absent if that ends nothing.
    quiet_until_ms: Option<i64>,
    /// All of its members.
    members: u32,
    /// Those that are counted.
    count: u32,
    need: Option<u32>,
    seen: u64,
    /// Whether it takes no more members.
    ended: bool,
    /// Whether its time ran out before it was complete.
    late: bool,
    /// The cause of its completion, just now.
    why: Option<u8>,
}

impl WriteBatch<'_> {
    /// Makes a new event a member of what it is to be gathered into; `ordinal` is that of the
    /// event's next delivery.
    pub(super) fn gather(
        &mut self,
        event: &Arc<Event>,
        members: &[NewMember],
        ordinal: u32,
    ) -> Result<(), rusqlite::Error> {
        let mut next = ordinal;
        for member in members {
            let key = member.key.text(event.tree());
            let newest = self.newest_gathering(&member.terms.plugin, &key)?;
            match newest {
                Some(gathering)
                    if member.terms.kind == GatheringKind::Join
                        && gathering.is_closed(self.now_ms) =>
                {
                    self.note_late(event.id, &member.terms.plugin)?;
                }
                Some(gathering) if !gathering.ended => self.join(event, member, gathering)?,
                _ => {
                    self.open_gathering(event, member, &key, next)?;
                    next += 1;
                }
            }
        }
        Ok(())
    }

    /// Notes that an event came after the end of its join.
    fn note_late(&self, event: EventId, plugin: &str) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "UPDATE events SET note = CASE WHEN note IS NULL THEN ?2 ELSE note || '; ' || ?2 END WHERE id = ?1",
            )?
            .execute(params![event.row(), format!("late_member: `{plugin}` had ended before")])?;
        Ok(())
    }

    /// The newest gathering of a key.
    fn newest_gathering(
        &self,
        plugin: &str,
        key: &str,
    ) -> Result<Option<OpenGathering>, rusqlite::Error> {
        self.connection
            .prepare_cached(
                "SELECT g.event, g.ordinal, g.opened_ms, g.until_ms, g.count, g.need, g.seen,
                        g.frozen OR g.why IS NOT NULL OR d.due_ms IS NULL, g.frozen AND g.why IS NULL,
                        g.members, g.quiet_until_ms
                 FROM gatherings g JOIN deliveries d ON d.event = g.event AND d.ordinal = g.ordinal
                 WHERE g.plugin = ?1 AND g.key = ?2 ORDER BY g.event DESC, g.ordinal DESC LIMIT 1",
            )?
            .query_row([plugin, key], |row| {
                Ok(OpenGathering {
                    id: DeliveryId { event: EventId::from_row(row.get(0)?), ordinal: row.get(1)? },
                    opened_ms: row.get(2)?,
                    until_ms: row.get(3)?,
                    count: row.get(4)?,
                    need: row.get(5)?,
                    seen: row.get::<_, i64>(6)?.cast_unsigned(),
                    ended: row.get(7)?,
                    late: row.get(8)?,
                    members: row.get(9)?,
                    quiet_until_ms: row.get(10)?,
                    why: None,
                })
            })
            .optional()
    }

    /// Opens a gathering with its first member.
    fn open_gathering(
        &mut self,
        event: &Arc<Event>,
        member: &NewMember,
        key: &str,
        ordinal: u32,
    ) -> Result<(), rusqlite::Error> {
        let terms = &member.terms;
        let id = DeliveryId { event: event.id, ordinal };
        let within = self.time_limit(&terms.plugin)?.unwrap_or(terms.within);
        let mut gathering = OpenGathering {
            id,
            opened_ms: self.now_ms,
            until_ms: after_ms(self.now_ms, within),
            quiet_until_ms: terms.quiet.map(|quiet| after_ms(self.now_ms, quiet)),
            members: 0,
            count: 0,
            need: None,
            seen: 0,
            ended: false,
            late: false,
            why: None,
        };
        gathering.count_in(member, true);
        self.insert_gathering(&gathering, &terms.plugin, key)?;
        self.insert_member(&gathering, event.id, member)?;
        let delay = match gathering.why {
            Some(_) => Duration::ZERO,
            None => terms.quiet.map_or(within, |quiet| quiet.min(within)),
        };
        let leased = self.leased.len();
        self.create_delivery(
            event,
            Creation {
                ordinal,
                plugin: &terms.plugin,
                options: &TargetOptions::default(),
                key: None,
                delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                replay: false,
            },
        )?;
        if self.leased.len() > leased {
            self.freeze(id)?;
        }
        Ok(())
    }

    fn insert_gathering(
        &self,
        gathering: &OpenGathering,
        plugin: &str,
        key: &str,
    ) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "INSERT INTO gatherings (event, ordinal, plugin, key, opened_ms, until_ms, count, need, seen, frozen, why, members, quiet_until_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10, ?11, ?12)",
            )?
            .execute(params![
                gathering.id.event.row(),
                gathering.id.ordinal,
                plugin,
                key,
                gathering.opened_ms,
                gathering.until_ms,
                gathering.count,
                gathering.need,
                gathering.seen.cast_signed(),
                gathering.why,
                gathering.members,
                gathering.quiet_until_ms,
            ])?;
        Ok(())
    }

    /// Adds a member to an open gathering, which may complete it.
    fn join(
        &mut self,
        event: &Arc<Event>,
        member: &NewMember,
        mut gathering: OpenGathering,
    ) -> Result<(), rusqlite::Error> {
        let is_new = self.insert_member(&gathering, event.id, member)?;
        gathering.count_in(member, is_new);
        // A gathering that has been quiet for long enough is due already, and stays so.
        if gathering.quiet_until_ms.is_none_or(|quiet_ms| quiet_ms > self.now_ms) {
            let put_off = member.terms.quiet.map(|quiet| after_ms(self.now_ms, quiet));
            gathering.quiet_until_ms = put_off.or(gathering.quiet_until_ms);
        }
        self.connection
            .prepare_cached(
                "UPDATE gatherings SET count = ?3, need = ?4, seen = ?5, why = ?6, members = ?7,
                        quiet_until_ms = ?8
                 WHERE event = ?1 AND ordinal = ?2",
            )?
            .execute(params![
                gathering.id.event.row(),
                gathering.id.ordinal,
                gathering.count,
                gathering.need,
                gathering.seen.cast_signed(),
                gathering.why,
                gathering.members,
                gathering.quiet_until_ms,
            ])?;
        let plugin = &member.terms.plugin;
        match (gathering.why, member.terms.quiet) {
            (Some(_), _) => self.make_due(gathering.id, plugin, self.now_ms),
            (None, Some(quiet)) => {
                let due_ms = after_ms(self.now_ms, quiet).min(gathering.until_ms);
                self.make_due(gathering.id, plugin, due_ms)
            }
            (None, None) => Ok(()),
        }
    }

    /// Changes when the delivery of a gathering is due, unless it is due already.
    fn make_due(
        &mut self,
        id: DeliveryId,
        plugin: &PluginName,
        due_ms: i64,
    ) -> Result<(), rusqlite::Error> {
        let waits = self
            .connection
            .prepare_cached(
                "SELECT 1 FROM deliveries WHERE event = ?1 AND ordinal = ?2 AND due_ms > ?3 AND crashes = 0",
            )?
            .exists(params![id.event.row(), id.ordinal, self.now_ms])?;
        if waits { self.open(id, plugin, due_ms) } else { Ok(()) }
    }

    /// Stores a member; says whether it is counted for the first time.
    fn insert_member(
        &self,
        gathering: &OpenGathering,
        event: EventId,
        member: &NewMember,
    ) -> Result<bool, rusqlite::Error> {
        let DeliveryId { event: first, ordinal } = gathering.id;
        let text = match &member.counted {
            Counted::Text(text) => Some(text),
            Counted::Event | Counted::Not => None,
        };
        let is_known = match text {
            Some(text) => self
                .connection
                .prepare_cached(
                    "SELECT 1 FROM gathered WHERE gathering = ?1 AND ordinal = ?2 AND member = ?3",
                )?
                .exists(params![first.row(), ordinal, text])?,
            None => member.counted == Counted::Not,
        };
        self.connection
            .prepare_cached(
                "INSERT INTO gathered (gathering, ordinal, event, member) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![first.row(), ordinal, event.row(), text])?;
        Ok(!is_known)
    }

    /// A gathering whose delivery is leased takes no more members.
    pub(super) fn freeze(&self, id: DeliveryId) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached("UPDATE gatherings SET frozen = 1 WHERE event = ?1 AND ordinal = ?2")?
            .execute(params![id.event.row(), id.ordinal])?;
        Ok(())
    }

    /// The host time until which a gathering waits for members; none if it is over, and for any
    /// other delivery.
    pub(super) fn waits_for_members_until(
        &self,
        id: DeliveryId,
    ) -> Result<Option<i64>, rusqlite::Error> {
        let until_ms: Option<i64> = self
            .connection
            .prepare_cached(
                "SELECT min(until_ms, coalesce(quiet_until_ms, until_ms)) FROM gatherings
                 WHERE event = ?1 AND ordinal = ?2 AND NOT frozen AND why IS NULL",
            )?
            .query_row(params![id.event.row(), id.ordinal], |row| row.get(0))
            .optional()?;
        Ok(until_ms.filter(|until_ms| *until_ms > self.now_ms))
    }
}

impl OpenGathering {
    /// Host time from which the key of a join that has ended may open another one. If its time ran
    /// out, that is once more as long: a straggler would open another one, and perhaps complete it.
    fn closed_until_ms(&self) -> i64 {
        let again_ms = if self.late { self.until_ms - self.opened_ms } else { 0 };
        self.until_ms.saturating_add(again_ms)
    }

    /// Whether the key of a join takes no member at this host time. One whose time is over is late
    /// also before its delivery is leased.
    fn is_closed(&self, now_ms: i64) -> bool {
        match self.ended {
            true => self.closed_until_ms() > now_ms,
            false => self.until_ms <= now_ms,
        }
    }

    /// Takes a member into account; `is_new` tells whether it is counted for the first time.
    fn count_in(&mut self, member: &NewMember, is_new: bool) {
        let terms = &member.terms;
        self.members += 1;
        self.count += u32::from(is_new && member.counted != Counted::Not);
        self.need = self.need.or(member.need);
        self.seen |= member.seen;
        let why = if member.closes {
            Some(Why::Close)
        } else if terms.types != 0 && self.seen & terms.types == terms.types {
            Some(Why::Types)
        } else if terms.need.or(self.need).is_some_and(|need| self.count >= need) {
            Some(if terms.kind == GatheringKind::Join { Why::Need } else { Why::Size })
        } else if self.members >= MAX_MEMBERS {
            Some(Why::Limit)
        } else {
            None
        };
        self.why = self.why.or(why.map(Why::code));
    }
}
