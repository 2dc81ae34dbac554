//! Files as they are stored: what is there, and atomic writes.
//!
//! A write goes to a temporary file in the same folder, which is synced and renamed over the old one, whose folder is
//! synced then: a reader, also one behind a power cut, sees the old content or the new. An edit of several files stages
//! them all before the first is renamed. What a killed server left of that in a folder goes with the next write to it.

use super::place::Place;
use crate::temporary;
use nix::{
    fcntl::renameat,
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    ffi::OsString,
    fs::{File, Metadata, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, fchown},
};

/// What was read of a file.
#[derive(Debug)]
pub(super) struct Stored {
    pub bytes: Vec<u8>,
    pub metadata: Metadata,
}

/// Why a file could not be read or written.
#[derive(Debug)]
pub(super) enum Unusable {
    Folder,
    /// A device, a pipe or a socket.
    Special,
    TooLarge {
        bytes: u64,
    },
    Io(io::Error),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens a regular file.
pub(super) fn open_file(place: &Place) -> Result<(File, Metadata), Unusable> {
    let file = place.open()?;
    let metadata = file.metadata()?;
    match metadata.file_type() {
        kind if kind.is_dir() => Err(Unusable::Folder),
        kind if kind.is_file() => Ok((file, metadata)),
        _ => Err(Unusable::Special),
    }
}

/// Reads a file of at most `max_bytes`; `None` where there is none.
pub(super) fn read(place: &Place, max_bytes: usize) -> Result<Option<Stored>, Unusable> {
    let (file, metadata) = match open_file(place) {
        Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0).min(max_bytes));
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(Unusable::TooLarge { bytes: metadata.len() });
    }
    Ok(Some(Stored { bytes, metadata }))
}

/// Whether a file is still the one that was read.
pub(super) fn is_unchanged(place: &Place, read: &Metadata) -> bool {
    let version = |file: &Metadata| (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec());
    open_file(place).is_ok_and(|(_, now)| version(&now) == version(read))
}

/// A content that is written and synced, and is not in its place yet. Dropped, it is gone.
pub(super) struct Staged {
    /// Locked as long as this lives.
    _file: File,
    folder: File,
    temporary: OsString,
    name: OsString,
    committed: bool,
}

/// Writes and syncs `content` beside `place`, with the mode and owner of `like`. Makes the folders that are not there.
pub(super) fn stage(place: &Place, content: &[u8], like: Option<&Metadata>) -> io::Result<Staged> {
    let name = place.name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?.to_owned();
    let folder = File::from(place.folder(true)?);
    temporary::sweep(&folder);
    let temporary = temporary::name();
    let mut file = temporary::create(&folder, &temporary)?;
    let staged = Staged { _file: file.try_clone()?, folder, temporary, name, committed: false };
    if let Some(like) = like {
        // Another owner's file may be written, where the folder allows it, but not given back.
        let _ = fchown(&file, Some(like.uid()), Some(like.gid()));
        file.set_permissions(Permissions::from_mode(like.mode() & 0o7777))?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    Ok(staged)
}

impl Staged {
    /// Puts it in its place.
    pub fn commit(mut self) -> io::Result<()> {
        renameat(&self.folder, self.temporary.as_os_str(), &self.folder, self.name.as_os_str())?;
        self.committed = true;
        self.folder.sync_all()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.committed {
            let _ = unlinkat(&self.folder, self.temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Removes a file or a link.
pub(super) fn remove(place: &Place) -> io::Result<()> {
    let name = place.name().ok_or_else(|| io::Error::from(io::ErrorKind::IsADirectory))?;
    let folder = place.folder(false)?;
    unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir)?;
    File::from(folder).sync_all()
}
