//! The text of events, made once for all feeds that show them.

use bytes::Bytes;
use moonlog_core::event::Event;
use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

/// How many events are kept at most, whatever their size.
const SLOTS: usize = 8192;

/// An event's text: as a server-sent event, which holds its line of JSON.
#[derive(Debug, Clone)]
pub struct Rendered {
    sse: Bytes,
    json: usize,
}

impl Rendered {
    fn new(event: &Event, inline_max_bytes: u64) -> Self {
        let json = event.to_json(inline_max_bytes);
        let mut sse = String::with_capacity(json.len() + 64);
        let _ = write!(sse, "id: {}\nevent: {}\ndata: ", event.position, event.body.name());
        let at = sse.len();
        sse.push_str(&json);
        sse.push_str("\n\n");
        Self { sse: sse.into(), json: at }
    }

    /// As a server-sent event.
    pub fn sse(&self) -> &Bytes {
        &self.sse
    }

    /// The envelope on a line, newline included.
    pub fn line(&self) -> Bytes {
        self.sse.slice(self.json..self.sse.len() - 1)
    }

    /// The envelope.
    pub fn json(&self) -> &[u8] {
        &self.sse[self.json..self.sse.len() - 2]
    }
}

/// The newest rendered events, bounded in number and bytes.
pub struct Renderer {
    inline_max_bytes: u64,
    max_bytes: usize,
    ring: Mutex<Ring>,
}

/// Events by position from `first` on; those that nobody asked for are holes.
#[derive(Default)]
struct Ring {
    first: u64,
    slots: VecDeque<Option<Rendered>>,
    bytes: usize,
}

impl Renderer {
    pub fn new(inline_max_bytes: u64, max_bytes: usize) -> Self {
        Self { inline_max_bytes, max_bytes, ring: Mutex::default() }
    }

    /// The texts of `events`, in their order.
    pub fn render(&self, events: &[Arc<Event>]) -> Vec<Rendered> {
        let mut found: Vec<Option<Rendered>> = {
            let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            events.iter().map(|event| ring.get(event.position)).collect()
        };
        if found.iter().all(Option::is_some) {
            return found.into_iter().flatten().collect();
        }
        // Rendered outside the lock: two feeds may do the same work at times, none waits for another's.
        let mut fresh = Vec::new();
        for (event, slot) in events.iter().zip(&mut found) {
            if slot.is_none() {
                let rendered = Rendered::new(event, self.inline_max_bytes);
                fresh.push((event.position, rendered.clone()));
                *slot = Some(rendered);
            }
        }
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for (position, rendered) in fresh {
            ring.put(position, rendered, self.max_bytes);
        }
        found.into_iter().flatten().collect()
    }
}

impl Ring {
    fn get(&self, position: u64) -> Option<Rendered> {
        let at = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.slots.get(at)?.clone()
    }

    /// Keeps a text. Older ones than those kept are not: a feed that reads old history alone gains nothing from it.
    fn put(&mut self, position: u64, rendered: Rendered, max_bytes: usize) {
        let size = rendered.sse.len();
        if size > max_bytes / 4 {
            return;
        }
        if self.slots.is_empty() || position >= self.first + (self.slots.len() + SLOTS) as u64 {
            self.slots.clear();
            self.bytes = 0;
            self.first = position;
        }
        let Some(at) = position.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { return };
        while self.slots.len() <= at {
            self.slots.push_back(None);
        }
        let before = self.slots[at].replace(rendered);
        self.bytes = self.bytes + size - before.map_or(0, |before| before.sse.len());
        while self.bytes > max_bytes || self.slots.len() > SLOTS {
            let dropped = self.slots.pop_front().flatten();
            self.bytes -= dropped.map_or(0, |dropped| dropped.sse.len());
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(size: usize) -> Rendered {
        Rendered { sse: vec![b'x'; size].into(), json: 0 }
    }

    #[test]
    fn the_ring_keeps_the_newest_within_its_bytes() {
        let mut ring = Ring::default();
        for position in 1..=100 {
            ring.put(position, text(10), 400);
        }
        assert_eq!((ring.bytes, ring.first), (400, 61));
        assert!(ring.get(60).is_none() && ring.get(61).is_some() && ring.get(100).is_some() && ring.get(101).is_none());
        ring.put(3, text(10), 400);
        assert!(ring.get(3).is_none(), "older than what is kept");
        ring.put(100, text(20), 400);
        assert!(ring.bytes <= 400, "a text that is put again counts once");
        ring.put(101, text(101), 400);
        assert!(ring.get(101).is_none(), "one text may not take all the room");
    }

    #[test]
    fn the_ring_jumps_over_what_nobody_read() {
        let mut ring = Ring::default();
        ring.put(1, text(1), 1000);
        ring.put(1_000_000_000, text(1), 1000);
        assert_eq!((ring.slots.len(), ring.bytes), (1, 1));
        for position in (1_000_000_000..1_000_100_000).step_by(100) {
            ring.put(position, text(1), 1_000_000);
        }
        assert!(ring.slots.len() <= SLOTS);
        assert_eq!(ring.bytes, ring.slots.iter().flatten().count());
    }
}
