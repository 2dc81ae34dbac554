//! sled's table of pages, which it writes down so that it need not read its whole file at the next start:
//!
//! ```text
//! snap.<16 hex digits> = table · length of the table u64 · crc32 of the table u32
//! ```
//!
//! It is derived from that file, but a damaged one stops sled. So it is checked before, and dropped where it is not
//! what was written. Anything else that is wrong with the store is left for sled to say.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

const TRAILER_BYTES: usize = 12;

/// Drops damaged tables of the store in `folder`, up to the newest one that is whole, and returns their paths. A crash while
/// one is written leaves half of it as `snap.<digits>.generating`, which sled would take for the newest.
///
/// # Errors
/// Where the folder or a table cannot be read, or not be removed.
pub(super) fn drop_damaged(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dropped = Vec::new();
    let mut tables = tables(folder)?;
    tables.sort();
    while let Some(newest) = tables.pop() {
        if is_whole(&fs::read(&newest)?) {
            break;
        }
        fs::remove_file(&newest)?;
        dropped.push(newest);
    }
    Ok(dropped)
}

/// Whether the store in `folder` has a table.
pub(super) fn is_there(folder: &Path) -> bool {
    tables(folder).is_ok_and(|tables| !tables.is_empty())
}

/// All that sled takes for tables.
fn tables(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut tables = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            tables.push(entry.path());
        }
    }
    Ok(tables)
}

fn is_whole(file: &[u8]) -> bool {
    let Some((table, trailer)) = file.split_last_chunk::<TRAILER_BYTES>() else { return false };
    let (length, sum) = trailer.split_at(8);
    !table.is_empty() && length == (table.len() as u64).to_le_bytes() && sum == crc32fast::hash(table).to_le_bytes()
}
