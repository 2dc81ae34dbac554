//! The steps that may start, within the limits: in each batch those that became ready first go first, and so do the
//! batches' first ones among each other. Each operation costs the logarithm of the number of batches.

use std::collections::{BTreeSet, VecDeque};

/// Steps that share a limit, of which those of no batch are one group too.
#[derive(Debug)]
struct Group {
    /// Ready ones, oldest first: when each became ready, and which.
    waiting: VecDeque<(u64, usize)>,
    running: usize,
    max: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ready {
    groups: Vec<Group>,
    /// The first ready step of each group that has room.
    first: BTreeSet<(u64, usize)>,
    running: usize,
    max_running: usize,
    next: u64,
}

impl Ready {
    /// Groups with these limits.
    pub fn new(limits: impl Iterator<Item = usize>, max_running: usize) -> Self {
        let groups = limits.map(|max| Group { waiting: VecDeque::new(), running: 0, max }).collect();
        Self { groups, first: BTreeSet::new(), running: 0, max_running, next: 0 }
    }

    /// `step` may start when its group has room.
    pub fn push(&mut self, group: usize, step: usize) {
        self.hide(group);
        self.groups[group].waiting.push_back((self.next, step));
        self.next += 1;
        self.show(group);
    }

    /// Takes the step that starts next, which runs from now on. Those that `gone` says are not wanted any more are
    /// passed over.
    pub fn start(&mut self, gone: impl Fn(usize) -> bool) -> Option<usize> {
        while self.running < self.max_running {
            let (_, group) = self.first.pop_first()?;
            let (_, step) = self.groups[group].waiting.pop_front()?;
            let wanted = !gone(step);
            if wanted {
                self.groups[group].running += 1;
                self.running += 1;
            }
            self.show(group);
            if wanted {
                return Some(step);
            }
        }
        None
    }

    /// A step of the group runs no more.
    pub fn ended(&mut self, group: usize) {
        self.hide(group);
        self.groups[group].running -= 1;
        self.running -= 1;
        self.show(group);
    }

    /// Whether a step is to be started.
    pub fn may_start(&self) -> bool {
        self.running < self.max_running && !self.first.is_empty()
    }

    /// How many run.
    pub const fn running(&self) -> usize {
        self.running
    }

    fn key(&self, group: usize) -> Option<(u64, usize)> {
        let state = &self.groups[group];
        let (since, _) = state.waiting.front().filter(|_| state.running < state.max)?;
        Some((*since, group))
    }

    fn hide(&mut self, group: usize) {
        if let Some(key) = self.key(group) {
            self.first.remove(&key);
        }
    }

    fn show(&mut self, group: usize) {
        self.first.extend(self.key(group));
    }
}
