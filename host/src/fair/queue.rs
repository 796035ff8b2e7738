//! Who is next: the pure part of a [`FairPool`](super::FairPool).
//!
//! Among the plugins that wait, the next one is that which would hold least with what it asks for, and of equals that
//! which has waited longest. While its request does not fit into what is free, what is free is kept for it, so large
//! requests are not starved by small ones. A plugin that holds nothing is passed by at most as many units as the pool has.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::event::PluginName;

/// Units, their holders and those who wait for them; `W` is whatever tells a waiter.
#[derive(Debug)]
pub(super) struct FairQueue<W> {
    capacity: u32,
    free: u32,
    /// Plugins that hold or wait.
    accounts: HashMap<PluginName, Account<W>>,
    /// Requests that wait, of all plugins.
    waiting: usize,
    last_ticket: u64,
    /// Plugins for which a unit is kept while they hold none.
    reserved_for: HashSet<PluginName>,
    /// How many of them hold none.
    unserved: u32,
}

#[derive(Debug)]
struct Account<W> {
    held: u32,
    waiting: VecDeque<Request<W>>,
}

#[derive(Debug)]
struct Request<W> {
    ticket: u64,
    units: u32,
    /// Units that were given to younger requests while this one was its plugin's first.
    passed_by: u64,
    waiter: W,
}

/// A request that was granted.
pub(super) struct Granted<W> {
    pub(super) plugin: PluginName,
    pub(super) units: u32,
    pub(super) waiter: W,
}

impl<W> FairQueue<W> {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            capacity,
            free: capacity,
            accounts: HashMap::new(),
            waiting: 0,
            last_ticket: 0,
            reserved_for: HashSet::new(),
            unserved: 0,
        }
    }

    /// Takes units at once if nobody is before this plugin; says whether it did.
    pub(super) fn try_take(&mut self, plugin: &PluginName, units: u32) -> bool {
        if units == 0 {
            return self.accounts.get(plugin).is_none_or(|account| account.waiting.is_empty());
        }
        let free = self.waiting == 0 && self.may_take(plugin, self.held(plugin), units);
        if free {
            self.take(plugin, units);
        }
        free
    }

    /// Puts a request in line and returns its number.
    pub(super) fn wait(&mut self, plugin: &PluginName, units: u32, waiter: W) -> u64 {
        self.last_ticket += 1;
        self.waiting += 1;
        let request = Request { ticket: self.last_ticket, units, passed_by: 0, waiter };
        self.account(plugin).waiting.push_back(request);
        self.last_ticket
    }

    /// Takes a request out of the line, if it is still there.
    pub(super) fn withdraw(&mut self, plugin: &PluginName, ticket: u64) {
        let Some(account) = self.accounts.get_mut(plugin) else { return };
        let before = account.waiting.len();
        account.waiting.retain(|request| request.ticket != ticket);
        self.waiting -= before - account.waiting.len();
        self.forget_idle(plugin);
    }

    /// Grants the next request, if what it asks for is free. To be called until there is none, after every other change.
    pub(super) fn next(&mut self) -> Option<Granted<W>> {
        if self.waiting == 0 {
            return None;
        }
        let (_, plugin) = self.firsts().filter(|(_, plugin)| !self.is_kept_off(plugin)).min()?;
        let plugin = plugin.clone();
        let units = self.accounts[&plugin].waiting.front()?.units;
        if units > self.free {
            return None;
        }
        let Request { ticket, waiter, .. } = self.account(&plugin).waiting.pop_front()?;
        self.waiting -= 1;
        self.take(&plugin, units);
        for account in self.accounts.values_mut() {
            if let Some(first) = account.waiting.front_mut().filter(|first| first.ticket < ticket) {
                first.passed_by += u64::from(units);
            }
        }
        Some(Granted { plugin, units, waiter })
    }

    /// Units come back from a plugin.
    pub(super) fn give_back(&mut self, plugin: &PluginName, units: u32) {
        if units == 0 {
            return;
        }
        self.free += units;
        let account = self.account(plugin);
        account.held -= units;
        if account.held == 0 && self.reserved_for.contains(plugin) {
            self.unserved += 1;
        }
        self.forget_idle(plugin);
    }

    /// Sets the plugins for which a unit is kept while they hold none.
    pub(super) fn reserve_for(&mut self, plugins: HashSet<PluginName>) {
        let unserved = plugins.iter().filter(|plugin| self.held(plugin) == 0).count();
        self.unserved = u32::try_from(unserved).unwrap_or(u32::MAX);
        self.reserved_for = plugins;
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> u32 {
        self.free
    }

    /// The units of each request that waits, the oldest first.
    #[cfg(test)]
    pub(super) fn requests(&self) -> Vec<u32> {
        let requests = self.accounts.values().flat_map(|account| &account.waiting);
        let by_age: std::collections::BTreeMap<_, _> =
            requests.map(|request| (request.ticket, request.units)).collect();
        by_age.into_values().collect()
    }

    /// The first request of each plugin that waits: its rank, the least one first, and the plugin.
    fn firsts(&self) -> impl Iterator<Item = ((bool, u64, u64), &PluginName)> {
        self.accounts.iter().filter_map(|(plugin, account)| {
            let first = account.waiting.front()?;
            let overdue = account.held == 0 && first.passed_by >= u64::from(self.capacity);
            let level = if overdue { 0 } else { u64::from(account.held) + u64::from(first.units) };
            Some(((first.units > 0, level, first.ticket), plugin))
        })
    }

    /// Whether the first request of this plugin would fit, but for what is kept: then others are not to wait for it.
    fn is_kept_off(&self, plugin: &PluginName) -> bool {
        let Some(account) = self.accounts.get(plugin) else { return false };
        let Some(first) = account.waiting.front() else { return false };
        first.units <= self.free && !self.may_take(plugin, account.held, first.units)
    }

    fn may_take(&self, plugin: &PluginName, held: u32, units: u32) -> bool {
        let Some(left) = self.free.checked_sub(units) else { return false };
        let unserved = held == 0 && self.reserved_for.contains(plugin);
        // Its first unit is one of those that are kept.
        units == 0 || unserved && units == 1 || left >= (self.unserved - u32::from(unserved)).min(self.capacity / 2)
    }

    fn take(&mut self, plugin: &PluginName, units: u32) {
        if units == 0 {
            return self.forget_idle(plugin);
        }
        self.free -= units;
        let account = self.account(plugin);
        account.held += units;
        if account.held == units && self.reserved_for.contains(plugin) {
            self.unserved -= 1;
        }
    }

    fn held(&self, plugin: &PluginName) -> u32 {
        self.accounts.get(plugin).map_or(0, |account| account.held)
    }

    fn account(&mut self, plugin: &PluginName) -> &mut Account<W> {
        // Looked up first, because most accounts are there and a name is cloned for a new one alone.
        if !self.accounts.contains_key(plugin) {
            self.accounts.insert(plugin.clone(), Account { held: 0, waiting: VecDeque::new() });
        }
        self.accounts.get_mut(plugin).expect("it is there by now")
    }

    fn forget_idle(&mut self, plugin: &PluginName) {
        if self.accounts.get(plugin).is_some_and(|account| account.held == 0 && account.waiting.is_empty()) {
            self.accounts.remove(plugin);
        }
    }
}
