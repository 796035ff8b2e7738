//! Takes any event and logs one line about it: what happened, about what, which event, and how many bytes.

wit_bindgen::generate!({ world: "plugin", path: "../../wit" });

use exports::hookbox::plugin::handler::{Context, Event, Failure, Guest, NewEvent};
use hookbox::plugin::log::{Level, log};

struct Audit;

impl Guest for Audit {
    fn handle(event: Event, _context: Context) -> Result<Vec<NewEvent>, Failure> {
        let subject = event.subject.as_deref().unwrap_or("-");
        let line = format!("{} subject={subject} id={} bytes={}", event.type_, event.id, event.data.len());
        log(Level::Info, &line);
        Ok(Vec::new())
    }
}

export!(Audit);
