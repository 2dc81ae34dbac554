//! A store: sled in a folder, its trees, and how values stand in them.

use super::{
    Apart, DESCRIPTORS, Db, Error, Folder, IVec, SledOptions, Space, StorageError, StoreResult, Tree, Turn, Write,
    durable, guarded, is_apart, open_when_free, send_to_rest, turnover::Turnover,
};
use crate::storage::room::Room;
use std::{
    fs::{self, File, OpenOptions},
    os::fd::AsRawFd,
    path::Path,
};

/// A store in a folder of its own.
#[derive(Debug)]
pub(super) struct Store {
    // Dropped in this order.
    pub(super) trees: [Tree; Space::ALL.len()],
    pub(super) turnover: Turnover,
    pub(super) apart: Tree,
    pub(super) db: Db,
    pub(super) file: File,
    /// The folder, by which sled knows it: under whatever name it stands.
    pub(super) _folder: File,
}

impl Store {
    /// Opens the store in the folder `path`, or makes it.
    pub(super) fn open(path: &Path, options: &SledOptions) -> Result<(Self, Turn), StorageError> {
        let doing = |error| StorageError::io(format!("cannot open {}", path.display()), error);
        fs::create_dir_all(path).map_err(doing)?;
        let folder = File::open(path).map_err(doing)?;
        let by_descriptor = Path::new(DESCRIPTORS).join(folder.as_raw_fd().to_string());
        let known_as = if by_descriptor.exists() { &*by_descriptor } else { path };
        let opened = guarded("opening the store", || {
            let db = open_when_free(known_as, options)?;
            let [frames, blobs, index, snapshots, meta] = Space::ALL.map(|space| db.open_tree(space.name()));
            let turnover = Turnover::open(db.open_tree("turnover")?)?;
            let apart = Apart::open(db.open_tree("apart")?)?;
            send_to_rest(|| db.flush_async());
            Ok((db, [frames?, blobs?, index?, snapshots?, meta?], turnover, apart))
        });
        let (db, trees, turnover, apart) = opened?;
        let opened = OpenOptions::new().read(true).write(true).open(path.join("db"));
        let (file, grown) = opened.and_then(|file| Ok((file.try_clone()?, file))).map_err(doing)?;
        durable::opened(&file).map_err(doing)?;
        let store = Self { trees, turnover, apart: apart.tree().clone(), db, file, _folder: folder };
        Ok((store, Turn { apart, room: Room::new(grown), changed: None }))
    }

    /// What sled finds in the store's file without its table of pages, which leads it to the damaged ones: what stands before
    /// the first of them. It is made of a copy, since sled cuts off the rest.
    pub(super) fn rescued(folder: &Folder, options: &SledOptions) -> Result<(Self, Turn), StorageError> {
        let (from, to) = (folder.store(), folder.new_store());
        let copy = || {
            fs::create_dir_all(&to)?;
            ["conf", "db"].into_iter().try_for_each(|file| fs::copy(from.join(file), to.join(file)).map(drop))
        };
        copy().map_err(|error| StorageError::io("copying the damaged store", error))?;
        Self::open(&to, options)
    }

    pub(super) fn tree(&self, space: Space) -> &Tree {
        &self.trees[space as usize]
    }

    /// Makes a change.
    pub(super) fn write(&self, apart: &mut Apart, write: Write) -> StoreResult<()> {
        let Write { space, key, value } = write;
        let tree = self.tree(space);
        let stored = match value {
            Some(value) if is_apart(space) => Some(apart.put(value)?),
            value => value,
        };
        let before = match stored {
            Some(stored) => tree.insert(&key, stored)?,
            None => tree.remove(&key)?,
        };
        tree.contains_key(&key)?;
        if let Some(before) = before.filter(|_| is_apart(space)) {
            apart.forget(&before)?;
        }
        Ok(())
    }

    pub(super) fn get(&self, space: Space, key: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        self.tree(space).get(key)?.map_or(Ok(None), |stored| self.value(space, key, stored))
    }

    /// The value of `key`, under which `stored` stood; `None` if it was deleted since.
    pub(super) fn value(&self, space: Space, key: &[u8], mut stored: IVec) -> StoreResult<Option<Vec<u8>>> {
        while is_apart(space) && !stored.is_empty() {
            match self.apart.get(&stored)? {
                Some(value) if !value.is_empty() => return Ok(Some(value.to_vec())),
                _ => match self.tree(space).get(key)? {
                    None => return Ok(None),
                    // There was another value before.
                    Some(now) if now != stored => stored = now,
                    Some(_) => return Err(Error::Corruption { at: None, bt: () }),
                },
            }
        }
        Ok(Some(stored.to_vec()))
    }
}
