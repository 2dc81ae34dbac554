//! Makes the cache evict: for every bit that is read or written, a page of an otherwise useless tree is accessed, in turns;
//! its pages are spread over all of the cache's shards.

use super::{StoreResult, Tree};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many keys the tree has: with eight or nine in a page, its pages are more than the shards.
const KEYS: u64 = 2816;
/// Has no divisor in common with the number of keys, and takes each next one from another page.
const STEP: u64 = 9;
/// After how many bytes the next is accessed.
const TOUCH_BYTES: u64 = 2 << 10;
/// How much may be owed until a flush, in bytes.
const OWED_MAX_BYTES: u64 = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Turnover {
    tree: Tree,
    /// How many bytes were moved in all.
    moved_bytes: AtomicU64,
    /// How many of them were made up for.
    turned_bytes: AtomicU64,
}

impl Turnover {
    /// Fills the tree, where it is new.
    pub(super) fn open(tree: Tree) -> StoreResult<Self> {
        if tree.get((KEYS - 1).to_be_bytes())?.is_none() {
            for key in 0..KEYS {
                tree.insert(key.to_be_bytes(), &[])?;
            }
        }
        Ok(Self { tree, moved_bytes: AtomicU64::new(0), turned_bytes: AtomicU64::new(0) })
    }

    /// So many bytes were moved through the cache. Making up for them may wait, if it is not too much.
    pub(super) fn moved(&self, bytes: u64, may_wait: bool) -> StoreResult<()> {
        let moved = self.moved_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let owed = moved.saturating_sub(self.turned_bytes.load(Ordering::Relaxed));
        if may_wait && owed < OWED_MAX_BYTES {
            return Ok(());
        }
        let turned = self.turned_bytes.fetch_max(moved, Ordering::Relaxed);
        for touch in turned / TOUCH_BYTES..moved / TOUCH_BYTES {
            self.tree.get((touch * STEP % KEYS).to_be_bytes())?;
        }
        Ok(())
    }
}
