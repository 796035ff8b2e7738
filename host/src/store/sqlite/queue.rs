//! The writer's queues: appends, and all other commands, each shared fairly by its owners.
//!
//! An owner is a source (of appends) or a plugin (of leases and settlements). The owner that has
//! been given the least weight is next, so that neither a flood to one source nor the large
//! settlements of one plugin delay the others. Commands of one owner keep their order.

use std::collections::{HashMap, VecDeque};

use super::command::{Owner, WriteCommand};

/// Everything that waits for the writer's thread.
#[derive(Default)]
pub(super) struct Queues {
    appends: WeightedQueue<WriteCommand>,
    work: WeightedQueue<WriteCommand>,
    /// Settlements among these.
    settlements: usize,
    /// The last command; none is begun after it.
    close: Option<WriteCommand>,
}

impl Queues {
    pub(super) fn push(&mut self, command: WriteCommand) {
        let (owner, weight) = (command.owner(), command.weight());
        self.settlements += usize::from(command.is_settlement());
        match command {
            WriteCommand::Append { .. } | WriteCommand::AppendAll { .. } => {
                self.appends.push(owner, weight, command);
            }
            WriteCommand::Close { .. } => self.close = Some(command),
            _ => self.work.push(owner, weight, command),
        }
    }

    pub(super) fn extend(&mut self, commands: impl IntoIterator<Item = WriteCommand>) {
        commands.into_iter().for_each(|command| self.push(command));
    }

    /// Puts commands back that were taken in this order and not done.
    pub(super) fn put_back(&mut self, commands: Vec<WriteCommand>) {
        for command in commands.into_iter().rev() {
            let (owner, weight) = (command.owner(), command.weight());
            self.settlements += usize::from(command.is_settlement());
            match command {
                WriteCommand::Append { .. } | WriteCommand::AppendAll { .. } => {
                    self.appends.push_front(owner, weight, command);
                }
                WriteCommand::Close { .. } => self.close = Some(command),
                _ => self.work.push_front(owner, weight, command),
            }
        }
    }

    /// The next append, if its weight is within `left` or it is the `first`.
    pub(super) fn next_append(&mut self, left: u64, first: bool) -> Option<(u64, WriteCommand)> {
        self.appends.pop(if first { u64::MAX } else { left })
    }

    /// The next of everything else, in the same way.
    pub(super) fn next_work(&mut self, left: u64, first: bool) -> Option<(u64, WriteCommand)> {
        let (weight, command) = self.work.pop(if first { u64::MAX } else { left })?;
        self.settlements -= usize::from(command.is_settlement());
        Some((weight, command))
    }

    /// Whether anything but appends waits.
    pub(super) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Whether settlements wait.
    pub(super) fn has_settlements(&self) -> bool {
        self.settlements > 0
    }

    /// The close, once nothing is before it.
    pub(super) fn next_close(&mut self) -> Option<WriteCommand> {
        if self.nothing_before_a_close() { self.close.take() } else { None }
    }

    /// Whether a close has come.
    pub(super) fn is_closing(&self) -> bool {
        self.close.is_some()
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.nothing_before_a_close() && self.close.is_none()
    }

    fn nothing_before_a_close(&self) -> bool {
        self.appends.is_empty() && self.work.is_empty()
    }

    /// Everything that waits, in no order.
    pub(super) fn drain(&mut self) -> Vec<WriteCommand> {
        let mut all = Vec::new();
        while let Some((_, command)) =
            self.next_append(u64::MAX, true).or_else(|| self.next_work(u64::MAX, true))
        {
            all.push(command);
        }
        all.extend(self.close.take());
        all
    }

    /// The appends that wait.
    pub(super) fn drain_appends(&mut self) -> Vec<WriteCommand> {
        std::iter::from_fn(|| self.next_append(u64::MAX, true))
            .map(|(_, command)| command)
            .collect()
    }
}

/// Items of several owners. The owner that has been given least is next.
struct WeightedQueue<T> {
    owners: HashMap<Owner, OwnerQueue<T>>,
    /// Items of all owners.
    items: usize,
    /// The least weight that a waiting owner has been given. A new owner begins there, so that idle
    /// time earns nothing.
    given: u64,
}

/// The items of one owner.
struct OwnerQueue<T> {
    given: u64,
    items: VecDeque<(u64, T)>,
}

impl<T> Default for WeightedQueue<T> {
    fn default() -> Self {
        Self { owners: HashMap::new(), items: 0, given: 0 }
    }
}

impl<T> WeightedQueue<T> {
    fn push(&mut self, owner: Owner, weight: u64, item: T) {
        self.line(owner).items.push_back((weight, item));
        self.items += 1;
    }

    /// Takes an item back that was popped, and what its owner was charged for it.
    fn push_front(&mut self, owner: Owner, weight: u64, item: T) {
        let line = self.line(owner);
        line.given = line.given.saturating_sub(weight);
        line.items.push_front((weight, item));
        self.items += 1;
    }

    fn line(&mut self, owner: Owner) -> &mut OwnerQueue<T> {
        let given = self.given;
        let line = self
            .owners
            .entry(owner)
            .or_insert_with(|| OwnerQueue { given, items: VecDeque::new() });
        if line.items.is_empty() {
            line.given = line.given.max(given);
        }
        line
    }

    /// The next item, if it weighs no more than `left`.
    fn pop(&mut self, left: u64) -> Option<(u64, T)> {
        let waiting = self.owners.iter_mut().filter(|(_, line)| !line.items.is_empty());
        let (_, line) = waiting.min_by(|(a, x), (b, y)| (x.given, a).cmp(&(y.given, b)))?;
        let (weight, item) = line.items.pop_front_if(|(weight, _)| *weight <= left)?;
        self.given = self.given.max(line.given);
        line.given += weight;
        self.items -= 1;
        if self.items == 0 {
            // No owner waits, so none has been kept waiting.
            self.owners.clear();
        }
        Some((weight, item))
    }

    fn is_empty(&self) -> bool {
        self.items == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn owner(name: u8) -> Owner {
        format!("owner{name}").into()
    }

    fn popped<T>(queue: &mut WeightedQueue<T>, count: usize) -> Vec<T> {
        std::iter::from_fn(|| queue.pop(u64::MAX)).map(|(_, item)| item).take(count).collect()
    }

    #[test]
    fn one_item_waits_for_a_turn_and_not_for_a_flood() {
        let mut queue = WeightedQueue::default();
        (0..1_000).for_each(|_| queue.push(owner(0), 1, 'f'));
        assert_eq!(popped(&mut queue, 500).len(), 500);
        queue.push(owner(1), 1, 'g');
        assert!(popped(&mut queue, 2).contains(&'g'));
    }

    #[test]
    fn turns_go_by_weight() {
        let mut queue = WeightedQueue::default();
        (0..10).for_each(|_| queue.push(owner(0), 100, 'h'));
        (0..500).for_each(|_| queue.push(owner(1), 1, 'l'));
        let heavy = popped(&mut queue, 302).iter().filter(|item| **item == 'h').count();
        assert!((3..=4).contains(&heavy), "{heavy} of weight 100 beside 300 of weight 1");
    }

    #[test]
    fn nobody_saves_up_while_he_asks_for_nothing() {
        let mut queue = WeightedQueue::default();
        (0..100).for_each(|_| queue.push(owner(0), 10, 'a'));
        popped(&mut queue, 90);
        (0..100).for_each(|_| queue.push(owner(1), 10, 'b'));
        let next = popped(&mut queue, 10);
        assert_eq!(next.iter().filter(|item| **item == 'a').count(), 5, "{next:?}");
    }

    #[test]
    fn a_heavy_item_that_does_not_fit_is_next_and_nothing_passes_it() {
        let mut queue = WeightedQueue::default();
        queue.push(owner(0), 100, 'h');
        queue.push(owner(1), 1, 'l');
        assert_eq!(queue.pop(50), None);
        assert_eq!(queue.pop(100), Some((100, 'h')));
        assert_eq!(queue.pop(50), Some((1, 'l')));
    }

    proptest! {
        #[test]
        fn every_owners_items_come_out_in_order_and_none_is_lost(
            steps in proptest::collection::vec((0u8..4, 1u64..50, proptest::option::of(1u64..80)),
                1..200),
        ) {
            let mut queue = WeightedQueue::default();
            let mut expected: BTreeMap<u8, VecDeque<usize>> = BTreeMap::new();
            let mut waiting = 0;
            for (number, (name, weight, left)) in steps.into_iter().enumerate() {
                queue.push(owner(name), weight, (name, weight, number));
                expected.entry(name).or_default().push_back(number);
                waiting += 1;
                if let Some((weight, (name, pushed,
                    number))) = left.and_then(|left| queue.pop(left)) {
                    prop_assert_eq!(weight, pushed);
                    prop_assert!(left.is_some_and(|left| weight <= left));
                    if number % 3 == 0 {
                        queue.push_front(owner(name), weight, (name, pushed, number));
                    } else {
                        prop_assert_eq!(expected.get_mut(&name).and_then(VecDeque::pop_front),
                            Some(number));
                        waiting -= 1;
                    }
                }
            }
            while let Some((_, (name, _, number))) = queue.pop(u64::MAX) {
                prop_assert_eq!(expected.get_mut(&name).and_then(VecDeque::pop_front),
                    Some(number));
                waiting -= 1;
            }
            prop_assert_eq!(waiting, 0);
            prop_assert!(queue.is_empty());
        }
    }
}
