//! The seam between the log and what keeps its bytes.

use std::{io, ops::Bound, path::PathBuf};

/// A named key space. Keys are ordered bytewise within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The record batches: the one thing that cannot be derived.
    Frames,
    /// Large data by its hash.
    Blobs,
    /// Which positions a stream's events have. Derived.
    Index,
    /// Projections' states. Derived.
    Snapshots,
    /// Facts about the log as a whole.
    Meta,
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 5] = [Self::Frames, Self::Blobs, Self::Index, Self::Snapshots, Self::Meta];

    /// The space's name, as stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Blobs => "blobs",
            Self::Index => "index",
            Self::Snapshots => "snapshots",
            Self::Meta => "meta",
        }
    }
}

/// One change to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub space: Space,
    /// Under which key.
    pub key: Vec<u8>,
    /// The new value; `None` deletes.
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Sets `key` to `value`.
    pub fn put(space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { space, key: key.into(), value: Some(value.into()) }
    }

    /// Deletes `key`.
    pub fn delete(space: Space, key: impl Into<Vec<u8>>) -> Self {
        Self { space, key: key.into(), value: None }
    }
}

/// The order of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Ascending keys.
    Forward,
    /// Descending keys.
    Backward,
}

/// A key with its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// How many entries are deleted at once where a space is cleared.
const CLEARED_AT_ONCE: usize = 1_000;

/// Something that keeps bytes.
///
/// After a crash, what survives is everything up to the last `sync` that returned, and a prefix of the writes since,
/// in their order, each in whole or not at all. Values are small (64 KiB at most, with their key).
pub trait Storage: Send + Sync + 'static {
    /// Makes changes, in their order. They are visible at once, but not durable.
    ///
    /// # Errors
    /// Where it cannot; then some of the changes may have been made.
    fn write(&self, batch: Vec<Write>) -> Result<(), StorageError>;

    /// Returns when everything written before is durable: it outlives a power cut.
    ///
    /// # Errors
    /// Where that is not certain.
    fn sync(&self) -> Result<(), StorageError>;

    /// The value under `key`.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// At most `limit` entries between `from` and `to`, in the order of `direction`. A range that is empty or the
    /// wrong way round has none.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn scan(
        &self,
        space: Space,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError>;

    /// Does what need not be done while somebody waits, such as to keep caches small. It is called after each sync, when
    /// all have been told.
    ///
    /// # Errors
    /// Where something cannot be read.
    fn tidy(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Gives room back that deleted and replaced values have left: after it, what it takes up goes with what it holds. It
    /// may take long; writes and reads go on meanwhile. What is visible stays the same, whatever happens.
    ///
    /// # Errors
    /// Where it cannot; then nothing is lost.
    fn rewrite(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Deletes everything in a space whose content is derived, whatever state it is in.
    ///
    /// # Errors
    /// Where it cannot.
    fn clear(&self, space: Space) -> Result<(), StorageError> {
        loop {
            let entries = self.scan(space, Bound::Unbounded, Bound::Unbounded, Direction::Forward, CLEARED_AT_ONCE)?;
            if entries.is_empty() {
                return self.sync();
            }
            self.write(entries.into_iter().map(|(key, _)| Write::delete(space, key)).collect())?;
        }
    }

    /// Whether it was damaged when it was opened, so that this is what could be rescued of it, kept beside it: it is gone
    /// with this unless [`Self::accept_rescue`] is called.
    fn is_rescued(&self) -> bool {
        false
    }

    /// Puts what was rescued in the place of what was damaged.
    ///
    /// # Errors
    /// Where it cannot.
    fn accept_rescue(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// What it takes up.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn bytes_on_disk(&self) -> Result<u64, StorageError>;

    /// Notes how far the log was durable, apart from the data: so it is noticed when the data's end goes missing. It is
    /// called after each sync, and need not be durable itself.
    fn note_head(&self, _position: u64) {}

    /// What was noted last, if it is known.
    fn noted_head(&self) -> Option<u64> {
        None
    }
}

/// Why a storage could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another server has the folder.
    #[error("the data folder {} is in use by another moonlog: stop it, or choose another folder", .0.display())]
    Locked(PathBuf),
    /// A newer moonlog wrote the folder.
    #[error(
        "the data folder has format {found}, this moonlog {version} reads up to format {supported}: use a newer moonlog",
        version = env!("CARGO_PKG_VERSION")
    )]
    NewerFormat {
        /// The folder's format.
        found: u32,
        /// The newest that this version reads.
        supported: u32,
    },
    /// An older moonlog wrote the folder.
    #[error(
        "the data folder has format {found}, this moonlog {version} reads format {supported}: export the events with the \
         moonlog that wrote them, and import them into a new folder",
        version = env!("CARGO_PKG_VERSION")
    )]
    OlderFormat {
        /// The folder's format.
        found: u32,
        /// The oldest that this version reads.
        supported: u32,
    },
    /// The folder holds something else.
    #[error("{} is no data folder of moonlog: {reason}", .path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// Stored bytes are not what was written.
    #[error("stored bytes are damaged: {0}; restore the data folder from a copy")]
    Damaged(String),
}

impl StorageError {
    /// Whether the disk (or a quota) is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ))
    }

    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }
}

/// Whether no key lies between the two.
pub(super) fn is_empty(from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
        _ => false,
    }
}
