//! Events of joins and batches that lead to nothing. They are warned of, not refused: a file may be
//! written bit by bit.

use super::Routes;
use crate::config::raw::Sink;
use crate::config::warnings::Warning;

impl Routes {
    /// Warns of joins and batches whose events no route takes.
    pub(in crate::config) fn warn_of_lost(&self, sink: &Sink) {
        for gathering in self.gatherings.iter() {
            let source = &*gathering.terms.plugin;
            let section = source.replace('/', ".");
            let emitted = [(&gathering.emit, ""), (&gathering.late, " when its time is over")];
            // A batch is never late.
            for (kind, when) in emitted.into_iter().filter(|(kind, _)| !kind.is_empty()) {
                if !self.takes(source, kind) {
                    let text = format!(
                        "`{section}` emits `{kind}`{when}, which no route takes: add for example \"{source}:{kind}\" = \
                         \"PLUGIN\" to [routes]"
                    );
                    sink.warn(Warning::new(text));
                }
            }
        }
    }
}
