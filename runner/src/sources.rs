//! The sources of scripts that were submitted or ran lately, by hash, and whether they have been quick.

use moonlog_core::id::Hash;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

/// How much of sources is kept in memory, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// After a slice that took long, so many run where they may.
const SLICES_APART: u32 = 16;

/// A script whose source is in memory, and so in the log.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) text: Arc<str>,
    pub(crate) pace: Arc<Pace>,
}

/// Where the slices of a script are to be run: on a thread that others wait for too, while it is quick. The first of them
/// is not, as nothing is known of it.
pub(crate) struct Pace {
    /// How many slices are still to be run on a thread of their own.
    apart: AtomicU32,
    /// Whether the last slice took long. That may be chance, as its thread may have had to wait for a processor.
    took_long: AtomicBool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { apart: AtomicU32::new(1), took_long: AtomicBool::new(false) }
    }
}

impl Pace {
    /// Whether the next slice may be run where others wait for the thread.
    pub(crate) fn is_quick(&self) -> bool {
        self.apart.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }

    /// A slice took `long`, or did not. Two in a row that did are slow.
    pub(crate) fn took(&self, long: bool) {
        if self.took_long.swap(long, Ordering::Relaxed) && long {
            self.was_slow();
        }
    }

    /// A slice computed for long.
    pub(crate) fn was_slow(&self) {
        self.apart.store(SLICES_APART, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Sources(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    all: HashMap<Hash, Source>,
    bytes: usize,
}

impl Sources {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, hash: &Hash) -> Option<Source> {
        self.kept().all.get(hash).cloned()
    }

    /// That of a script; one that nothing is known of, where its source is not here.
    pub(crate) fn pace(&self, hash: &Hash) -> Arc<Pace> {
        self.kept().all.get(hash).map(|source| source.pace.clone()).unwrap_or_default()
    }

    pub(crate) fn has(&self, hash: &Hash) -> bool {
        self.kept().all.contains_key(hash)
    }

    /// Forgets a source that may be about to leave the log.
    pub(crate) fn forget(&self, hash: &Hash) {
        let mut kept = self.kept();
        if let Some(source) = kept.all.remove(hash) {
            kept.bytes -= source.text.len();
        }
    }

    /// Keeps a source that is in the log.
    pub(crate) fn keep(&self, hash: Hash, text: Arc<str>) -> Source {
        let mut kept = self.kept();
        if let Some(source) = kept.all.get(&hash) {
            return source.clone();
        }
        if kept.bytes + text.len() > MAX_BYTES {
            *kept = Kept::default();
        }
        kept.bytes += text.len();
        let source = Source { text, pace: Arc::default() };
        kept.all.insert(hash, source.clone());
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_slow_runs_apart_for_a_while() {
        let pace = Pace::default();
        assert_eq!([pace.is_quick(), pace.is_quick()], [false, true]);
        pace.was_slow();
        assert_eq!((0..SLICES_APART).filter(|_| pace.is_quick()).count(), 0);
        for long in [true, false, true] {
            pace.took(long);
            assert!(pace.is_quick(), "one that took long may have waited");
        }
        pace.took(true);
        assert!(!pace.is_quick());
    }

    #[test]
    fn sources_are_kept_up_to_a_size() {
        let sources = Sources::default();
        let large: Arc<str> = "x".repeat(MAX_BYTES / 2).into();
        for name in ["a", "b", "c"] {
            sources.keep(Hash::of(name.as_bytes()), large.clone());
        }
        let has = ["a", "b", "c"].map(|name| sources.has(&Hash::of(name.as_bytes())));
        assert_eq!(has, [false, false, true]);
    }
}
