//! The promises of a fair pool: of its pure part for any order of calls, and of the pool as plugins
//! use it.

use std::collections::{HashMap, HashSet};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use proptest::sample::Index;

use super::queue::{FairQueue, GrantedRequest};
use super::{FairPermit, FairPool};
use crate::event::PluginName;

fn plugin(number: usize) -> PluginName {
    format!("p{number}").into()
}

/// Something that happens to a pool.
#[derive(Debug, Clone)]
enum Step {
    Ask(usize, u32),
    GiveBack(Index),
    Withdraw(Index),
    Reserve(Vec<usize>),
}

const PLUGINS: usize = 5;

fn steps(max_units: u32) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..PLUGINS, 0..=max_units).prop_map(|(plugin, units)| Step::Ask(plugin, units)),
        3 => any::<Index>().prop_map(Step::GiveBack),
        1 => any::<Index>().prop_map(Step::Withdraw),
        1 => proptest::collection::vec(0..PLUGINS, 0..PLUGINS).prop_map(Step::Reserve),
    ];
    proptest::collection::vec(step, 0..120)
}

/// The state of a pool as its callers see it, computed from calls and answers alone.
#[derive(Debug, Default)]
struct Seen {
    capacity: u32,
    held: Vec<(usize, u32)>,
    waiting: Vec<(usize, u32, u64)>,
    /// Units that were given to younger requests while this one was its plugin's first.
    passed_by: HashMap<u64, u32>,
    reserved: HashSet<usize>,
}

impl Seen {
    fn held_by(&self, plugin: usize) -> u32 {
        self.held.iter().filter(|(holder, _)| *holder == plugin).map(|(_, units)| units).sum()
    }

    fn free(&self) -> u32 {
        self.capacity - self.held.iter().map(|(_, units)| units).sum::<u32>()
    }

    /// Whether the plugin may take units without taking what is kept for others.
    fn may_take(&self, plugin: usize, units: u32) -> bool {
        let needs = |other: usize| other != plugin && self.held_by(other) == 0;
        let kept = self.reserved.iter().filter(|other| needs(**other)).count() as u32;
        let first = self.reserved.contains(&plugin) && self.held_by(plugin) == 0 && units == 1;
        units <= self.free()
            && (units == 0 || first || self.free() - units >= kept.min(self.capacity / 2))
    }

    /// The oldest request of each plugin that waits.
    fn firsts(&self) -> Vec<(usize, u32, u64)> {
        let mut plugins = HashSet::new();
        self.waiting.iter().copied().filter(|(plugin, ..)| plugins.insert(*plugin)).collect()
    }

    fn check_grant(&self, plugin: usize, units: u32, ticket: u64) -> Result<(), TestCaseError> {
        prop_assert!(
            self.firsts().contains(&(plugin, units, ticket)),
            "first come, first served within a plugin"
        );
        prop_assert!(
            self.may_take(plugin, units),
            "nothing is taken that is not there, or is kept for others"
        );
        let level = |plugin, units| self.held_by(plugin) + units;
        for (other, asked, older) in self.firsts() {
            let before = (level(other, asked), older) < (level(plugin, units), ticket);
            let kept_off = asked <= self.free() && !self.may_take(other, asked);
            // A plugin that holds nothing is brought forward when it has been passed by for long.
            let passed_by = self.passed_by.get(&ticket).copied().unwrap_or(0);
            let overdue = self.held_by(plugin) == 0 && passed_by >= self.capacity;
            prop_assert!(
                !before || kept_off || units == 0 || overdue,
                "{other} would hold less than {plugin}"
            );
        }
        Ok(())
    }

    fn check_rest(&self) -> Result<(), TestCaseError> {
        let firsts = self.firsts();
        for (plugin, units, _) in
            firsts.iter().filter(|(plugin, units, _)| self.may_take(*plugin, *units))
        {
            let too_large = firsts.iter().any(|(_, asked, _)| *asked > self.free());
            prop_assert!(too_large, "{plugin} waits for {units} that it may have: {self:?}");
            prop_assert!(*units > 0, "who asks for nothing waits for nobody else");
        }
        Ok(())
    }
}

fn number(name: &PluginName) -> usize {
    name[1..].parse().unwrap()
}

fn settle(queue: &mut FairQueue<u64>, seen: &mut Seen) -> Result<(), TestCaseError> {
    while let Some(GrantedRequest { plugin, units, waiter: id }) = queue.next() {
        let plugin = number(&plugin);
        let at = seen.waiting.iter().position(|(_, _, ticket)| *ticket == id).unwrap();
        seen.check_grant(plugin, units, id)?;
        seen.waiting.remove(at);
        for (.., older) in seen.firsts().into_iter().filter(|(.., other)| *other < id) {
            *seen.passed_by.entry(older).or_default() += units;
        }
        seen.held.push((plugin, units));
    }
    seen.check_rest()
}

/// Takes the steps; afterwards everything is given back, and everybody is served.
fn follow(capacity: u32, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut queue, mut seen) = (FairQueue::new(capacity), Seen { capacity, ..Seen::default() });
    let mut last = 0;
    for step in steps {
        match step {
            Step::Ask(asking, units) => {
                let units = units.min(capacity);
                if queue.try_take(&plugin(asking), units) {
                    prop_assert!(seen.may_take(asking, units));
                    prop_assert!(units == 0 || seen.waiting.is_empty(), "nobody is passed by");
                    seen.held.push((asking, units));
                } else {
                    last += 1;
                    prop_assert_eq!(queue.wait(&plugin(asking), units, last), last);
                    seen.waiting.push((asking, units, last));
                }
            }
            Step::GiveBack(which) if !seen.held.is_empty() => {
                let (holder, units) = seen.held.swap_remove(which.index(seen.held.len()));
                queue.give_back(&plugin(holder), units);
            }
            Step::Withdraw(which) if !seen.waiting.is_empty() => {
                let (waiter, _, ticket) = seen.waiting.remove(which.index(seen.waiting.len()));
                queue.withdraw(&plugin(waiter), ticket);
            }
            Step::Reserve(plugins) => {
                queue.reserve_for(plugins.iter().copied().map(plugin).collect());
                seen.reserved = plugins.into_iter().collect();
            }
            Step::GiveBack(_) | Step::Withdraw(_) => {}
        }
        settle(&mut queue, &mut seen)?;
    }
    queue.reserve_for(HashSet::new());
    seen.reserved.clear();
    settle(&mut queue, &mut seen)?;
    while let Some((holder, units)) = seen.held.pop() {
        queue.give_back(&plugin(holder), units);
        settle(&mut queue, &mut seen)?;
    }
    prop_assert!(seen.waiting.is_empty(), "everybody is served in the end");
    prop_assert!(queue.try_take(&plugin(0), capacity), "everything is free in the end");
    Ok(())
}

/// The max-min shares: units one by one, each to the plugin that holds least and wants more.
fn max_min(capacity: u32, wanted: &[u32]) -> Vec<u32> {
    let mut held = vec![0; wanted.len()];
    for _ in 0..capacity {
        let unsatisfied = (0..wanted.len()).filter(|plugin| held[*plugin] < wanted[*plugin]);
        let Some(least) = unsatisfied.min_by_key(|plugin| held[*plugin]) else { break };
        held[least] += 1;
    }
    held
}

proptest! {
    #[test]
    fn single_units_are_shared_fairly_and_nobody_waits_without_need(
        capacity in 1u32..12,
        steps in steps(1),
    ) {
        follow(capacity, steps)?;
    }

    #[test]
    fn many_units_at_once_are_shared_fairly_and_large_requests_are_served(
        capacity in 1u32..12,
        steps in steps(14),
    ) {
        follow(capacity, steps)?;
    }

    #[test]
    fn what_comes_free_is_shared_max_min(
        capacity in 1u32..40,
        wanted in proptest::collection::vec(0u32..20, 1..8),
    ) {
        let mut queue = FairQueue::new(capacity);
        let old: PluginName = "old".into();
        prop_assert!(queue.try_take(&old, capacity));
        for (asking, units) in wanted.iter().enumerate() {
            for _ in 0..*units {
                queue.wait(&plugin(asking), 1, ());
            }
        }
        let mut held = vec![0; wanted.len()];
        for _ in 0..capacity {
            queue.give_back(&old, 1);
            while let Some(granted) = queue.next() {
                held[number(&granted.plugin)] += granted.units;
            }
        }
        let fair = max_min(capacity, &wanted);
        // Of equals, the one that asked first has the odd unit.
        prop_assert_eq!(held, fair);
    }
}

#[test]
fn a_large_request_is_passed_by_no_more_than_the_pool_has() {
    let (large, small, old) = (plugin(0), plugin(1), plugin(2));
    let mut queue = FairQueue::new(8);
    assert!(queue.try_take(&old, 7));
    queue.wait(&large, 8, "large");
    let mut passed_by = 0;
    loop {
        // Each of them has less than the large one asks for.
        queue.wait(&small, 1, "small");
        if queue.next().is_none() {
            break;
        }
        queue.give_back(&small, 1);
        passed_by += 1;
        assert!(passed_by <= 8, "it waits for ever");
    }
    assert_eq!(passed_by, 8);
    queue.give_back(&old, 7);
    assert_eq!(queue.next().map(|granted| granted.waiter), Some("large"));
}

#[test]
fn one_place_is_kept_for_every_plugin_that_holds_none_up_to_half() {
    let everybody = |plugins: usize| (0..plugins).map(plugin).collect::<HashSet<_>>();
    for (plugins, kept) in [(1, 0), (4, 3), (5, 4), (6, 4), (100, 4)] {
        let mut queue = FairQueue::<()>::new(8);
        queue.reserve_for(everybody(plugins));
        let taken = (0..8).filter(|_| queue.try_take(&plugin(0), 1)).count();
        assert_eq!(taken, 8 - kept, "of {plugins} plugins");
        // A plugin that holds none may have one of the kept units.
        let served = (1..plugins).filter(|number| queue.try_take(&plugin(*number), 1)).count();
        assert_eq!(served, kept, "of {plugins} plugins");
    }
}

#[test]
fn one_plugin_alone_may_have_all_of_a_pool() {
    let mut queue = FairQueue::<()>::new(8);
    queue.reserve_for([plugin(0)].into());
    assert_eq!((0..9).filter(|_| queue.try_take(&plugin(0), 1)).count(), 8);
}

fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn now(pool: &FairPool, number: usize, units: u32) -> Option<FairPermit> {
    poll(pin!(pool.acquire(&plugin(number), units)))
}

#[test]
fn a_waiter_that_goes_away_leaves_nothing_behind() {
    let pool = FairPool::new(4);
    let held = now(&pool, 0, 3).unwrap();
    let (first, second) = (plugin(1), plugin(2));
    let mut gone = Box::pin(pool.acquire(&first, 2));
    let mut next = pin!(pool.acquire(&second, 4));
    assert!(poll(gone.as_mut()).is_none() && poll(next.as_mut()).is_none());
    drop(gone);
    drop(held);
    assert!(poll(next).is_some(), "all four are free");
    assert!(now(&pool, 3, 4).is_some(), "everything is free");
}

#[test]
fn who_was_in_the_way_of_others_and_goes_away_lets_them_pass() {
    let pool = FairPool::new(4);
    let _held = now(&pool, 0, 3).unwrap();
    let (first, second) = (plugin(1), plugin(2));
    let mut large = Box::pin(pool.acquire(&first, 2));
    assert!(poll(large.as_mut()).is_none());
    let mut later = pin!(pool.acquire(&second, 2));
    assert!(poll(later.as_mut()).is_none());
    let mut same = pin!(pool.acquire(&first, 1));
    assert!(poll(same.as_mut()).is_none(), "the requests of a plugin are served in order");
    drop(large);
    assert!(poll(same).is_some());
}

#[test]
fn what_a_waiter_was_given_and_did_not_take_goes_to_the_next() {
    let pool = FairPool::new(1);
    let held = now(&pool, 0, 1).unwrap();
    let (first, second) = (plugin(1), plugin(2));
    let mut gone = Box::pin(pool.acquire(&first, 1));
    let mut next = pin!(pool.acquire(&second, 1));
    assert!(poll(gone.as_mut()).is_none() && poll(next.as_mut()).is_none());
    drop(held);
    assert!(poll(next.as_mut()).is_none(), "it is the other's");
    drop(gone);
    assert!(poll(next).is_some());
}

#[test]
fn a_request_for_more_than_there_is_takes_all_of_it() {
    let pool = FairPool::new(4);
    let all = now(&pool, 0, 5).unwrap();
    assert!(now(&pool, 1, 1).is_none());
    drop(all);
    assert!(now(&pool, 1, 1).is_some());
}

#[test]
fn a_request_for_nothing_waits_for_those_of_its_own_plugin_alone() {
    let pool = FairPool::new(2);
    let held = now(&pool, 0, 2).unwrap();
    assert!(now(&pool, 0, 0).is_some(), "nothing of this plugin waits");
    let name = plugin(0);
    let (mut more, mut none) = (Box::pin(pool.acquire(&name, 1)), Box::pin(pool.acquire(&name, 0)));
    assert!(poll(more.as_mut()).is_none() && poll(none.as_mut()).is_none());
    assert!(now(&pool, 1, 0).is_some(), "nor of another one");
    drop(held);
    assert!(poll(none.as_mut()).is_some() && poll(more.as_mut()).is_some());
}

#[test]
fn what_was_kept_for_a_plugin_that_has_gone_is_handed_out() {
    let pool = FairPool::new(2);
    pool.reserve_for([plugin(0), plugin(1)].into());
    let _held = now(&pool, 0, 1).unwrap();
    let name = plugin(0);
    let mut second = pin!(pool.acquire(&name, 1));
    assert!(poll(second.as_mut()).is_none());
    pool.reserve_for([plugin(0)].into());
    assert!(poll(second).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_forgotten_while_others_come_and_go() {
    let pool = FairPool::new(3);
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let pool = pool.clone();
            crate::tasks::spawn(async move {
                let name = plugin(number % 5);
                for round in 0..500_usize {
                    let units = u32::try_from((number + round) % 4).unwrap();
                    if round % 3 == 0 {
                        // Looks once and goes away, perhaps with what it has just been given.
                        drop(poll(pin!(pool.acquire(&name, units))));
                    }
                    let permit = pool.acquire(&name, units).await;
                    tokio::task::yield_now().await;
                    drop(permit);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(now(&pool, 0, 3).is_some(), "everything is free in the end");
}
