//! Frames and blobs, each under a number.
//!
//! The keys are in the tree before their values are, with nothing under them, and so far ahead that their leaf was split
//! already: it has nine keys and gets nine changes, so it is never rewritten.

use super::{StoreResult, Tree};

/// A leaf with as many keys is split by whoever visits it next.
const LEAF_KEYS_MAX: u64 = 17;
/// How many keys are made ahead at once.
const KEYS_AT_ONCE: u64 = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Apart {
    tree: Tree,
    /// The next value's number.
    next: u64,
    /// The first number that is not in the tree.
    end: u64,
}

impl Apart {
    pub(super) fn open(tree: Tree) -> StoreResult<Self> {
        let end = tree.last()?.and_then(|(key, _)| number(&key)).map_or(0, |last| last + 1);
        let mut next = end;
        while next > 0 && tree.get((next - 1).to_be_bytes())?.is_some_and(|value| value.is_empty()) {
            next -= 1;
        }
        Ok(Self { tree, next, end })
    }

    /// The values by their numbers; nothing is under a number that has no value.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Stores `value`, and returns what stands under its key: its number.
    pub(super) fn put(&mut self, value: Vec<u8>) -> StoreResult<Vec<u8>> {
        if value.is_empty() {
            return Ok(value);
        }
        if self.end <= self.next + LEAF_KEYS_MAX {
            for _ in 0..KEYS_AT_ONCE {
                self.tree.insert(self.end.to_be_bytes(), &[])?;
                self.end += 1;
            }
        }
        let key = self.next.to_be_bytes();
        self.tree.insert(key, value)?;
        self.next += 1;
        Ok(key.to_vec())
    }

    /// Forgets the value that `stored` is the number of.
    pub(super) fn forget(&self, stored: &[u8]) -> StoreResult<()> {
        if !stored.is_empty() {
            self.tree.insert(stored, &[])?;
        }
        Ok(())
    }
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}
