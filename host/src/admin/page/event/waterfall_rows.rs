//! The rows of the waterfall, from the tree of an event.

use std::collections::BTreeMap;

use super::attempts::{DeliveryAct, acts};
use super::bars::{MAX_CALLS, bars, ended_ms, took, without_excess};
use super::timeline::{self, Begun, TryLine};
use crate::admin::page::parts::html::Html;
use crate::admin::page::parts::link::Link;
use crate::admin::page::parts::state::named;
use crate::admin::page::parts::waterfall::{Axis, Bar, BarKind};
use crate::admin::tree::{TreeDeliveryJson, TreeEventJson, TreeJson};
use crate::text::duration;

/// Rows that are drawn at once.
pub(super) const MAX_ROWS: usize = 200;

/// Deeper rows are not indented further.
const MAX_DEPTH: usize = 6;

/// A row.
#[derive(Debug)]
pub(super) struct FallRow {
    /// Identifies it in the page.
    pub(super) id: String,
    pub(super) depth: usize,
    pub(super) label: Html,
    /// The reason why it waits, if it does.
    pub(super) remark: Option<String>,
    pub(super) drawing: Html,
    /// How long it waited and ran, or how long after the first event it came.
    pub(super) took: String,
    /// The actions that the state of a delivery allows.
    pub(super) acts: Vec<DeliveryAct>,
    /// Times and outcomes in words, for the list.
    pub(super) words: Vec<String>,
    pub(super) is_this: bool,
}

/// The waterfall of a tree.
#[derive(Debug)]
pub(super) struct Fall {
    pub(super) head: Html,
    pub(super) rows: Vec<FallRow>,
    /// Rows that there are, if more than are drawn.
    pub(super) cut: Option<usize>,
    pub(super) events: usize,
    pub(super) deliveries: usize,
    /// Deliveries by state.
    pub(super) states: Vec<(&'static str, u64)>,
    /// Deliveries that are not settled.
    pub(super) open: u64,
    /// The last attempts, and how many are before them.
    pub(super) tries: (Vec<TryLine>, usize),
}

/// A row before it is drawn.
struct UndrawnRow<'t> {
    depth: usize,
    of: RowOf<'t>,
    bars: Vec<Bar>,
    /// Requests that are not drawn.
    left_out: usize,
}

enum RowOf<'t> {
    Event(&'t TreeEventJson),
    Delivery(&'t TreeEventJson, &'t TreeDeliveryJson),
}

impl Fall {
    /// Draws a tree as of now; `this` is the event whose page it is on.
    pub(super) fn of(tree: &TreeJson, this: &str, now_ms: i64, most: usize) -> Self {
        let started = tree.started_at.parse::<jiff::Timestamp>().unwrap_or_default();
        let now = (now_ms - started.as_millisecond()) as f64;
        let mut drafts = Vec::new();
        let events = EventsByDelivery::of(tree);
        for top in events.below(None, None) {
            events.event(top, (0, 0.0), now, &mut drafts);
        }
        let begun = drafts.iter().flat_map(UndrawnRow::begun).collect();
        let all = drafts.len();
        let failed =
            |row: &UndrawnRow<'_>| matches!(row.of, RowOf::Delivery(_, it) if it.state == "dead");
        // Failed branches are never left out.
        let mut seen = 0;
        drafts.retain(|draft| {
            seen += 1;
            seen <= most || failed(draft)
        });
        let mut room = MAX_CALLS;
        for draft in &mut drafts {
            draft.left_out = without_excess(&mut draft.bars, &mut room);
        }
        let axis = Axis::of(drafts.iter().flat_map(|draft| &draft.bars));
        let deliveries = tree.events.iter().flat_map(|event| &event.deliveries);
        let mut states = BTreeMap::<&'static str, u64>::new();
        for delivery in deliveries.clone() {
            *states.entry(delivery.state).or_default() += 1;
        }
        let open = |state: &str| states.get(state).copied().unwrap_or(0);
        Self {
            head: axis.head(),
            open: open("ready") + open("leased") + open("waiting"),
            tries: timeline::lines(begun, started.as_millisecond(), this),
            cut: (drafts.len() < all).then_some(all),
            events: tree.events.len(),
            deliveries: deliveries.count(),
            rows: drafts.into_iter().map(|draft| draft.drawn(&axis, this)).collect(),
            states: states.into_iter().collect(),
        }
    }
}

impl<'t> UndrawnRow<'t> {
    fn new(depth: usize, of: RowOf<'t>, bars: Vec<Bar>) -> Self {
        Self { depth, of, bars, left_out: 0 }
    }

    /// The attempts of a delivery.
    fn begun(&self) -> Vec<Begun<'t>> {
        let RowOf::Delivery(event, delivery) = self.of else { return Vec::new() };
        let bars = self.bars.iter().filter(|bar| matches!(bar.kind, BarKind::Attempt(_)));
        let begun = |(at, bar): (usize, &Bar)| Begun { event, delivery, at, from_ms: bar.from_ms };
        bars.enumerate().map(begun).collect()
    }

    fn drawn(self, axis: &Axis, this: &str) -> FallRow {
        let (drawing, took) = (axis.row(&self.bars), took(&self.bars));
        let mut words: Vec<_> = self.bars.iter().map(|bar| bar.title.clone()).collect();
        let has_more = match self.of {
            RowOf::Delivery(_, it) => it.attempts.iter().any(|attempt| attempt.more_calls),
            RowOf::Event(_) => false,
        };
        let more = "and more requests, which are listed with its attempts";
        words.extend((has_more || self.left_out > 0).then(|| more.to_owned()));
        let depth = self.depth.min(MAX_DEPTH);
        match self.of {
            RowOf::Event(event) => {
                let mut label = Html::default();
                let path = Link::to("/events").segment(&event.id).into_text();
                label.raw("<a href=\"").text(&path).raw("\">").text(&event.kind).raw("</a>");
                if let Some(subject) = &event.subject {
                    label.raw(" <span class=\"dim\">").text(subject).raw("</span>");
                }
                let unrouted = event.deliveries.is_empty() && event.member_of.is_empty();
                FallRow {
                    id: event.id.clone(),
                    depth,
                    label,
                    remark: unrouted.then(|| "unrouted".to_owned()),
                    drawing,
                    took,
                    acts: Vec::new(),
                    words,
                    is_this: event.id == this,
                }
            }
            RowOf::Delivery(_, delivery) => FallRow {
                id: delivery.id.clone(),
                depth,
                label: named(delivery.state, &delivery.plugin),
                remark: delivery.waits_for.as_ref().map(|wait| format!("waits for {}", wait.text)),
                drawing,
                took,
                acts: acts(delivery.state, &delivery.id),
                words,
                is_this: false,
            },
        }
    }
}

/// The events of a tree, by the delivery that emitted them.
struct EventsByDelivery<'t> {
    tree: &'t TreeJson,
    below: BTreeMap<(Option<&'t str>, Option<&'t str>), Vec<usize>>,
}

impl<'t> EventsByDelivery<'t> {
    fn of(tree: &'t TreeJson) -> Self {
        let by_id: BTreeMap<&str, &TreeEventJson> =
            tree.events.iter().map(|event| (event.id.as_str(), event)).collect();
        let mut below: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, event) in tree.events.iter().enumerate() {
            let parent = event.parent_id.as_deref().and_then(|id| by_id.get(id));
            let place = parent.map(|parent| {
                let name = event.source.strip_prefix("plugins/").unwrap_or(&event.source);
                let emitter = event.emitted_by.as_ref();
                let by = parent.deliveries.iter().find(|delivery| match emitter {
                    Some(emitter) => delivery.id == emitter.delivery_id,
                    None => delivery.plugin == name,
                });
                (Some(parent.id.as_str()), by.map(|delivery| delivery.id.as_str()))
            });
            below.entry(place.unwrap_or_default()).or_default().push(at);
        }
        Self { tree, below }
    }

    fn below(&self, event: Option<&'t str>, delivery: Option<&'t str>) -> Vec<&'t TreeEventJson> {
        let places = self.below.get(&(event, delivery)).map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|at| &self.tree.events[*at]).collect()
    }

    /// Adds the rows of an event at a depth, which came no earlier than `least` ms after the first.
    fn event(
        &self,
        event: &'t TreeEventJson,
        (depth, least): (usize, f64),
        now: f64,
        drafts: &mut Vec<UndrawnRow<'t>>,
    ) {
        let at = (event.after_ms as f64).max(least);
        let came = Bar {
            kind: BarKind::Came,
            from_ms: at,
            to_ms: at,
            title: format!("stored {} after the first", duration(at)),
            path: None,
        };
        drafts.push(UndrawnRow::new(depth, RowOf::Event(event), vec![came]));
        for delivery in &event.deliveries {
            let bars = bars(event, at, delivery, now);
            drafts.push(UndrawnRow::new(depth + 1, RowOf::Delivery(event, delivery), bars));
            for child in self.below(Some(&event.id), Some(&delivery.id)) {
                self.event(child, (depth + 2, ended_ms(delivery, child)), now, drafts);
            }
        }
        for child in self.below(Some(&event.id), None) {
            self.event(child, (depth + 1, at), now, drafts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tree::{Emitter, TreeAttemptJson};

    fn attempt(number: u32, after_ms: i64, outcome: &'static str) -> TreeAttemptJson {
        TreeAttemptJson {
            number,
            after_ms,
            duration_ms: 2.0,
            outcome,
            settled: None,
            error: None,
            steps: Vec::new(),
            calls: Vec::new(),
            more_calls: false,
            emitted: Vec::new(),
        }
    }

    fn event(id: &str, source: &str, parent: Option<&str>, deliveries: &[&str]) -> TreeEventJson {
        let delivery = |plugin: &&str| TreeDeliveryJson {
            id: format!("{id}-{plugin}"),
            plugin: (*plugin).to_owned(),
            state: "done",
            key: None,
            waits_for: None,
            waits: Vec::new(),
            attempt: 2,
            attempts: vec![attempt(1, 10, "retry"), attempt(2, 5_000, "ok")],
            join: None,
        };
        TreeEventJson {
            id: id.to_owned(),
            source: source.to_owned(),
            kind: "a.b".to_owned(),
            subject: None,
            parent_id: parent.map(str::to_owned),
            emitted_by: None,
            after_ms: 0,
            note: None,
            deliveries: deliveries.iter().map(delivery).collect(),
            member_of: Vec::new(),
        }
    }

    fn tree(events: Vec<TreeEventJson>) -> TreeJson {
        TreeJson {
            root_id: "one".to_owned(),
            started_at: "2026-02-02T02:40:00.000Z".to_owned(),
            events,
            next_cursor: None,
        }
    }

    #[test]
    fn what_a_plugin_emitted_hangs_below_its_delivery() {
        let tree = tree(vec![
            event("one", "heygen", None, &["audit", "orders"]),
            event("two", "plugins/audit", Some("one"), &["mail"]),
        ]);
        let fall = Fall::of(&tree, "one", 0, MAX_ROWS);
        let rows: Vec<_> = fall.rows.iter().map(|row| (row.depth, row.id.as_str())).collect();
        let expected =
            [(0, "one"), (1, "one-audit"), (2, "two"), (3, "two-mail"), (1, "one-orders")];
        assert_eq!(rows, expected);
        assert!(fall.rows[0].is_this && (fall.events, fall.deliveries) == (2, 3));
        assert_eq!(fall.states, [("done", 3)]);
        assert_eq!(fall.rows[1].words[1..3], ["#1 failed (retry) in 2 ms", "waited 4.99 s"]);
        assert_eq!(fall.rows[0].took, "", "the others are after it");
        assert_eq!(fall.rows[1].took, "waited 5.00 s, ran 4 ms");
    }

    #[test]
    fn what_a_replay_emitted_hangs_below_the_replay() {
        let mut tree = tree(vec![
            event("one", "heygen", None, &["audit", "audit"]),
            event("two", "plugins/audit", Some("one"), &[]),
        ]);
        tree.events[0].deliveries[1].id = "replay".to_owned();
        let by = Emitter { delivery_id: "replay".to_owned(), attempt: 1 };
        tree.events[1].emitted_by = Some(by);
        let fall = Fall::of(&tree, "one", 0, MAX_ROWS);
        let rows: Vec<_> = fall.rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(rows, ["one", "one-audit", "replay", "two"]);
    }

    #[test]
    fn attempts_are_listed_in_order_with_what_came_of_them() {
        let mut tree = tree(vec![
            event("one", "heygen", None, &["audit"]),
            event("two", "plugins/audit", Some("one"), &["mail"]),
        ]);
        // Both began in the same millisecond, as far as their times tell.
        tree.events[1].after_ms = 5_000;
        tree.events[1].deliveries[0].attempts = vec![attempt(1, 5_000, "trap")];
        tree.events[1].deliveries[0].state = "dead";
        let (lines, before) = Fall::of(&tree, "one", 0, MAX_ROWS).tries;
        let names: Vec<_> = lines.iter().map(|it| (it.name.as_str(), it.at.as_str())).collect();
        let times = ["02:40:00.010", "02:40:05.000", "02:40:05.002"];
        let expected = ["audit #1", "audit #2", "mail #1"].into_iter().zip(times);
        assert_eq!((names, before), (expected.collect(), 0));
        assert!(lines[0].outcome.to_string().contains("failed, retried in 4.99 s"), "{lines:?}");
        assert!(lines[2].outcome.to_string().contains("failed (trap), a dead letter"), "{lines:?}");
        assert_eq!(lines.iter().filter(|it| it.of.is_some()).count(), 1);
    }

    #[test]
    fn an_event_is_drawn_behind_the_end_of_the_attempt_that_emitted_it() {
        let mut tree = tree(vec![
            event("one", "heygen", None, &["audit"]),
            event("two", "plugins/audit", Some("one"), &["mail"]),
        ]);
        tree.events[1].after_ms = 5_001;
        tree.events[1].deliveries[0].attempts = vec![attempt(1, 5_001, "ok")];
        let fall = Fall::of(&tree, "one", 0, MAX_ROWS);
        assert_eq!(fall.rows[1].words[3], "#2 ok in 2 ms", "it began after 5 s");
        assert_eq!(fall.rows[2].words, ["stored 5.00 s after the first"]);
        let of_event = &tree.events[1];
        assert_eq!(ended_ms(&tree.events[0].deliveries[0], of_event), 5_002.0);
        let bars = bars(of_event, 5_002.0, &of_event.deliveries[0], 0.0);
        assert_eq!((bars.len(), bars[0].from_ms), (1, 5_002.0), "nor does what follows from it");
    }

    #[test]
    fn a_wide_tree_is_cut_and_says_so() {
        let plugins: Vec<String> = (0..300).map(|n| format!("p{n}")).collect();
        let names: Vec<&str> = plugins.iter().map(String::as_str).collect();
        let mut tree = tree(vec![event("one", "heygen", None, &names)]);
        tree.events[0].deliveries[299].state = "dead";
        let fall = Fall::of(&tree, "one", 0, MAX_ROWS);
        assert_eq!((fall.rows.len(), fall.cut), (201, Some(301)));
        assert_eq!(fall.rows[200].id, "one-p299", "what failed is always there");
        assert_eq!(Fall::of(&tree, "one", 0, usize::MAX).rows.len(), 301);
    }
}
