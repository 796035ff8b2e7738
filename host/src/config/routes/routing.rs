//! The deliveries of an event: the targets of its routes, with their keys.

use std::cell::OnceCell;

use serde_json::Value;

use super::Routes;
use crate::event::{Attributes, NewDelivery, NewEvent, NewMember};

/// An event as routes see it.
#[derive(Debug)]
pub struct Facts<'e> {
    /// Its attributes and body.
    pub attributes: &'e Attributes,
    /// Its kept request headers, names in lower case.
    pub headers: &'e [(String, String)],
    /// Number of plugins it has passed.
    pub hops: u32,
    /// Its body, parsed when it is first asked for; `None` if it is not JSON.
    json: OnceCell<Option<Value>>,
}

impl<'e> Facts<'e> {
    /// The facts of an event.
    pub fn new(attributes: &'e Attributes, headers: &'e [(String, String)], hops: u32) -> Self {
        Self { attributes, headers, hops, json: OnceCell::new() }
    }

    /// Its body, if that is JSON.
    pub(super) fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_slice(&self.attributes.body).ok()).as_ref()
    }
}

/// The way an event goes.
#[derive(Debug, Default)]
pub struct Routing {
    /// Its deliveries, in the order of the file.
    pub deliveries: Vec<NewDelivery>,
    /// See [`NewEvent::cancels`].
    pub cancels: Vec<i64>,
    /// The gatherings that it is a member of.
    pub members: Vec<NewMember>,
    /// Remarks for operators.
    pub notes: Vec<String>,
}

impl Routes {
    /// The way of an event.
    pub fn routing(&self, facts: &Facts<'_>) -> Routing {
        let mut routing = Routing::default();
        for target in self.targets(&facts.attributes.source, &facts.attributes.kind) {
            let key = target.options.key.as_ref().and_then(|source| {
                let key = source.key(facts.attributes, || facts.json());
                key.map_err(|why| {
                    routing.notes.push(format!("not in order for `{}`: {why}", target.plugin));
                })
                .ok()
            });
            routing.deliveries.push(NewDelivery { target, key });
        }
        let Attributes { source, kind, .. } = facts.attributes;
        for gathering in self.gatherings.of(source, kind) {
            match gathering.member(facts) {
                Ok(member) => routing.members.push(member),
                Err(why) => routing
                    .notes
                    .push(format!("not gathered by `{}`: {why}", gathering.terms.plugin)),
            }
        }
        routing
    }

    /// Gives a new event its way.
    pub fn route(&self, event: &mut NewEvent) {
        let Routing { deliveries, cancels, members, notes } =
            self.routing(&Facts::new(&event.attributes, &event.headers, event.hops));
        (event.deliveries, event.cancels, event.members) = (deliveries, cancels, members);
        if !notes.is_empty() {
            event.note =
                Some(event.note.take().into_iter().chain(notes).collect::<Vec<_>>().join("; "));
        }
    }
}
