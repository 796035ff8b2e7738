//! The deliveries of an event: the targets of its routes, with their keys, and what it cancels.

use super::facts::Facts;
use super::when::Variables;
use super::{RouteItem, Routes};
use crate::event::{NewDelivery, NewEvent, NewMember};

/// The most remarks of one event.
const MAX_NOTES: usize = 8;

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
        let (source, kind) = (&*facts.attributes.source, &*facts.attributes.kind);
        let variables = Variables::new(facts);
        let mut notes = Vec::new();
        let targets = self.chosen(source, kind, |item| holds(item, &variables, &mut notes));
        let mut deliveries = Vec::with_capacity(targets.len());
        for target in targets {
            let key = target.options.key.as_ref().and_then(|source| {
                let key = source.key(facts.attributes, || facts.json());
                key.map_err(|why| {
                    notes.push(format!("not in order for `{}`: {why}", target.plugin));
                })
                .ok()
            });
            deliveries.push(NewDelivery { target, key });
        }
        let cancels = self.cancels(facts, &mut notes);
        let mut members = Vec::new();
        for gathering in self.gatherings.of(source, kind) {
            match gathering.member(facts) {
                Ok((member, note)) => {
                    members.push(member);
                    notes.extend(note);
                }
                Err(why) => {
                    notes.push(format!("not gathered by `{}`: {why}", gathering.terms.plugin));
                }
            }
        }
        Routing { deliveries, cancels, members, notes }
    }

    /// The tags of the items whose deliveries an event cancels.
    fn cancels(&self, facts: &Facts<'_>, notes: &mut Vec<String>) -> Vec<i64> {
        if self.cancelling.is_empty() {
            return Vec::new();
        }
        let hits = self.cancelling.hits(&facts.attributes.source, &facts.attributes.kind);
        let mut tags: Vec<i64> = hits.into_iter().map(|hit| self.cancelled[hit]).collect();
        // Several patterns of one item may match.
        tags.sort_unstable();
        tags.dedup();
        if !tags.is_empty() && facts.attributes.subject.is_none() {
            notes.push("cancels nothing: it has no subject".to_owned());
            tags.clear();
        }
        tags
    }

    /// Gives a new event its way.
    pub fn route(&self, event: &mut NewEvent) {
        let Routing { deliveries, cancels, members, mut notes } =
            self.routing(&Facts::new(&event.attributes, &event.headers, event.hops));
        (event.deliveries, event.cancels, event.members) = (deliveries, cancels, members);
        if notes.is_empty() {
            return;
        }
        if let Some(more) = notes.len().checked_sub(MAX_NOTES).filter(|more| *more > 0) {
            notes.truncate(MAX_NOTES);
            notes.push(format!("and {more} more remarks"));
        }
        event.note =
            Some(event.note.take().into_iter().chain(notes).collect::<Vec<_>>().join("; "));
    }
}

/// Whether the condition of an item holds. A condition that cannot be evaluated does not.
fn holds(item: &RouteItem, variables: &Variables<'_>, notes: &mut Vec<String>) -> bool {
    let Some(when) = &item.when else { return true };
    when.holds(variables).unwrap_or_else(|why| {
        let plugin = item.plugin();
        metrics::counter!("hookbox_route_errors_total", "plugin" => plugin.clone()).increment(1);
        notes.push(format!("`when` of `{plugin}` failed: {why}"));
        false
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::routes::When;
    use crate::event::{Attributes, Target, TargetOptions};

    /// An item with this condition, and patterns that cancel it by this tag.
    fn item(plugin: &str, when: &str, cancelled: &[(i64, &str)]) -> RouteItem {
        let options = TargetOptions {
            cancel_tag: cancelled.first().map(|(tag, _)| *tag),
            ..TargetOptions::default()
        };
        RouteItem {
            target: Target { plugin: plugin.into(), options }.into(),
            when: (!when.is_empty()).then(|| When::compile(when).unwrap().into()),
            cancel_on: cancelled.iter().map(|(_, pattern)| (*pattern).to_owned()).collect(),
        }
    }

    fn table(lines: Vec<(&str, Vec<RouteItem>)>) -> Routes {
        Routes::of_items(lines, |name| name == "acme").unwrap()
    }

    fn event(kind: &str, subject: Option<&str>, body: &'static str) -> Attributes {
        Attributes {
            source: "acme".into(),
            kind: kind.to_owned(),
            subject: subject.map(str::to_owned),
            content_type: None,
            time_ms: 0,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn routed(routes: &Routes, event: &Attributes) -> (Vec<String>, Vec<i64>, Vec<String>) {
        let Routing { deliveries, cancels, notes, .. } = routes.routing(&Facts::new(event, &[], 0));
        let plugins = deliveries.iter().map(|delivery| delivery.target.plugin.to_string());
        (plugins.collect(), cancels, notes)
    }

    #[test]
    fn an_expression_that_fails_is_false_and_the_event_carries_a_note_saying_so() {
        let routes =
            table(vec![("a", vec![item("vip", "data.total > 100", &[]), item("all", "", &[])])]);
        let plugins = |body| routed(&routes, &event("a", None, body));
        assert_eq!(plugins(r#"{"total":101}"#).0, ["vip", "all"]);
        assert_eq!(plugins(r#"{"total":100}"#), (vec!["all".to_owned()], vec![], vec![]));
        let (plugins, _, notes) = plugins("{}");
        assert_eq!(plugins, ["all"]);
        assert_eq!(notes, ["`when` of `vip` failed: No such key: total"]);
    }

    #[test]
    fn of_two_lines_that_name_one_plugin_the_first_whose_condition_holds_counts() {
        let mut second = item("vip", "", &[]);
        second.target = Target {
            plugin: "vip".into(),
            options: TargetOptions { delay_ms: 5, ..TargetOptions::default() },
        }
        .into();
        let routes = table(vec![
            ("a", vec![item("vip", "data.n > 1", &[])]),
            ("*", vec![second, item("vip2", "", &[])]),
            ("**", vec![item("vip", "1 / 0 > 1", &[])]),
        ]);
        let delay = |body| {
            let event = event("a", None, body);
            let routing = routes.routing(&Facts::new(&event, &[], 0));
            assert_eq!(routing.notes.len(), usize::from(body == "{}"), "{:?}", routing.notes);
            routing.deliveries[0].target.options.delay_ms
        };
        assert_eq!((delay(r#"{"n":2}"#), delay(r#"{"n":1}"#), delay("{}")), (0, 5, 5));
    }

    #[test]
    fn an_event_cancels_the_items_whose_patterns_match_it_and_its_source() {
        let routes = table(vec![
            ("a", vec![item("one", "", &[(7, "done.*"), (7, "acme:done.x"), (7, "**")])]),
            ("b", vec![item("two", "", &[(9, "plugins/one:done.*")])]),
            ("c", vec![item("three", "false", &[(8, "done.x")])]),
        ]);
        let cancels = |event: &Attributes| routed(&routes, event).1;
        assert_eq!(cancels(&event("done.x", Some("s"), "")), [7, 8]);
        assert_eq!(cancels(&event("hookbox.dead", Some("s"), "")), [] as [i64; 0]);
        let emitted = Attributes { source: "plugins/one".into(), ..event("done.y", Some("s"), "") };
        assert_eq!(cancels(&emitted), [7, 9]);
    }

    #[test]
    fn an_event_without_a_subject_cancels_nothing_and_has_a_note() {
        let routes = table(vec![("a", vec![item("one", "", &[(7, "done")])])]);
        let (_, cancels, notes) = routed(&routes, &event("done", None, ""));
        assert_eq!(
            (cancels, notes),
            (vec![], vec!["cancels nothing: it has no subject".to_owned()])
        );
        assert_eq!(routed(&routes, &event("a", None, "")).2, [] as [String; 0]);
    }
}
