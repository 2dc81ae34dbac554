//! Locks for names: those whose names begin alike share one.

use moonlog_core::id::Hash;
use tokio::sync::Mutex;

/// A lock for each of the ways that a name's hash can begin.
pub(crate) struct Locks(Vec<Mutex<()>>);

impl Default for Locks {
    fn default() -> Self {
        Self((0..=u8::MAX).map(|_| Mutex::default()).collect())
    }
}

impl Locks {
    /// The lock of a name.
    pub(crate) fn of(&self, name: &[u8]) -> &Mutex<()> {
        &self.0[usize::from(Hash::of(name).as_bytes()[0])]
    }
}
