//! The way from an append to the writer: places are given, the queue is filled, the writer is woken.

use super::{
    AppendError, Appended, Hurry,
    prepare::Prepared,
    queue::Queue,
    sequencer::Sequencer,
    shared::{Shared, lock},
};
use crate::event::StreamId;
use std::{
    sync::{MutexGuard, atomic::Ordering},
    time::Instant,
};

/// How many times as much may wait as [`super::Log::ready`] lets through, before appends are refused.
const OVERLOAD_FACTOR: usize = 4;

impl Shared {
    /// Gives prepared events their places, and hands them over to the writer. They stay where they are while the log takes
    /// nothing.
    pub fn place(
        &self,
        appends: &mut Vec<Prepared>,
        one_frame: bool,
        hurry: Hurry,
    ) -> Result<Vec<Appended>, AppendError> {
        if appends.is_empty() {
            return Ok(Vec::new());
        }
        loop {
            let mut sequencer = self.take_in()?;
            sequencer.thin_out(self.head());
            let (unknown, mark) = sequencer.unknown(appends);
            if unknown.is_empty() {
                return self.enqueue(sequencer, std::mem::take(appends), one_frame, hurry);
            }
            // Reading the index may take a moment: nobody else has to wait for that.
            drop(sequencer);
            let look_up = |stream: StreamId| match self.index.head(&stream) {
                Ok(head) => Ok((stream, head)),
                Err(error) => Err(AppendError::Unreadable { stream, message: error.to_string() }),
            };
            let heads = unknown.into_iter().map(look_up).collect::<Result<_, _>>()?;
            lock(&self.sequencer).learn(mark, heads);
        }
    }

    /// The sequencer, where it takes more.
    pub fn take_in(&self) -> Result<MutexGuard<'_, Sequencer>, AppendError> {
        let sequencer = lock(&self.sequencer);
        sequencer.check_intake()?;
        let pending_bytes = self.pending_bytes.load(Ordering::Acquire);
        let max_bytes = OVERLOAD_FACTOR * self.pending_max_bytes;
        if pending_bytes > max_bytes {
            return Err(AppendError::Overloaded { pending_bytes: pending_bytes as u64, max_bytes: max_bytes as u64 });
        }
        Ok(sequencer)
    }

    /// Places appends whose streams' ends are known. The writer gets each as soon as it is placed, unless they go into one
    /// frame, and writes the first while the others are placed.
    fn enqueue(
        &self,
        mut sequencer: MutexGuard<'_, Sequencer>,
        appends: Vec<Prepared>,
        one_frame: bool,
        hurry: Hurry,
    ) -> Result<Vec<Appended>, AppendError> {
        let time = sequencer.admit(&appends, (self.clock)())?;
        let at_once = if one_frame { appends.len() } else { 1 };
        let mut appended = Vec::with_capacity(appends.len());
        let mut appends = appends.into_iter();
        while appends.len() > 0 {
            let first = appended.is_empty();
            let bytes = appends.as_slice()[..at_once].iter().map(Prepared::stored_bytes).sum();
            let mut queue = lock(&self.queue);
            let before = queue.pending.bytes;
            queue.make_room(sequencer.next_position(), bytes);
            appended.extend(appends.by_ref().take(at_once).map(|append| sequencer.place(append, time, &mut queue)));
            if !first {
                // The writer is busy with the first.
                queue.hash();
            }
            self.hand_over(queue, before, hurry, appends.len() > 0);
        }
        Ok(appended)
    }

    /// Counts what was added to `queue` since `before`, and wakes the writer where it wants to know.
    pub fn hand_over(&self, mut queue: MutexGuard<'_, Queue>, before: usize, hurry: Hurry, more: bool) {
        self.pending_bytes.fetch_add(queue.pending.bytes - before, Ordering::AcqRel);
        match hurry {
            Hurry::AtOnce => {
                queue.count_call(more);
                self.wake_writer(queue);
            }
            // The writer begins to count the time.
            Hurry::None if queue.since.is_none() => {
                queue.since = Some(Instant::now());
                drop(queue);
                self.wake();
            }
            Hurry::None => {}
        }
    }

    /// Somebody waits for what nobody was in a hurry to have written.
    pub fn hurry(&self) {
        let mut queue = lock(&self.queue);
        if queue.pending.calls == 0 && queue.since.is_some() {
            queue.count_call(false);
            self.wake_writer(queue);
        }
    }

    fn wake_writer(&self, mut queue: MutexGuard<'_, Queue>) {
        let wakes = queue.wakes() || self.stepped.is_some();
        drop(queue);
        if wakes {
            self.wake();
        }
    }
}
