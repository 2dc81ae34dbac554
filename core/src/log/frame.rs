//! Record batches: what is stored in `Space::Frames`.
//!
//! ```text
//! key     = position of the first record, u64 big-endian
//! frame   = 1 u8 · length u32 · count u32 · previous 32 · hash 32 · (record length u32 · record)*count
//! length  = bytes behind `hash`
//! hash    = blake3(previous · first position u64 · count u32 · hash of each record)
//! hash of a record = blake3(record), or the hash that a removed event left
//! ```
//!
//! Numbers are little-endian but for the key. `previous` is the `hash` of the frame before, zeros in the first: the
//! chain. A frame that is shorter than its header says was torn while it was written; only the last one can be. A frame
//! of full length whose hash does not match was damaged later. An append's events are in one frame.

use super::record::{Record, read_record};
use crate::id::Hash;
use std::ops::Range;

/// The most that a frame takes, with its key, in bytes.
pub const FRAME_MAX_BYTES: usize = 56 << 10;
/// What a frame takes beside its records, with its key.
pub const FRAME_OVERHEAD_BYTES: usize = 8 + HEADER_BYTES;
/// What a record takes in a frame beside itself.
pub const RECORD_LENGTH_BYTES: usize = 4;

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 4 + 4 + 32 + 32;

/// The key of the frame that begins at `position`.
pub fn frame_key(position: u64) -> Vec<u8> {
    position.to_be_bytes().to_vec()
}

/// The position in a frame's key.
pub fn position_of_key(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// A frame that is being filled.
#[derive(Debug)]
pub struct FrameBuilder {
    first_position: u64,
    count: u32,
    bytes: Vec<u8>,
    /// The hashes of the records up to this place.
    hashes: Vec<u8>,
    hashed: usize,
}

impl FrameBuilder {
    /// An empty frame whose first event will be at `first_position`, and which will take about `bytes`.
    pub fn new(first_position: u64, bytes: usize) -> Self {
        let mut frame = Vec::with_capacity(HEADER_BYTES + bytes);
        frame.resize(HEADER_BYTES, 0);
        Self { first_position, count: 0, bytes: frame, hashes: Vec::new(), hashed: HEADER_BYTES }
    }

    /// Whether `bytes` more still fit.
    pub fn fits(&self, bytes: usize) -> bool {
        8 + self.bytes.len() + bytes <= FRAME_MAX_BYTES
    }

    /// What it takes so far.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds the record that `write` writes.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_LENGTH_BYTES]);
        write(&mut self.bytes);
        let record = start + RECORD_LENGTH_BYTES;
        let length = (self.bytes.len() - record) as u32;
        self.bytes[start..record].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    /// Hashes the records that are not hashed yet. Who has the time may do it; else it is done in the end.
    pub fn hash(&mut self) {
        while let Some(&length) = self.bytes[self.hashed..].first_chunk() {
            let record = self.hashed + RECORD_LENGTH_BYTES;
            self.hashed = record + u32::from_le_bytes(length) as usize;
            self.hashes.extend_from_slice(blake3::hash(&self.bytes[record..self.hashed]).as_bytes());
        }
    }

    /// Chains the frame to the one whose hash is `previous`: key, value and hash.
    pub fn finish(mut self, previous: Hash) -> (Vec<u8>, Vec<u8>, Hash) {
        self.hash();
        let hash = chain(previous, self.first_position, self.count, &self.hashes);
        let length = (self.bytes.len() - HEADER_BYTES) as u32;
        self.bytes[0] = FORMAT;
        self.bytes[1..5].copy_from_slice(&length.to_le_bytes());
        self.bytes[5..9].copy_from_slice(&self.count.to_le_bytes());
        self.bytes[9..41].copy_from_slice(previous.as_bytes());
        self.bytes[41..73].copy_from_slice(hash.as_bytes());
        (frame_key(self.first_position), self.bytes, hash)
    }
}

fn chain(previous: Hash, first_position: u64, count: u32, record_hashes: &[u8]) -> Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous.as_bytes());
    hasher.update(&first_position.to_le_bytes());
    hasher.update(&count.to_le_bytes());
    hasher.update(record_hashes);
    Hash::from_bytes(*hasher.finalize().as_bytes())
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadFrame {
    /// It is shorter than it should be.
    Torn(String),
    /// It is not what was written.
    Damaged(String),
}

impl BadFrame {
    /// What is wrong.
    pub fn what(self) -> String {
        match self {
            Self::Torn(what) | Self::Damaged(what) => what,
        }
    }
}

/// A stored frame whose hash matches.
#[derive(Debug)]
pub struct Frame {
    /// The position of its first record.
    pub first_position: u64,
    /// The hash of the frame before it.
    pub previous: Hash,
    /// Its own.
    pub hash: Hash,
    bytes: Vec<u8>,
    records: Vec<Range<usize>>,
}

impl Frame {
    /// Reads a stored frame and checks its hash.
    ///
    /// # Errors
    /// Where it is torn or damaged.
    pub fn read(key: &[u8], bytes: Vec<u8>) -> Result<Self, BadFrame> {
        let damaged = |what: &str| BadFrame::Damaged(what.to_owned());
        let first_position =
            position_of_key(key).filter(|position| *position > 0).ok_or_else(|| damaged("its key is no position"))?;
        if bytes.len() < HEADER_BYTES {
            return Err(BadFrame::Torn(format!("{} bytes are too few for a frame", bytes.len())));
        }
        if bytes[0] != FORMAT {
            return Err(BadFrame::Damaged(format!("its format is {}, expected {FORMAT}", bytes[0])));
        }
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let hash_at = |at: usize| {
            let mut hash = [0; 32];
            hash.copy_from_slice(&bytes[at..at + 32]);
            Hash::from_bytes(hash)
        };
        let (length, count, previous, hash) = (number(1) as usize, number(5), hash_at(9), hash_at(41));
        let stored = bytes.len() - HEADER_BYTES;
        if stored < length {
            return Err(BadFrame::Torn(format!("{stored} of its {length} bytes are there")));
        }
        if stored > length {
            return Err(BadFrame::Damaged(format!("it has {stored} bytes, expected {length}")));
        }
        let records = split(&bytes, count).ok_or_else(|| damaged("its records do not fill it"))?;
        if records.is_empty() {
            return Err(damaged("it has no records"));
        }
        let mut hashes = Vec::with_capacity(records.len() * 32);
        for record in &records {
            match removed_hash(&bytes[record.clone()]) {
                Some(hash) => hashes.extend_from_slice(hash.as_bytes()),
                None => hashes.extend_from_slice(blake3::hash(&bytes[record.clone()]).as_bytes()),
            }
        }
        if chain(previous, first_position, count, &hashes) != hash {
            return Err(damaged("its hash does not match its records"));
        }
        Ok(Self { first_position, previous, hash, bytes, records })
    }

    /// The position of its last record.
    pub fn last_position(&self) -> u64 {
        self.first_position + self.records.len() as u64 - 1
    }

    /// The record at `position`.
    pub fn record(&self, position: u64) -> Option<&[u8]> {
        let nth = usize::try_from(position.checked_sub(self.first_position)?).ok()?;
        self.records.get(nth).map(|range| &self.bytes[range.clone()])
    }
}

impl Frame {
    /// The frame with other records in the place of some: of the same hash, if those have the hashes of the ones before.
    pub fn with_records(&self, mut other: impl FnMut(u64, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
        let mut bytes = self.bytes[..HEADER_BYTES].to_vec();
        for (position, range) in (self.first_position..).zip(&self.records) {
            let was = &self.bytes[range.clone()];
            let other = other(position, was);
            let record = other.as_deref().unwrap_or(was);
            bytes.extend_from_slice(&(record.len() as u32).to_le_bytes());
            bytes.extend_from_slice(record);
        }
        let length = (bytes.len() - HEADER_BYTES) as u32;
        bytes[1..5].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    /// How many bytes it has.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// The key and the value of a frame of these records, with whatever lengths they say that they have. `None` where their
/// lengths do not fill it.
pub(super) fn sealed(first_position: u64, count: u32, records: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend_from_slice(records);
    let hash = |range: Range<usize>| removed_hash(&bytes[range.clone()]).unwrap_or_else(|| Hash::of(&bytes[range]));
    let hashes: Vec<u8> = split(&bytes, count)?.into_iter().flat_map(|range| *hash(range).as_bytes()).collect();
    let hash = chain(Hash::ZERO, first_position, count, &hashes);
    bytes[0] = FORMAT;
    bytes[1..5].copy_from_slice(&(records.len() as u32).to_le_bytes());
    bytes[5..9].copy_from_slice(&count.to_le_bytes());
    bytes[41..73].copy_from_slice(hash.as_bytes());
    Some((frame_key(first_position), bytes))
}

fn removed_hash(record: &[u8]) -> Option<Hash> {
    // The first byte tells the kinds apart; an event's record is not worth reading here.
    match record.first() {
        Some(1) => None,
        _ => match read_record(record) {
            Ok(Record::Removed(removed)) => Some(removed.hash),
            _ => None,
        },
    }
}

fn split(bytes: &[u8], count: u32) -> Option<Vec<Range<usize>>> {
    let mut at = HEADER_BYTES;
    let mut records = Vec::with_capacity((count as usize).min(bytes.len() / RECORD_LENGTH_BYTES));
    for _ in 0..count {
        let length = bytes.get(at..at + RECORD_LENGTH_BYTES)?;
        let start = at + RECORD_LENGTH_BYTES;
        let end = start.checked_add(u32::from_le_bytes(length.try_into().ok()?) as usize)?;
        if end > bytes.len() {
            return None;
        }
        records.push(start..end);
        at = end;
    }
    (at == bytes.len()).then_some(records)
}
