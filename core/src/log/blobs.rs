//! Large data under its hash, in chunks.
//!
//! ```text
//! hash 32                        -> size in bytes, u64 little-endian; written last
//! hash 32 · number u32 big-end.  -> a chunk of at most 32 KiB
//! ```

use super::ReadError;
use crate::{
    id::Hash,
    storage::{Direction, Entry, Space, Storage, StorageError, Write},
};
use std::ops::Bound;

/// The largest chunk, in bytes; also the largest event that is stored with its envelope.
pub const CHUNK_MAX_BYTES: usize = 32 << 10;

/// What stores `bytes` under `hash`.
pub fn blob_writes(hash: &Hash, bytes: &[u8]) -> Vec<Write> {
    let chunks = bytes.chunks(CHUNK_MAX_BYTES).zip(0u32..);
    let mut writes: Vec<_> =
        chunks.map(|(chunk, number)| Write::put(Space::Blobs, chunk_key(hash, number), chunk)).collect();
    writes.push(Write::put(Space::Blobs, *hash.as_bytes(), (bytes.len() as u64).to_le_bytes()));
    writes
}

/// How many bytes the blob has, and what deletes it; what a deletion that was cut off has left, where it is not there.
pub fn blob_deletes(storage: &dyn Storage, hash: &Hash) -> Result<(u64, Vec<Write>), StorageError> {
    let Some(size) = storage.get(Space::Blobs, hash.as_bytes())? else {
        let (from, to) = (Bound::Included(chunk_key(hash, 0)), Bound::Included(chunk_key(hash, u32::MAX)));
        let left = storage.scan(Space::Blobs, from, to, Direction::Forward, usize::MAX)?;
        return Ok((0, left.into_iter().map(|(key, _)| Write::delete(Space::Blobs, key)).collect()));
    };
    let size = size.try_into().map_or(0, u64::from_le_bytes);
    // Its size first: without it, it is not there.
    let mut writes = vec![Write::delete(Space::Blobs, *hash.as_bytes())];
    let chunks = (0u32..).take(size.div_ceil(CHUNK_MAX_BYTES as u64) as usize);
    writes.extend(chunks.map(|number| Write::delete(Space::Blobs, chunk_key(hash, number))));
    Ok((size, writes))
}

/// What is stored of the blob, its size last.
pub fn blob_entries(storage: &dyn Storage, hash: &Hash) -> Result<Vec<Entry>, StorageError> {
    let Some(size) = storage.get(Space::Blobs, hash.as_bytes())? else { return Ok(Vec::new()) };
    let (from, to) = (Bound::Included(chunk_key(hash, 0)), Bound::Included(chunk_key(hash, u32::MAX)));
    let mut entries = storage.scan(Space::Blobs, from, to, Direction::Forward, usize::MAX)?;
    entries.push((hash.as_bytes().to_vec(), size));
    Ok(entries)
}

/// Whether the blob is there.
pub fn has_blob(storage: &dyn Storage, hash: &Hash) -> Result<bool, StorageError> {
    Ok(storage.get(Space::Blobs, hash.as_bytes())?.is_some())
}

/// Reads a blob and checks it against its name.
pub fn read_blob(storage: &dyn Storage, hash: &Hash) -> Result<Option<Vec<u8>>, ReadError> {
    let Some(size) = storage.get(Space::Blobs, hash.as_bytes())? else { return Ok(None) };
    let damaged = |what: String| ReadError::Blob { hash: *hash, what };
    let size = size.try_into().map(u64::from_le_bytes).map_err(|_| damaged("its size cannot be read".into()))?;
    let mut bytes = Vec::new();
    let mut number = 0;
    while (bytes.len() as u64) < size {
        let from = Bound::Included(chunk_key(hash, number));
        let chunks =
            storage.scan(Space::Blobs, from, Bound::Included(chunk_key(hash, u32::MAX)), Direction::Forward, 16)?;
        if chunks.is_empty() {
            return Err(damaged(format!("{} of its {size} bytes are there", bytes.len())));
        }
        number += chunks.len() as u32;
        chunks.iter().for_each(|(_, chunk)| bytes.extend_from_slice(chunk));
    }
    if Hash::of(&bytes) == *hash { Ok(Some(bytes)) } else { Err(damaged("its bytes have another hash".into())) }
}

fn chunk_key(hash: &Hash, number: u32) -> Vec<u8> {
    let mut key = hash.as_bytes().to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}
