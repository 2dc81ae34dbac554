//! The data folder: its lock, and the version of what it holds.
//!
//! ```text
//! <folder>/lock      locked while a server has the folder
//! <folder>/format    "moonlog data, format 2\n"
//! <folder>/head      the position that was durable last, 20 digits; kept apart from the store, to notice its loss
//! <folder>/ballast   room that is given up where the disk is full
//! <folder>/log/      the store's own files
//! <folder>/log.new/  a store that is to take its place, and
//! <folder>/log.old/  one whose place was taken: see `sled/rewrite.rs`
//! ```

use super::StorageError;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The format of the data folder that this version writes, and the only one that it reads.
pub const FORMAT_VERSION: u32 = 2;

const FORMAT_PREFIX: &str = "moonlog data, format ";

/// A data folder that nobody else has while this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    head: File,
    _lock: File,
}

impl Folder {
    /// Takes the folder `path`, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let doing = |what: &str| format!("{what} {}", path.display());
        fs::create_dir_all(path).map_err(|error| StorageError::io(doing("cannot make the data folder"), error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(|error| StorageError::io(doing("cannot write to the data folder"), error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StorageError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => {
                return Err(StorageError::io(doing("cannot lock the data folder"), error));
            }
        }
        let head = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join("head"))
            .map_err(|error| StorageError::io(doing("cannot write to the data folder"), error))?;
        let folder = Self { path: path.to_owned(), head, _lock: lock };
        folder.check_format()?;
        folder.settle_store()?;
        Ok(folder)
    }

    /// Where the store's files are.
    pub(super) fn store(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where a store is made that is to take its place.
    pub(super) fn new_store(&self) -> PathBuf {
        self.path.join("log.new")
    }

    /// Where the one is whose place was taken.
    pub(super) fn old_store(&self) -> PathBuf {
        self.path.join("log.old")
    }

    /// Puts the new store, which is complete and synced, in the place of the one there is.
    pub(super) fn take_new_store(&self) -> Result<(), StorageError> {
        let doing = |error| StorageError::io("putting the rewritten store in its place", error);
        fs::rename(self.store(), self.old_store()).map_err(doing)?;
        if let Err(error) = fs::rename(self.new_store(), self.store()) {
            let _ = fs::rename(self.old_store(), self.store());
            return Err(doing(error));
        }
        Self::sync_entries(&self.path)
    }

    /// Settles what a rewriting that was cut off has left.
    fn settle_store(&self) -> Result<(), StorageError> {
        let doing = |error| StorageError::io("settling the store", error);
        let next = [self.new_store(), self.old_store()].into_iter().find(|store| store.exists());
        if let Some(next) = next.filter(|_| !self.store().exists()) {
            fs::rename(next, self.store()).map_err(doing)?;
            Self::sync_entries(&self.path)?;
        }
        for left in [self.new_store(), self.old_store()] {
            if left.exists() {
                fs::remove_dir_all(left).map_err(doing)?;
            }
        }
        Ok(())
    }

    /// Notes how far the log was durable. It is a hint: where it cannot be written, less will be noticed.
    pub(super) fn note_head(&self, position: u64) {
        let _ = self.head.write_all_at(format!("{position:020}\n").as_bytes(), 0);
    }

    /// What was noted last.
    pub(super) fn noted_head(&self) -> Option<u64> {
        let mut digits = [0; 20];
        self.head.read_exact_at(&mut digits, 0).ok()?;
        std::str::from_utf8(&digits).ok()?.parse().ok()
    }

    /// Makes the folder's own entries durable.
    pub(super) fn sync_entries(path: &Path) -> Result<(), StorageError> {
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| StorageError::io(format!("cannot sync {}", path.display()), error))
    }

    fn check_format(&self) -> Result<(), StorageError> {
        let path = self.path.join("format");
        match fs::read_to_string(&path) {
            Ok(text) => match text.strip_prefix(FORMAT_PREFIX).and_then(|rest| rest.trim_end().parse().ok()) {
                Some(found) if found > FORMAT_VERSION => {
                    Err(StorageError::NewerFormat { found, supported: FORMAT_VERSION })
                }
                Some(found) if found < FORMAT_VERSION => {
                    Err(StorageError::OlderFormat { found, supported: FORMAT_VERSION })
                }
                Some(_) => Ok(()),
                None => Err(self.not_ours(format!("its file `format` holds {:?}", first_chars(&text)))),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.store().exists() {
                    return Err(self.not_ours("its file `format` is missing".to_owned()));
                }
                self.write_format(&path)
                    .map_err(|error| StorageError::io(format!("cannot write {}", path.display()), error))
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.not_ours("its file `format` is no text".to_owned()))
            }
            Err(error) => Err(StorageError::io(format!("cannot read {}", path.display()), error)),
        }
    }

    /// Writes the file in whole or not at all.
    fn write_format(&self, path: &Path) -> io::Result<()> {
        let temporary = self.path.join("format.new");
        let mut file = File::create(&temporary)?;
        writeln!(file, "{FORMAT_PREFIX}{FORMAT_VERSION}")?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(&self.path)?.sync_all()
    }

    fn not_ours(&self, reason: String) -> StorageError {
        StorageError::NotOurs { path: self.path.clone(), reason }
    }
}

fn first_chars(text: &str) -> String {
    text.chars().take(40).collect()
}
