//! The newest durable events, decoded: who follows the head never reads storage.

use crate::event::Event;
use std::{collections::VecDeque, mem::size_of, sync::Arc};

/// A gapless run of events up to the head, bounded in bytes.
pub struct Tail {
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
    max_bytes: usize,
}

impl Tail {
    /// An empty one.
    pub fn new(max_bytes: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, max_bytes }
    }

    /// Adds events behind the last. `stored_bytes` is what they take in storage.
    pub fn extend(&mut self, events: &[Arc<Event>], stored_bytes: usize) {
        // Decoded text takes about what it takes in storage; blobs' data comes on top.
        let each = stored_bytes / events.len().max(1) + size_of::<Event>() + 32;
        for event in events {
            let bytes = each + event.blob.map_or(0, |(_, bytes)| bytes as usize);
            self.bytes += bytes;
            self.events.push_back((event.clone(), bytes));
        }
    }

    /// Takes out what is too much, oldest first: to be dropped when nobody waits for the tail.
    pub fn trim(&mut self) -> Vec<(Arc<Event>, usize)> {
        let (mut count, mut bytes) = (0, self.bytes);
        while bytes > self.max_bytes && count < self.events.len() {
            bytes -= self.events[count].1;
            count += 1;
        }
        self.bytes = bytes;
        let trimmed = self.events.drain(..count).collect();
        if self.events.capacity() > 1024 && self.events.capacity() > 4 * self.events.len() {
            self.events.shrink_to(2 * self.events.len());
        }
        trimmed
    }

    /// Lets go of the events up to a position: something among them was removed.
    pub fn forget_through(&mut self, position: u64) {
        while self.first_position().is_some_and(|first| first <= position) {
            self.bytes -= self.events.pop_front().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// The first position that is here.
    pub fn first_position(&self) -> Option<u64> {
        self.events.front().map(|(event, _)| event.position)
    }

    /// The event at `position`, if it is here.
    pub fn get(&self, position: u64) -> Option<&Arc<Event>> {
        let nth = position.checked_sub(self.first_position()?)?;
        self.events.get(usize::try_from(nth).ok()?).map(|(event, _)| event)
    }
}
