//! The tree of an event, as text: events, under each its deliveries, under each of those what it
//! emitted.

use std::collections::BTreeMap;

use serde_json::Value;

use self::lines::{after, attempt, ran, requests, steps};
use crate::cli::listing::elements;
use crate::cli::output::{Printout, printable, text};

mod lines;

/// An event or a delivery, with what hangs below it.
#[derive(Debug, Default)]
struct Branch {
    head: String,
    /// The word of the head that is a state.
    state: Option<String>,
    details: Vec<String>,
    below: Vec<Branch>,
}

/// Prints the events of a tree, with the head of one of its pages.
pub(super) fn tree(page: &Value, events: &[Value]) -> Printout {
    let mut out = Printout::new();
    let count =
        if events.len() == 1 { "1 event".to_owned() } else { format!("{} events", events.len()) };
    let (root, started) = (text(&page["root_id"]), text(&page["started_at"]));
    out.line(printable(&format!("tree of {root}  {started}  {count}")));
    for (line, state) in lines(events) {
        out.cut_line(&line, state.as_deref());
    }
    out
}

/// The lines of a tree, each with the word in it that is a state.
fn lines(events: &[Value]) -> Vec<(String, Option<String>)> {
    let branches = EventsBelow::of(events);
    let mut lines = Vec::new();
    for top in branches.below(None, None) {
        let branch = branches.event(top);
        lines.push((branch.head.clone(), branch.state.clone()));
        branch.rest("", &mut lines);
    }
    lines
}

/// Which event hangs below which delivery.
struct EventsBelow<'e> {
    events: &'e [Value],
    /// By the id of an event and of its delivery, the places of events in the list. An event of
    /// which no delivery is known hangs below the event alone, or below nothing.
    below: BTreeMap<(Option<&'e str>, Option<&'e str>), Vec<usize>>,
}

impl<'e> EventsBelow<'e> {
    fn of(events: &'e [Value]) -> Self {
        let ids: BTreeMap<&str, &Value> =
            events.iter().filter_map(|event| Some((event["id"].as_str()?, event))).collect();
        let mut below: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            let parent = event["parent_id"].as_str().and_then(|id| ids.get_key_value(id));
            let place = joined(events, event)
                .or_else(|| {
                    let (id, parent) = parent?;
                    Some((Some(*id), emitter(parent, event)))
                })
                .unwrap_or((None, None));
            below.entry(place).or_default().push(at);
        }
        Self { events, below }
    }

    fn below(&self, event: Option<&'e str>, delivery: Option<&'e str>) -> Vec<&'e Value> {
        let places = self.below.get(&(event, delivery)).map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|at| &self.events[*at]).collect()
    }

    fn event(&self, event: &'e Value) -> Branch {
        let id = event["id"].as_str();
        let mut head = format!("{}  {}", text(&event["type"]), text(&event["id"]));
        match event["after_ms"].as_i64() {
            Some(0) if event["parent_id"].is_null() => {
                head.push_str(&format!("  {}", text(&event["source"])));
            }
            _ => head.push_str(&format!("  {}", after(&event["after_ms"]))),
        }
        if let Some(subject) = event["subject"].as_str() {
            head.push_str(&format!("  {subject}"));
        }
        let mut details = Vec::new();
        if let Some(note) = event["note"].as_str() {
            details.push(format!("note: {note}"));
        }
        for member in elements(&event["member_of"]) {
            let (name, delivery) = (text(&member["name"]), text(&member["delivery_id"]));
            details.push(format!("member of {name}  {delivery}{}", other_tree(member)));
        }
        if elements(&event["deliveries"]).is_empty() {
            details.push("unrouted".to_owned());
        }
        let deliveries = elements(&event["deliveries"]).iter();
        let mut below: Vec<_> = deliveries.map(|delivery| self.delivery(id, delivery)).collect();
        below.extend(self.below(id, None).into_iter().map(|event| self.event(event)));
        Branch { head: printable(&head), state: None, details, below }
    }

    fn delivery(&self, event: Option<&'e str>, delivery: &'e Value) -> Branch {
        let state = text(&delivery["state"]);
        let mut head = format!("{}  {state}", text(&delivery["plugin"]));
        let mut details = Vec::new();
        let attempts = elements(&delivery["attempts"]);
        let began = delivery["attempt"].as_u64().unwrap_or(0);
        match attempts {
            [only] if only["outcome"] == "ok" && only["settled"].is_null() && began == 1 => {
                head.push_str(&format!("  {}", ran(only)));
                details.extend(requests(only));
            }
            some => {
                if began > some.len() as u64 && !some.is_empty() {
                    details.push(format!("the last {} of {began} attempts:", some.len()));
                }
                for one in some {
                    details.push(attempt(one));
                    details.extend(requests(one));
                }
            }
        }
        details.extend(attempts.iter().flat_map(steps));
        let join = &delivery["join"];
        if join.is_object() {
            details.push(joins(join));
            for member in elements(&join["members"]) {
                let kind = member["type"].as_str().unwrap_or("deleted");
                details.push(format!(
                    "member {kind}  {}{}",
                    text(&member["id"]),
                    other_tree(member)
                ));
            }
            if join["more_members"] == true {
                details.push("and more members".to_owned());
            }
        }
        if state != "done" {
            head.push_str(&format!("  {}", text(&delivery["id"])));
        }
        if let Some(waits) = delivery["waits_for"]["text"].as_str() {
            details.push(format!("waits for {waits}"));
        }
        let emitted = self.below(event, delivery["id"].as_str());
        let below = emitted.into_iter().map(|event| self.event(event)).collect();
        Branch { head: printable(&head), state: Some(state), details, below }
    }
}

type BelowKey<'e> = (Option<&'e str>, Option<&'e str>);

/// The delivery of the join or batch that emitted an event: of those with this name, the one that
/// the event's parent is a member of.
fn joined<'e>(events: &'e [Value], emitted: &Value) -> Option<BelowKey<'e>> {
    let (source, parent) = (emitted["source"].as_str()?, emitted["parent_id"].as_str()?);
    let is_member = |delivery: &Value| {
        elements(&delivery["join"]["members"]).iter().any(|member| member["id"] == *parent)
    };
    events.iter().find_map(|event| {
        let found = elements(&event["deliveries"])
            .iter()
            .find(|delivery| delivery["plugin"] == *source && is_member(delivery))?;
        Some((event["id"].as_str(), found["id"].as_str()))
    })
}

/// The delivery of `parent` that emitted an event: of several of one plugin, the last that had
/// begun.
fn emitter<'e>(parent: &'e Value, emitted: &Value) -> Option<&'e str> {
    let plugin = emitted["source"].as_str()?.strip_prefix("plugins/")?;
    let began = |delivery: &&Value| {
        let first = &elements(&delivery["attempts"]).first()?["after_ms"];
        Some(first.as_i64()? <= emitted["after_ms"].as_i64()?)
    };
    let of_plugin =
        || elements(&parent["deliveries"]).iter().filter(|delivery| delivery["plugin"] == *plugin);
    let found = of_plugin().rfind(|delivery| began(delivery) == Some(true));
    found.or_else(|| of_plugin().next())?["id"].as_str()
}

fn joins(join: &Value) -> String {
    let why = join["why"].as_str().map(|why| format!(", complete by {why}")).unwrap_or_default();
    format!("key {}, {} counted{why}", text(&join["key"]), join["count"])
}

fn other_tree(member: &Value) -> String {
    member["other_root_id"].as_str().map(|root| format!("  tree {root}")).unwrap_or_default()
}

impl Branch {
    /// Adds everything below the head.
    fn rest(&self, prefix: &str, lines: &mut Vec<(String, Option<String>)>) {
        let bar = if self.below.is_empty() { " " } else { "│" };
        for detail in &self.details {
            lines.push((format!("{prefix}{bar}  {}", printable(detail)), None));
        }
        for (at, branch) in self.below.iter().enumerate() {
            let last = at + 1 == self.below.len();
            let (fork, on) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            lines.push((format!("{prefix}{fork}{}", branch.head), branch.state.clone()));
            branch.rest(&format!("{prefix}{on}"), lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: u32, kind: &str, more: Value) -> Value {
        let mut event = json!({
            "id": format!("evt_{id:016x}"), "source": "shop", "type": kind, "subject": null,
            "parent_id": null, "after_ms": 0, "note": null, "deliveries": [], "member_of": [],
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    }

    fn delivery(event: u32, ordinal: u32, plugin: &str, more: Value) -> Value {
        let mut delivery = json!({
            "id": format!("dlv_{event:016x}_{ordinal}"), "plugin": plugin, "state": "done",
            "key": null, "waits_for": null, "attempt": 1, "join": null,
            "attempts": [attempt(1, 2, "ok", None)],
        });
        delivery.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        delivery
    }

    fn attempt(number: u32, after_ms: i64, outcome: &str, error: Option<&str>) -> Value {
        json!({ "number": number, "after_ms": after_ms, "duration_ms": 14.2, "outcome": outcome,
                "settled": null, "error": error })
    }

    fn sample() -> Vec<Value> {
        let members = json!([
            { "id": format!("evt_{:016x}", 1), "type": "order.created", "other_root_id": null },
            { "id": format!("evt_{:016x}", 9), "type": "video.ready",
              "other_root_id": format!("evt_{:016x}", 8) },
        ]);
        let join = json!({ "key": "order_1", "count": 2, "why": "need", "members": members,
                           "more_members": false });
        let mut asked = attempt(1, 3, "retry", Some("HTTP 503"));
        asked["calls"] = json!([
            { "method": "GET", "url": "https://pay.example/v1", "status": 503, "refused": false,
              "offset_ms": 2, "duration_ms": 11 },
            { "method": "PUT", "url": "https://b/", "status": null, "refused": true,
              "offset_ms": null, "duration_ms": 0 },
        ]);
        asked["more_calls"] = json!(true);
        let retries = json!({ "state": "waiting", "attempt": 1,
            "attempts": [asked],
            "waits_for": { "kind": "time", "text": "the time of its next attempt, 2026-02-02T02:41:00.000Z" } });
        vec![
            event(
                1,
                "order.created",
                json!({ "subject": "order_1", "deliveries": [
                delivery(1, 0, "audit", json!({})),
                delivery(1, 1, "charge", retries),
                delivery(1, 2, "joins/videos", json!({ "join": join })),
            ] }),
            ),
            event(
                2,
                "order.noted",
                json!({ "source": "plugins/audit", "after_ms": 16,
                "parent_id": format!("evt_{:016x}", 1), "subject": "order_1" }),
            ),
            event(
                3,
                "order.videos_ready",
                json!({ "source": "joins/videos", "after_ms": 75_400,
                "parent_id": format!("evt_{:016x}", 9), "subject": "order_1", "deliveries": [
                delivery(3, 0, "approve", json!({ "state": "cancelled", "attempts": [
                    { "number": 1, "after_ms": 75_402, "duration_ms": 0.5, "outcome": "ok",
                      "settled": "cancelled", "error": null }] })),
            ] }),
            ),
        ]
    }

    #[test]
    fn a_tree_shows_what_each_delivery_did_and_emitted_within_80_columns() {
        let lines: Vec<String> = lines(&sample()).into_iter().map(|(line, _)| line).collect();
        let expected = "\
order.created  evt_0000000000000001  shop  order_1
├─ audit  done  +2 ms, 14.2 ms
│  └─ order.noted  evt_0000000000000002  +16 ms  order_1
│        unrouted
├─ charge  waiting  dlv_0000000000000001_1
│     #1  +3 ms, 14.2 ms  retry: HTTP 503
│       GET https://pay.example/v1  503  +5 ms, 11 ms
│       PUT https://b/  refused  0 ms
│       and more requests
│     waits for the time of its next attempt, 2026-02-02T02:41:00.000Z
└─ joins/videos  done  +2 ms, 14.2 ms
   │  key order_1, 2 counted, complete by need
   │  member order.created  evt_0000000000000001
   │  member video.ready  evt_0000000000000009  tree evt_0000000000000008
   └─ order.videos_ready  evt_0000000000000003  +75.4 s  order_1
      └─ approve  cancelled  dlv_0000000000000003_0
            #1  +75.4 s, 500 µs  ok, cancelled meanwhile";
        assert_eq!(lines.join("\n"), expected);
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn an_event_whose_parent_is_gone_stands_at_the_top() {
        let events = [event(
            5,
            "order.on",
            json!({ "parent_id": "evt_0000000000000001",
            "source": "plugins/audit", "after_ms": 7 }),
        )];
        let lines: Vec<String> = lines(&events).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, ["order.on  evt_0000000000000005  +7 ms", "   unrouted"]);
    }

    #[test]
    fn a_replay_has_what_it_emitted_itself() {
        let again = json!({ "attempts": [attempt(1, 500, "ok", None)] });
        let parent = event(
            1,
            "a",
            json!({ "deliveries": [
            delivery(1, 0, "audit", json!({})), delivery(1, 1, "audit", again)] }),
        );
        for (after_ms, expected) in [(16, "_0"), (520, "_1")] {
            let emitted = event(2, "b", json!({ "source": "plugins/audit", "after_ms": after_ms }));
            assert!(emitter(&parent, &emitted).unwrap().ends_with(expected), "{after_ms}");
        }
    }
}
