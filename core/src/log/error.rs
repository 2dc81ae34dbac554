//! Why the log cannot be opened, read or written.

use crate::{
    codec::CodecError,
    id::Hash,
    storage::{Space, StorageError},
};
use std::{fmt, sync::Arc};

/// A write or a sync failed: what the storage holds is uncertain, so nothing is appended until restart. What was
/// durable is still served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log takes no more events since a write failed: {reason}{}", if *.disk_full { "; free disk space and restart" } else { "; restart" })]
pub struct Poisoned {
    /// What failed.
    pub reason: Arc<str>,
    /// Whether the disk was full.
    pub disk_full: bool,
}

/// The log was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is closed")]
pub struct Stopped;

/// Stored bytes that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damage {
    /// The position of the first event that is affected.
    pub position: u64,
    /// Where the bytes are that are damaged, as far as that is known: the key space and the key, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl Damage {
    /// Damage to the event at a position and maybe others behind it.
    pub fn new(position: u64, what: impl Into<String>) -> Self {
        Self { position, place: None, what: what.into() }
    }

    /// The same, to the value that stands under a key.
    #[must_use]
    pub fn under(mut self, space: Space, key: &[u8]) -> Self {
        use fmt::Write as _;
        let mut place = format!("{}/", space.name());
        key.iter().for_each(|byte| {
            let _ = write!(place, "{byte:02x}");
        });
        self.place = Some(place);
        self
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at position {}", self.position)?;
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Stored bytes are damaged.
    #[error("the log is damaged {0}; run `moonlog verify`, and restore the data folder from a copy")]
    Damaged(Damage),
    /// A blob's bytes are not those of its name.
    #[error("blob {hash} is damaged: {what}")]
    Blob {
        /// The blob.
        hash: Hash,
        /// What is wrong.
        what: String,
    },
    /// An event is of a type that this version does not know.
    #[error("the event at position {position} cannot be read: {source}")]
    Event {
        /// Where it stands.
        position: u64,
        /// Why.
        source: CodecError,
    },
    /// The log takes nothing more, and this would have written to it.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

impl ReadError {
    /// Whether it is that the disk is full.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_disk_full(),
            Self::Poisoned(poisoned) => poisoned.disk_full,
            _ => false,
        }
    }
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Stored bytes are damaged, not only at the end.
    #[error("the log is damaged {0}; run `moonlog verify` for all of it, and restore the data folder from a copy")]
    Damaged(Damage),
    /// The log could not be read.
    #[error(transparent)]
    Read(ReadError),
    /// The writer's thread could not be started.
    #[error("cannot start the log's writer: {0}")]
    Thread(std::io::Error),
}
