//! What has its place and waits for the writer.

use super::frame::{FRAME_OVERHEAD_BYTES, FrameBuilder};
use crate::{event::Event, id::Hash};
use std::{mem, sync::Arc, time::Instant};

/// See the module.
#[derive(Default)]
pub struct Queue {
    /// What waits.
    pub pending: Pending,
    /// Since when something waits that is in no hurry.
    pub since: Option<Instant>,
    /// Whether the log was closed: nothing comes any more.
    pub closed: bool,
    /// Whether the rest of an append comes at once.
    more: bool,
    /// After how many calls the sleeping writer wants to be woken; `None` while it is awake.
    wake_at_calls: Option<usize>,
}

/// What is to be written together.
#[derive(Default)]
pub struct Pending {
    /// Blobs, which are written before any frame.
    pub blobs: Vec<(Hash, Vec<u8>)>,
    /// Frames in their order, each with its events.
    pub frames: Vec<(FrameBuilder, Vec<Arc<Event>>)>,
    /// What it counts for against the limit, in bytes.
    pub bytes: usize,
    /// How many calls made it, not counting those that are in no hurry.
    pub calls: usize,
    /// Whether it ends in the middle of an append, whose rest comes at once.
    pub part: bool,
}

impl Pending {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.blobs.is_empty()
    }
}

impl Queue {
    /// Adds a blob, to be written before whatever comes after it.
    pub fn push_blob(&mut self, hash: Hash, bytes: Vec<u8>) {
        self.pending.bytes += bytes.len();
        self.pending.blobs.push((hash, bytes));
    }

    /// Makes sure that the last frame has room for `bytes`: else a new one begins at `next_position`.
    pub fn make_room(&mut self, next_position: u64, bytes: usize) {
        let Pending { frames, bytes: counted, .. } = &mut self.pending;
        if frames.last().is_none_or(|(frame, _)| !frame.fits(bytes)) {
            frames.push((FrameBuilder::new(next_position, bytes), Vec::new()));
            *counted += FRAME_OVERHEAD_BYTES;
        }
    }

    /// Hashes what is in the last frame, so that the writer need not.
    pub fn hash(&mut self) {
        if let Some((frame, _)) = self.pending.frames.last_mut() {
            frame.hash();
        }
    }

    /// Counts a call, all of whose events are here unless there is `more`.
    pub fn count_call(&mut self, more: bool) {
        self.more = more;
        self.pending.calls += usize::from(!more);
    }

    /// All that waits.
    pub fn take(&mut self) -> Pending {
        self.since = None;
        Pending { part: self.more, ..mem::take(&mut self.pending) }
    }

    /// Whether an append is here in part, and the rest of it comes at once.
    pub fn has_part(&self) -> bool {
        self.more
    }

    /// The writer goes to sleep until so many calls wait, or a part of one.
    pub fn sleep(&mut self, calls: usize) {
        self.wake_at_calls = Some(calls);
    }

    /// The writer is awake.
    pub fn awake(&mut self) {
        self.wake_at_calls = None;
    }

    /// Whether the writer is to be woken now. It is said once.
    pub fn wakes(&mut self) -> bool {
        let wakes = self.wake_at_calls.is_some_and(|calls| self.more || self.pending.calls >= calls);
        if wakes {
            self.wake_at_calls = None;
        }
        wakes
    }
}
