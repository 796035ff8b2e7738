//! The targets of an event, looked up for every request.

use std::rc::Rc;

use crate::requests::{PLUGIN, config};
use crate::stage::Stage;

/// Event types looked up in a round: how much one costs depends on the hasher's seed, which is
/// another for each process.
const TYPES: usize = 100;

/// Event types found in a table of so many routes, half of them with a star: each one's own, and
/// the one that has a star in its place.
pub(crate) fn stage(routes: usize) -> Stage {
    let lines = (0..routes / 2).flat_map(|number| {
        [
            format!("\"order.r{number}.paid\" = \"{PLUGIN}\"\n"),
            format!("\"order.r{number}.*\" = \"video-orders\"\n"),
        ]
    });
    let table = Rc::new(config(&lines.collect::<String>()).routes);
    assert_eq!(table.iter().len(), routes);
    let kinds: Rc<[String]> = (0..TYPES).map(|number| format!("order.r{number}.paid")).collect();
    Box::new(move || {
        let (table, kinds) = (Rc::clone(&table), Rc::clone(&kinds));
        Box::new(move || {
            for kind in kinds.iter() {
                assert_eq!(table.targets("heygen", divan::black_box(kind)).len(), 2);
            }
        })
    })
}
