//! The frames that were read last for single events, checked already: the events of jobs that ran side by side stand in the
//! same ones, and are often asked for one job after the other.

use super::{
    ReadError,
    frame::Frame,
    reader::frame_at,
    shared::{Shared, lock},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// See the module.
pub struct FrameCache {
    frames: Mutex<Frames>,
    max_bytes: usize,
}

#[derive(Default)]
struct Frames {
    /// The one that was asked for last is last.
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// Grows when what is stored changes: what was read before is not kept.
    generation: u64,
}

impl FrameCache {
    /// An empty one.
    pub fn new(max_bytes: usize) -> Self {
        Self { frames: Mutex::default(), max_bytes }
    }

    /// Forgets all frames, those that are being read included: something in them is, or was, rewritten.
    pub fn forget(&self) {
        let mut all = lock(&self.frames);
        *all = Frames { generation: all.generation + 1, ..Frames::default() };
    }

    fn get(&self, position: u64) -> Result<Arc<Frame>, u64> {
        let mut all = lock(&self.frames);
        let at = all.frames.iter().position(|frame| frame.record(position).is_some());
        match at.and_then(|at| all.frames.remove(at)) {
            Some(frame) => {
                all.frames.push_back(frame.clone());
                Ok(frame)
            }
            None => Err(all.generation),
        }
    }

    fn keep(&self, frame: &Arc<Frame>, generation: u64) {
        let mut all = lock(&self.frames);
        let is_there = |other: &Arc<Frame>| other.first_position == frame.first_position;
        if generation != all.generation || all.frames.iter().any(is_there) {
            return;
        }
        all.bytes += frame.len_bytes();
        all.frames.push_back(frame.clone());
        while all.bytes > self.max_bytes {
            let Some(oldest) = all.frames.pop_front() else { break };
            all.bytes -= oldest.len_bytes();
        }
    }
}

impl Shared {
    /// The frame that holds `position`.
    pub fn frame_at(&self, position: u64) -> Result<Arc<Frame>, ReadError> {
        match self.frames.get(position) {
            Ok(frame) => Ok(frame),
            Err(generation) => {
                let frame = Arc::new(frame_at(&*self.storage, position)?);
                self.frames.keep(&frame, generation);
                Ok(frame)
            }
        }
    }
}
