//! The variables of a condition: the event as it sees it.

use std::collections::HashMap;
use std::sync::OnceLock;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use serde_json::Value;

use crate::clock::rfc3339;
use crate::config::routes::Facts;

/// The names of all variables.
pub(super) const NAMES: [&str; 7] =
    ["type", "source", "subject", "time", "hops", "data", "headers"];

/// The variables whose size the sender of an event chooses.
pub(super) const WHOLE: [&str; 2] = ["data", "headers"];

/// The largest body that conditions see, in bytes. `data` of a larger one is null.
const MAX_DATA_BYTES: usize = 1 << 20;

/// The variables for one event. A variable that takes work is made when an expression first reads
/// it.
#[derive(Debug)]
pub(in crate::config::routes) struct Variables<'f> {
    facts: &'f Facts<'f>,
    time: OnceLock<String>,
    data: OnceLock<Box<dyn Val + 'f>>,
    headers: OnceLock<Box<dyn Val + 'f>>,
    /// How often an expression has read a variable.
    #[cfg(test)]
    pub(super) reads: AtomicUsize,
}

impl<'f> Variables<'f> {
    /// The variables for this event.
    pub(in crate::config::routes) fn new(facts: &'f Facts<'f>) -> Self {
        Self {
            facts,
            time: OnceLock::new(),
            data: OnceLock::new(),
            headers: OnceLock::new(),
            #[cfg(test)]
            reads: AtomicUsize::new(0),
        }
    }

    fn data(&self) -> &(dyn Val + 'f) {
        let made = self.data.get_or_init(|| {
            let is_small = self.facts.attributes.body.len() <= MAX_DATA_BYTES;
            match self.facts.json() {
                Some(json) if is_small => converted(json),
                _ => Box::new(CelNull),
            }
        });
        &**made
    }

    fn headers(&self) -> &(dyn Val + 'f) {
        let made = self.headers.get_or_init(|| {
            let mut all = HashMap::<&str, String>::new();
            for (name, value) in self.facts.headers {
                let values = all.entry(name).or_default();
                if !values.is_empty() {
                    values.push_str(", ");
                }
                values.push_str(value);
            }
            let entry = |(name, values)| {
                (CelMapKey::from(name), Box::new(CelString::from(values)) as Box<dyn Val + 'f>)
            };
            Box::new(CelMap::from(all.into_iter().map(entry).collect::<HashMap<_, _>>()))
        });
        &**made
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        #[cfg(test)]
        self.reads.fetch_add(1, Ordering::Relaxed);
        let attributes = self.facts.attributes;
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        match variable {
            "type" => text(&attributes.kind),
            "source" => text(&attributes.source),
            "subject" => match &attributes.subject {
                Some(subject) => text(subject),
                None => Some(CowVal::owned(CelNull)),
            },
            "time" => text(self.time.get_or_init(|| rfc3339(attributes.time_ms))),
            "hops" => Some(CowVal::owned(CelInt::from(i64::from(self.facts.hops)))),
            "data" => Some(CowVal::Borrowed(self.data())),
            "headers" => Some(CowVal::Borrowed(self.headers())),
            _ => None,
        }
    }
}

/// JSON as a value of the language; its texts are lent.
fn converted<'f>(json: &'f Value) -> Box<dyn Val + 'f> {
    match json {
        Value::Null => Box::new(CelNull),
        Value::Bool(truth) => Box::new(CelBool::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Box::new(CelInt::from(number)),
            (None, Some(number), _) => Box::new(CelUInt::from(number)),
            (None, None, Some(number)) => Box::new(CelDouble::from(number)),
            (None, None, None) => Box::new(CelNull),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(list) => {
            Box::new(CelList::from(list.iter().map(converted).collect::<Vec<_>>()))
        }
        Value::Object(members) => {
            let entry = |(name, value): (&'f String, &'f Value)| {
                (CelMapKey::from(name.as_str()), converted(value))
            };
            Box::new(CelMap::from(members.iter().map(entry).collect::<HashMap<_, _>>()))
        }
    }
}
