//! Statements of keyed, cancellable and gathered events.

use super::*;
use crate::event::{
    Counted, GatheringKind, GatheringTerms, Key, NewDelivery, NewMember, TargetOptions,
};
use crate::store::sqlite::limits::LimitWork;

/// Queries for order by a key, cancelling events and joins.
pub(super) fn write(connection: &Connection) {
    let recent = Recent::load(connection, 1).unwrap();
    let last_id = last_id(connection, &recent).unwrap();
    let mut batch = WriteBatch::new(connection, NOW_MS, last_id, &recent);
    let keyed = || {
        let options = TargetOptions { cancel_tag: Some(1), ..TargetOptions::default() };
        let target = Arc::new(Target { plugin: "keyed".into(), options });
        let mut delivery = NewDelivery::from(target);
        delivery.key = Some(Key::Text("k".into()));
        NewEvent { dedupe: Vec::new(), deliveries: vec![delivery], ..event(&[]) }
    };
    for _ in 0..3 {
        batch.append(&keyed()).unwrap();
    }
    let queue = LeaseQueue::Plugin("keyed".into());
    let leased = batch.lease(&queue, permits(1), NOW_MS).unwrap().leases.remove(0);
    batch.settle(&leased, &settlement(Next::Dead(None))).unwrap();
    let cancelling = NewEvent { dedupe: Vec::new(), cancels: vec![1], ..event(&[]) };
    batch.append(&cancelling).unwrap();
    let terms = Arc::new(GatheringTerms {
        plugin: "joins/order".into(),
        kind: GatheringKind::Join,
        within: Duration::from_secs(60),
        quiet: None,
        need: Some(2),
        types: 0,
    });
    for name in ["a", "a", "b", "c"] {
        let member = NewMember {
            terms: Arc::clone(&terms),
            key: Key::Text("k".into()),
            counted: Counted::Text(name.into()),
            need: None,
            seen: 0,
            closes: false,
        };
        let new = NewEvent { dedupe: Vec::new(), members: vec![member], ..event(&[]) };
        batch.append(&new).unwrap();
    }
    for seconds in [30, 90] {
        let limits = vec![("joins/order".into(), Duration::from_secs(seconds))];
        let mut walk = batch.limit(&LimitWork::Set(limits)).unwrap().remove(0);
        while !walk.is_over() {
            walk = batch.limit(&LimitWork::Move(walk)).unwrap().remove(0);
        }
    }
    let queue = LeaseQueue::Plugin("joins/order".into());
    assert_eq!(batch.lease(&queue, permits(1), NOW_MS).unwrap().leases.len(), 1);
}
