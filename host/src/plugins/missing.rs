//! Plugins that are routed and have no file: they have a slot, so that everybody sees what their deliveries wait for.

use std::collections::BTreeSet;

use super::folder::Seen;
use super::{Shelf, Slot};
use crate::config::Routes;
use crate::config::routes::Route;
use crate::event::PluginName;

/// The problem of a plugin that never had a file.
const NO_FILE: &str = "there is no file of it in the plugins folder; its deliveries wait until there is one";

impl Shelf {
    /// The same shelf with a slot for every plugin that a route leads to, and without those that none leads to any more and
    /// of which nothing else is known.
    #[must_use]
    pub fn with_routed(&self, routes: &Routes) -> Self {
        let routed: BTreeSet<&PluginName> = routes.iter().flat_map(Route::plugins).collect();
        let mut next = self.clone();
        for (name, slot) in &mut next.slots {
            slot.routed = routed.contains(name);
            slot.say_what_is_missing();
        }
        for name in routed {
            let slot = next.slots.entry(name.clone()).or_default();
            slot.routed = true;
            slot.say_what_is_missing();
        }
        next.slots.retain(|_, slot| slot.compiling_since_ms.is_some() || slot.is_known());
        next
    }
}

impl Slot {
    /// Whether it is known for its route alone.
    pub(super) fn never_had_a_file(&self) -> bool {
        self.problem.as_deref() == Some(NO_FILE)
    }

    /// Brings what is said of a file that is not there up to date with what is known of it now.
    pub(super) fn say_what_is_missing(&mut self) {
        let nothing = self.judged == Seen::Absent && self.loaded.is_none() && self.held.is_none();
        match &self.problem {
            // The file that came is not at fault.
            Some(_) if nothing && self.compiling_since_ms.is_some() => self.problem = None,
            Some(problem) if problem == NO_FILE && !self.routed => self.problem = None,
            None if nothing && self.routed && self.compiling_since_ms.is_none() => {
                self.problem = Some(NO_FILE.to_owned())
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Target;

    fn routes(plugins: &[&str]) -> Routes {
        Routes::new([("a.b", plugins.iter().map(|name| Target::to(*name)).collect())], |_| false).unwrap()
    }

    #[test]
    fn a_routed_plugin_without_a_file_is_missing_until_its_route_goes() {
        let shelf = Shelf::default().with_routed(&routes(&["x"]));
        let slot = shelf.slot("x").unwrap();
        assert_eq!((slot.state(), slot.problem.as_deref()), ("missing", Some(NO_FILE)));
        assert!(shelf.with_routed(&routes(&["y"])).slot("x").is_none());
    }
}
