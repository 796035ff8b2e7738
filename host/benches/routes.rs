//! Who gets this event? Looked up for every request.

use std::rc::Rc;

use crate::requests::{PLUGIN, config};
use crate::stage::Stage;

/// An event type found in a table of so many routes, half of them with a star: its own, and the one that has a star in
/// its place.
pub(crate) fn stage(routes: usize) -> Stage {
    let lines = (0..routes / 2).flat_map(|number| {
        [format!("\"order.r{number}.paid\" = \"{PLUGIN}\"\n"), format!("\"order.r{number}.*\" = \"video-orders\"\n")]
    });
    let table = Rc::new(config(&lines.collect::<String>()).routes);
    assert_eq!(table.iter().len(), routes);
    let kind = format!("order.r{}.paid", routes / 4);
    Box::new(move || {
        let (table, kind) = (Rc::clone(&table), kind.clone());
        Box::new(move || assert_eq!(table.targets("heygen", divan::black_box(&kind)).len(), 2))
    })
}
