//! An entry of the audit log, and what the sweep deletes.

use tokio::sync::oneshot;

use super::*;
use crate::event::EditedFrom;
use crate::store::sqlite::command::WriteCommand;
use crate::store::sqlite::operator::Expired;
use crate::store::sqlite::positions;
use crate::store::{Actor, AuditNote, KeyChange, KeyExpected, Pausable, PauseChange, Via};

/// A change with its entry, and what the sweep deletes.
pub(super) fn change_and_sweep(batch: &mut WriteBatch<'_>, first: EventId) {
    let connection = batch.connection;
    let actor = Actor { name: "jo".into(), role: "operator", via: Via::Api };
    let mut note = AuditNote::new(actor, "events.replay", "an event", "");
    note.key = Some("k".to_owned());
    let (reply, targets) = (oneshot::channel().0, vec![Target::to("audit")]);
    let mut replay = WriteCommand::Replay { event: first, targets, reply };
    for _ in 0..2 {
        batch.noted(&note, &mut replay).unwrap();
    }
    let (kind, name) = (Pausable::Plugin, Arc::from("audit"));
    let (by, reason) = ("jo".to_owned(), "a".to_owned());
    let pause = PauseChange::Pause { kind, name: Arc::clone(&name), by, reason };
    batch.pause(&pause).unwrap();
    batch.pause(&PauseChange::Resume { kind, name }).unwrap();
    let edited = Some(EditedFrom { event: first, by: "jo".to_owned() });
    batch.make(&NewEvent { edited, ..event(&["audit"]) }).unwrap().unwrap();
    let expected = KeyExpected::Anything;
    let (key, value) = ("n".to_owned(), Some(vec![1]));
    let change = KeyChange { bucket: "audit".into(), key, value, expected, ttl: None };
    batch.change_key(&change).unwrap().unwrap();
    batch.keep_position("heygen", "{}").unwrap();
    positions::read(connection, "heygen").unwrap();
    let key = ("audit".to_owned(), "n".to_owned(), 0);
    batch.erase(&[first], &[key]).unwrap();
    // A first sweep takes the keys and passes what is open; a second one empties and deletes.
    let expired = Expired {
        events_before_ms: NOW_MS + 1,
        payloads_before_ms: NOW_MS + 1,
        keys_before_ms: NOW_MS + 1,
        audit_before_ms: NOW_MS + 1,
        now_ms: NOW_MS + 1,
    };
    batch.sweep(expired).unwrap();
    connection
        .execute("UPDATE deliveries SET due_ms = NULL WHERE event = ?1", [first.row()])
        .unwrap();
    batch.sweep(expired).unwrap();
    assert!(read::event(connection, first).unwrap().is_none());
}
