//! What files hold, as hashes.

use moonlog_core::id::Hash;
use std::{fs, io, os::unix::ffi::OsStrExt, path::Path};

/// blake3 of what a file holds, or of what a symbolic link says; `None` where there is neither.
pub(super) fn hash_of(path: &Path) -> Option<Hash> {
    let kind = path.symlink_metadata().ok()?.file_type();
    if kind.is_symlink() {
        return fs::read_link(path).ok().map(|target| Hash::of(target.as_os_str().as_bytes()));
    }
    if !kind.is_file() {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut fs::File::open(path).ok()?, &mut hasher).ok()?;
    Some(Hash::from_bytes(*hasher.finalize().as_bytes()))
}
