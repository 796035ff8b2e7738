//! Chooses the next request: the pure part of a [`FairPool`](super::FairPool).
//!
//! The next plugin is the one that would hold least with its request; of equals, the one that
//! waited longest. While its request does not fit, free units are kept for it, so that small
//! requests do not starve large ones. A plugin that holds nothing is passed by at most as many
//! units as the pool has.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::event::PluginName;

/// The units, their holders and the waiting requests; a `W` tells a waiter that it is granted.
#[derive(Debug)]
pub(super) struct FairQueue<W> {
    capacity: u32,
    free: u32,
    /// Plugins that hold units or wait.
    accounts: HashMap<PluginName, PluginAccount<W>>,
    /// Waiting requests of all plugins.
    waiting: usize,
    last_ticket: u64,
    /// Plugins for which a unit is kept while they hold none.
    reserved_for: HashSet<PluginName>,
    /// How many of them hold none.
    unserved: u32,
}

#[derive(Debug)]
struct PluginAccount<W> {
    held: u32,
    waiting: VecDeque<UnitRequest<W>>,
}

#[derive(Debug)]
struct UnitRequest<W> {
    ticket: u64,
    units: u32,
    /// Units that went to younger requests while this one was its plugin's first.
    passed_by: u64,
    waiter: W,
}

/// A request that was granted.
pub(super) struct GrantedRequest<W> {
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

    /// Takes units at once if no request is before this one; says whether it did.
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

    /// Queues a request and returns its number.
    pub(super) fn wait(&mut self, plugin: &PluginName, units: u32, waiter: W) -> u64 {
        self.last_ticket += 1;
        self.waiting += 1;
        let request = UnitRequest { ticket: self.last_ticket, units, passed_by: 0, waiter };
        self.account(plugin).waiting.push_back(request);
        self.last_ticket
    }

    /// Removes a request from the queue, if it is still there.
    pub(super) fn withdraw(&mut self, plugin: &PluginName, ticket: u64) {
        let Some(account) = self.accounts.get_mut(plugin) else { return };
        let before = account.waiting.len();
        account.waiting.retain(|request| request.ticket != ticket);
        self.waiting -= before - account.waiting.len();
        self.forget_idle(plugin);
    }

    /// Grants the next request if its units are free. Call it after every other change, until it
    /// returns `None`.
    pub(super) fn next(&mut self) -> Option<GrantedRequest<W>> {
        if self.waiting == 0 {
            return None;
        }
        let (_, plugin) = self.firsts().filter(|(_, plugin)| !self.is_kept_off(plugin)).min()?;
        let plugin = plugin.clone();
        let units = self.accounts[&plugin].waiting.front()?.units;
        // Free units are kept for it: a smaller request does not overtake it.
        if units > self.free {
            return None;
        }
        let UnitRequest { ticket, waiter, .. } = self.account(&plugin).waiting.pop_front()?;
        self.waiting -= 1;
        self.take(&plugin, units);
        for account in self.accounts.values_mut() {
            if let Some(first) = account.waiting.front_mut().filter(|first| first.ticket < ticket) {
                first.passed_by += u64::from(units);
            }
        }
        Some(GrantedRequest { plugin, units, waiter })
    }

    /// Takes units back from a plugin.
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

    /// The units of each waiting request, the oldest first.
    #[cfg(test)]
    pub(super) fn requests(&self) -> Vec<u32> {
        let requests = self.accounts.values().flat_map(|account| &account.waiting);
        let by_age: std::collections::BTreeMap<_, _> =
            requests.map(|request| (request.ticket, request.units)).collect();
        by_age.into_values().collect()
    }

    /// The first request of each waiting plugin: its rank (the least is next) and the plugin.
    fn firsts(&self) -> impl Iterator<Item = ((bool, u64, u64), &PluginName)> {
        self.accounts.iter().filter_map(|(plugin, account)| {
            let first = account.waiting.front()?;
            let overdue = account.held == 0 && first.passed_by >= u64::from(self.capacity);
            let level = if overdue { 0 } else { u64::from(account.held) + u64::from(first.units) };
            Some(((first.units > 0, level, first.ticket), plugin))
        })
    }

    /// Whether the first request of this plugin waits only because of kept units. Others do not
    /// wait for it.
    fn is_kept_off(&self, plugin: &PluginName) -> bool {
        let Some(account) = self.accounts.get(plugin) else { return false };
        let Some(first) = account.waiting.front() else { return false };
        first.units <= self.free && !self.may_take(plugin, account.held, first.units)
    }

    fn may_take(&self, plugin: &PluginName, held: u32, units: u32) -> bool {
        let Some(left) = self.free.checked_sub(units) else { return false };
        let unserved = held == 0 && self.reserved_for.contains(plugin);
        // The plugin's first unit is one of those that are kept.
        units == 0
            || unserved && units == 1
            || left >= (self.unserved - u32::from(unserved)).min(self.capacity / 2)
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

    /// The units that a plugin holds.
    pub(super) fn held(&self, plugin: &PluginName) -> u32 {
        self.accounts.get(plugin).map_or(0, |account| account.held)
    }

    fn account(&mut self, plugin: &PluginName) -> &mut PluginAccount<W> {
        // Looked up first, so that the name is cloned only for a new account.
        if !self.accounts.contains_key(plugin) {
            self.accounts
                .insert(plugin.clone(), PluginAccount { held: 0, waiting: VecDeque::new() });
        }
        self.accounts.get_mut(plugin).expect("it was just inserted")
    }

    fn forget_idle(&mut self, plugin: &PluginName) {
        if self
            .accounts
            .get(plugin)
            .is_some_and(|account| account.held == 0 && account.waiting.is_empty())
        {
            self.accounts.remove(plugin);
        }
    }
}
