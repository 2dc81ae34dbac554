//! Which blobs may be named by an event that is still to come, so that a sweep for blobs that nothing names leaves them
//! alone. Part of what the sequencer's lock guards.

use crate::{id::Hash, time::Timestamp};
use std::collections::{HashMap, HashSet};

/// Who has stored a blob and has appended no event that names it for so long will append none: it was refused.
const HELD_MAX_MS: u64 = 10 * 60 * 1_000;

/// See the module.
#[derive(Debug, Default)]
pub struct BlobHolds {
    /// Stored and not named yet: by how many, and since when.
    held: HashMap<Hash, (u32, Timestamp)>,
    /// What was stored or named while a sweep looks.
    seen: Option<HashSet<Hash>>,
}

impl BlobHolds {
    /// An event that names this blob will be appended.
    pub fn hold(&mut self, hash: Hash, now: Timestamp) {
        let (count, since) = self.held.entry(hash).or_insert((0, now));
        (*count, *since) = (*count + 1, now);
        self.saw(hash);
    }

    /// An event that names this blob has got its place.
    pub fn named(&mut self, hash: Hash) {
        if let Some((count, _)) = self.held.get_mut(&hash) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&hash);
            }
        }
        self.saw(hash);
    }

    /// A sweep begins: what is stored or named from here on is noted.
    pub fn begin_sweep(&mut self) {
        self.seen = Some(HashSet::new());
    }

    /// A sweep ends. Gives what may be deleted of the blobs that it found nothing to name.
    pub fn end_sweep(&mut self, now: Timestamp, mut unnamed: Vec<Hash>) -> Vec<Hash> {
        let seen = self.seen.take().unwrap_or_default();
        self.held.retain(|_, (_, since)| now.ms_since(*since) <= HELD_MAX_MS);
        unnamed.retain(|hash| !seen.contains(hash) && !self.held.contains_key(hash));
        unnamed
    }

    fn saw(&mut self, hash: Hash) {
        if let Some(seen) = &mut self.seen {
            seen.insert(hash);
        }
    }
}
