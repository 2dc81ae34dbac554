//! Room on the disk that nobody else can take: a file of its own, given up where the store cannot be opened without it.
//!
//! The store writes a little before it can be read: the rest of its last segment, and its table of pages. On a disk that
//! others have filled to the last byte nothing could be read any more.

use nix::fcntl::{FallocateFlags, fallocate};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// The file.
#[derive(Debug)]
pub(super) struct Ballast(PathBuf);

impl Ballast {
    /// That of a data folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self(folder.join("ballast"))
    }

    /// Gives the room up. Whether there was any.
    pub(super) fn drop_it(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }

    /// Takes `bytes` of the `free` ones, where as much again is left. Without it less can be done on a full disk; so where it
    /// cannot be had, nobody needs to know.
    pub(super) fn take(&self, bytes: u64, free: u64) {
        let Ok(length) = i64::try_from(bytes) else { return };
        if bytes == 0 || free < bytes.saturating_mul(2) || fs::metadata(&self.0).is_ok_and(|held| held.len() == bytes) {
            return;
        }
        let taken = File::create(&self.0)
            .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, length).map_err(std::io::Error::from));
        if taken.is_err() {
            self.drop_it();
        }
    }
}
