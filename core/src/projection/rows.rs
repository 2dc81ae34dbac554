//! Stored values of any length: one row each, in chunks, with a checksum over the whole.
//!
//! ```text
//! <key>                 checksum: 8 bytes of blake3 | length: u32, little-endian | first chunk
//! v/m/<key><n: u32 BE>  the n-th chunk after it
//! ```
//! What is left of a longer row's chunks is never read: the length decides. `sweep` takes it away.

use crate::storage::{Space, Storage, StorageError, Write};

/// What the keys of further chunks begin with.
pub(super) const MORE: &[u8] = b"v/m/";

const CHUNK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 12;
const FIRST_BYTES: usize = CHUNK_BYTES - HEADER_BYTES;

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is not what was written.
    #[error("the row is damaged")]
    Damaged,
}

/// The writes that store `bytes` under `key`.
pub(super) fn put(key: Vec<u8>, bytes: &[u8], out: &mut Vec<Write>) {
    let (first, rest) = bytes.split_at(bytes.len().min(FIRST_BYTES));
    for (n, chunk) in rest.chunks(CHUNK_BYTES).enumerate() {
        out.push(Write::put(Space::Snapshots, more_key(&key, n as u32), chunk));
    }
    let mut value = Vec::with_capacity(HEADER_BYTES + first.len());
    value.extend_from_slice(&checksum(bytes));
    value.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    value.extend_from_slice(first);
    out.push(Write::put(Space::Snapshots, key, value));
}

/// The writes that delete a row of `len` bytes.
pub(super) fn delete(key: Vec<u8>, len: usize, out: &mut Vec<Write>) {
    for n in 0..chunks_after_first(len) {
        out.push(Write::delete(Space::Snapshots, more_key(&key, n)));
    }
    out.push(Write::delete(Space::Snapshots, key));
}

/// The writes that delete a row that is stored, whatever its length.
pub(super) fn delete_stored(storage: &dyn Storage, key: Vec<u8>, out: &mut Vec<Write>) -> Result<(), StorageError> {
    if let Some(first) = storage.get(Space::Snapshots, &key)? {
        delete(key, stored_len(&first), out);
    }
    Ok(())
}

/// How many chunks follow the first one of a row of `len` bytes.
pub(super) fn chunks_after_first(len: usize) -> u32 {
    len.saturating_sub(FIRST_BYTES).div_ceil(CHUNK_BYTES) as u32
}

/// The row under `key`.
pub(super) fn get(storage: &dyn Storage, key: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
    match storage.get(Space::Snapshots, key)? {
        Some(first) => whole(storage, key, first).map(Some),
        None => Ok(None),
    }
}

/// What a row's first entry holds of it: all of it, mostly. Unchecked.
pub(super) fn beginning(first: &[u8]) -> &[u8] {
    first.get(HEADER_BYTES..).unwrap_or_default()
}

/// The row that begins with the entry `first`.
pub(super) fn whole(storage: &dyn Storage, key: &[u8], first: Vec<u8>) -> Result<Vec<u8>, RowError> {
    let Some((header, beginning)) = first.split_at_checked(HEADER_BYTES) else { return Err(RowError::Damaged) };
    let (sum, len) = header.split_at(8);
    let len = u32::from_le_bytes(len.try_into().map_err(|_| RowError::Damaged)?) as usize;
    let mut bytes = beginning.to_vec();
    for n in 0..chunks_after_first(len) {
        match storage.get(Space::Snapshots, &more_key(key, n))? {
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Err(RowError::Damaged),
        }
    }
    if bytes.len() == len && checksum(&bytes) == *sum { Ok(bytes) } else { Err(RowError::Damaged) }
}

fn more_key(key: &[u8], n: u32) -> Vec<u8> {
    [MORE, key, &n.to_be_bytes()].concat()
}

/// Whether the row of the chunk that stands under `more_key` is there, and as long as that.
pub(super) fn has_chunk(storage: &dyn Storage, more_key: &[u8]) -> Result<bool, StorageError> {
    let Some((key, n)) = more_key.strip_prefix(MORE).and_then(<[u8]>::split_last_chunk) else { return Ok(false) };
    let first = storage.get(Space::Snapshots, key)?;
    Ok(first.is_some_and(|first| u32::from_be_bytes(*n) < chunks_after_first(stored_len(&first))))
}

/// How long the row that begins with the entry `first` is, in bytes.
fn stored_len(first: &[u8]) -> usize {
    first.get(8..HEADER_BYTES).and_then(|len| len.try_into().ok()).map_or(0, u32::from_le_bytes) as usize
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    sum
}
