//! A log as one stream of bytes, as of a position, while more is appended.
//!
//! ```text
//! backup = "moonlog backup 1\n" · entry* · end
//! entry  = space u8 · key length u16 · value length u32 · key · value      (1: frames, 2: blobs, 3: meta)
//! end    = 0 u8 · position u64 · frames u64 · chain 32 · hash 32
//! hash   = blake3(everything before it)
//! ```
//!
//! Numbers are little-endian. Entries are what the storage holds; a blob's stand before the frame whose event names it.
//! What is derived is not there. Nothing is removed from the log while it is read, so that it is all of one moment.

use super::{
    ReadError, Still,
    blobs::blob_entries,
    frame::{FRAME_MAX_BYTES, Frame, frame_key},
    open::FORMAT_KEY,
    removal::THROUGH_KEY,
    shared::Shared,
    verify::verify,
};
use crate::{
    id::Hash,
    storage::{Direction, Entry, Space, Storage, StorageError, Write},
};
use std::{
    collections::{HashSet, VecDeque},
    io::{self, Read},
    ops::Bound,
    sync::Arc,
};

const MAGIC: &[u8] = b"moonlog backup 1\n";
const END: u8 = 0;
const SPACES: [(u8, Space); 3] = [(1, Space::Frames), (2, Space::Blobs), (3, Space::Meta)];
const FRAMES_AT_ONCE: usize = 16;
const KEY_MAX_BYTES: usize = 1024;
/// How much is written at once when a backup is read back, in bytes.
const WRITE_BYTES: usize = 1 << 20;

/// A log that is being backed up.
pub struct Backup {
    shared: Arc<Shared>,
    _still: Still,
    position: u64,
    frames: u64,
    chain: Hash,
    hasher: blake3::Hasher,
    blobs: HashSet<Hash>,
    /// The last frame that was given.
    from: Bound<Vec<u8>>,
    waiting: VecDeque<Entry>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begins,
    Frames,
    Done,
}

impl Backup {
    pub(super) fn new(shared: Arc<Shared>, still: Still) -> Self {
        Self {
            position: shared.head(),
            shared,
            _still: still,
            frames: 0,
            chain: Hash::ZERO,
            hasher: blake3::Hasher::new(),
            blobs: HashSet::new(),
            from: Bound::Unbounded,
            waiting: VecDeque::new(),
            state: State::Begins,
        }
    }

    /// The last position that it holds.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes; `None` at the end. Blocks.
    ///
    /// # Errors
    /// Where the log cannot be read, or is damaged.
    pub fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let mut out = Vec::new();
        match self.state {
            State::Begins => {
                out.extend_from_slice(MAGIC);
                for key in [FORMAT_KEY, THROUGH_KEY] {
                    if let Some(value) = self.shared.storage.get(Space::Meta, key)? {
                        put(&mut out, Space::Meta, key, &value);
                    }
                }
                self.state = State::Frames;
            }
            State::Frames => {
                if self.waiting.is_empty() {
                    let (from, to) = (self.from.clone(), Bound::Included(frame_key(self.position)));
                    let frames =
                        self.shared.storage.scan(Space::Frames, from, to, Direction::Forward, FRAMES_AT_ONCE)?;
                    self.waiting = frames.into();
                }
                match self.waiting.pop_front() {
                    Some((key, value)) => self.frame(key, value, &mut out)?,
                    None => {
                        self.end(&mut out);
                        return Ok(Some(out));
                    }
                }
            }
            State::Done => return Ok(None),
        }
        self.hasher.update(&out);
        Ok(Some(out))
    }

    fn frame(&mut self, key: Vec<u8>, value: Vec<u8>, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let frame = Frame::read(&key, value.clone()).map_err(|bad| {
            let position = super::frame::position_of_key(&key).unwrap_or_default();
            ReadError::Damaged(super::Damage::new(position, bad.what()))
        })?;
        for position in frame.first_position..=frame.last_position() {
            for hash in self.shared.blobs_of(&frame, position)? {
                if self.blobs.insert(hash) {
                    for (key, value) in blob_entries(&*self.shared.storage, &hash)? {
                        put(out, Space::Blobs, &key, &value);
                    }
                }
            }
        }
        put(out, Space::Frames, &key, &value);
        (self.frames, self.chain) = (self.frames + 1, frame.hash);
        self.from = Bound::Excluded(key);
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.push(END);
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.frames.to_le_bytes());
        out.extend_from_slice(self.chain.as_bytes());
        self.hasher.update(out);
        out.extend_from_slice(self.hasher.finalize().as_bytes());
        self.state = State::Done;
    }
}

fn put(out: &mut Vec<u8>, space: Space, key: &[u8], value: &[u8]) {
    let kind = SPACES.iter().find(|(_, known)| *known == space).map_or(END, |(kind, _)| *kind);
    out.push(kind);
    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct BackupContent {
    /// The last position.
    pub position: u64,
    /// How many record batches.
    pub frames: u64,
    /// The last one's hash, which vouches for all before it.
    pub chain: Hash,
}

/// Why a backup cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It cannot be read.
    #[error("the backup cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is something else, or not whole.
    #[error("{0}")]
    Invalid(String),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was read back is not sound.
    #[error(transparent)]
    Log(ReadError),
}

/// Checks that a backup is whole, and says what it holds.
///
/// # Errors
/// Where it is not.
pub fn check_backup(input: impl Read) -> Result<BackupContent, RestoreError> {
    read_back(input, |_| Ok(()))
}

/// Puts what a backup holds into `storage`, which must be empty, and walks the chain of what is there then.
///
/// # Errors
/// Where the backup is not whole, or the storage fails. What is in the storage then is of no use.
pub fn restore(input: impl Read, storage: &dyn Storage) -> Result<BackupContent, RestoreError> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let content = read_back(input, |write| {
        bytes += write.value.as_ref().map_or(0, Vec::len);
        batch.push(write);
        if bytes >= WRITE_BYTES {
            bytes = 0;
            storage.write(std::mem::take(&mut batch))?;
            storage.sync()?;
        }
        Ok(())
    })?;
    storage.write(batch)?;
    storage.sync()?;
    let report = verify(storage).map_err(RestoreError::Log)?;
    if let Some(damage) = report.damage.first() {
        return Err(RestoreError::Invalid(format!("what the backup holds is damaged {damage}")));
    }
    if (report.head, report.frames, report.chain) != (content.position, content.frames, content.chain) {
        return Err(RestoreError::Invalid(format!(
            "the backup ends at position {}, and not where it says",
            report.head
        )));
    }
    storage.note_head(content.position);
    Ok(content)
}

fn read_back(
    input: impl Read,
    mut take: impl FnMut(Write) -> Result<(), StorageError>,
) -> Result<BackupContent, RestoreError> {
    let mut input = Hashed { input, hasher: blake3::Hasher::new() };
    let mut magic = [0; MAGIC.len()];
    match input.read_exact(&mut magic) {
        Ok(()) if magic == MAGIC => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof && error.kind() != io::ErrorKind::InvalidInput => {
            return Err(error.into());
        }
        _ => return Err(RestoreError::Invalid("this is no backup that `moonlog backup` wrote".into())),
    }
    loop {
        let [kind] = input.array()?;
        if kind == END {
            break;
        }
        let key_length = usize::from(u16::from_le_bytes(input.array()?));
        let length = u32::from_le_bytes(input.array()?) as usize;
        let space = SPACES.iter().find(|(known, _)| *known == kind).map(|(_, space)| *space);
        let (Some(space), 1..=KEY_MAX_BYTES, 0..=FRAME_MAX_BYTES) = (space, key_length, length) else {
            return Err(RestoreError::Invalid("the backup is damaged, or a newer moonlog wrote it".into()));
        };
        let (key, value) = (input.bytes(key_length)?, input.bytes(length)?);
        if space == Space::Meta && ![FORMAT_KEY, THROUGH_KEY].contains(&key.as_slice()) {
            return Err(RestoreError::Invalid("the backup holds what no backup of this version does".into()));
        }
        take(Write { space, key, value: Some(value) })?;
    }
    let position = u64::from_le_bytes(input.array()?);
    let frames = u64::from_le_bytes(input.array()?);
    let chain = Hash::from_bytes(input.array()?);
    let expected = *input.hasher.finalize().as_bytes();
    if input.array::<32>()? != expected {
        return Err(RestoreError::Invalid("the backup is damaged: its bytes are not those that were written".into()));
    }
    if input.input.read(&mut [0])? > 0 {
        return Err(RestoreError::Invalid("the backup is damaged: something stands behind its end".into()));
    }
    Ok(BackupContent { position, frames, chain })
}

/// Hashes what is read.
struct Hashed<R> {
    input: R,
    hasher: blake3::Hasher,
}

impl<R: Read> Hashed<R> {
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let mut array = [0; N];
        self.whole(&mut array)?;
        Ok(array)
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, RestoreError> {
        let mut bytes = vec![0; count];
        self.whole(&mut bytes)?;
        Ok(bytes)
    }

    fn whole(&mut self, bytes: &mut [u8]) -> Result<(), RestoreError> {
        self.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => RestoreError::Invalid("the backup ends in the middle: it was cut".into()),
            _ => error.into(),
        })
    }
}
