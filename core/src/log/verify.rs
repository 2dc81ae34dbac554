//! Walks the whole log and checks what can be checked: hashes and their chain, that positions and versions have no
//! gaps, that times do not go back, that nothing stands behind a stream's end, and that every record can be read and
//! every blob is there.

use super::{
    Damage, ReadError,
    blobs::read_blob,
    frame::{Frame, frame_key, position_of_key},
    reader::removed_at,
    record::{Record, StoredBody, StoredEvent, read_record},
};
use crate::{
    event::StreamId,
    id::Hash,
    storage::{Direction, Space, Storage, StorageError},
    time::Timestamp,
};
use std::{
    collections::{HashMap, HashSet},
    ops::Bound,
};

const FRAMES_AT_ONCE: usize = 16;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct VerifyReport {
    /// The last event's position.
    pub head: u64,
    /// Events that were read.
    pub events: u64,
    /// Events that retention removed, whose hashes are still in the chain.
    pub removed: u64,
    /// Record batches that were read.
    pub frames: u64,
    /// Streams that have events.
    pub streams: u64,
    /// Blobs that events name.
    pub blobs: u64,
    /// The last record batch's hash: it vouches for everything before it.
    pub chain: Hash,
    /// What is wrong; nothing in a sound log.
    pub damage: Vec<Damage>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Walks the log that `storage` holds, also one that does not open.
///
/// # Errors
/// Where the storage cannot be read at all. Damage is in the report.
pub fn verify(storage: &dyn Storage) -> Result<VerifyReport, ReadError> {
    let mut report = verify_up_to(storage, u64::MAX)?;
    if let Some(noted) = storage.noted_head().filter(|noted| *noted > report.head) {
        let what = format!("the log ends at position {}, and once had {noted}", report.head);
        report.damage.push(Damage::new(report.head + 1, what).under(Space::Frames, &frame_key(report.head + 1)));
    }
    Ok(report)
}

/// The same for what is durable, while more is being written.
pub fn verify_up_to(storage: &dyn Storage, head: u64) -> Result<VerifyReport, ReadError> {
    let mut walk = Walk::new(storage);
    let mut from = Bound::Unbounded;
    let to = if head == u64::MAX { Bound::Unbounded } else { Bound::Included(frame_key(head)) };
    loop {
        let entries = match storage.scan(Space::Frames, from.clone(), to.clone(), Direction::Forward, FRAMES_AT_ONCE) {
            Err(StorageError::Damaged(what)) => match walk.pass_over(&from, &to, &what)? {
                Some(next) => {
                    from = next;
                    continue;
                }
                None => break,
            },
            entries => entries?,
        };
        let Some((last, _)) = entries.last() else { break };
        from = Bound::Excluded(last.clone());
        for (key, value) in entries {
            walk.frame(&key, value)?;
        }
    }
    if head != u64::MAX && walk.next <= head {
        walk.damage(walk.next, format!("positions {} to {head} are missing", walk.next));
    }
    Ok(walk.finish())
}

/// Where a stream stands.
#[derive(Clone, Copy, Default)]
struct Stream {
    version: u64,
    closed: bool,
    /// Whether all that was seen of it was removed: then it may begin anew.
    removed: bool,
}

struct Walk<'a> {
    storage: &'a dyn Storage,
    /// The key of the record batch that is looked at.
    key: Vec<u8>,
    /// The position that comes next, if none is missing.
    next: u64,
    /// The last sound frame's hash; `None` behind a damaged one, whose own is not to be trusted.
    chain: Option<Hash>,
    time: Timestamp,
    /// Where each stream stands.
    streams: HashMap<StreamId, Stream>,
    blobs: HashSet<Hash>,
    /// Whether records were lost, so that gaps in versions are no news.
    lost: bool,
    report: VerifyReport,
}

impl<'a> Walk<'a> {
    fn new(storage: &'a dyn Storage) -> Self {
        let report = VerifyReport {
            head: 0,
            events: 0,
            removed: 0,
            frames: 0,
            streams: 0,
            blobs: 0,
            chain: Hash::ZERO,
            damage: Vec::new(),
        };
        Self {
            storage,
            key: Vec::new(),
            next: 1,
            chain: Some(Hash::ZERO),
            time: Timestamp::from_micros(i64::MIN),
            streams: HashMap::new(),
            blobs: HashSet::new(),
            lost: false,
            report,
        }
    }

    /// Record batches from `from` on cannot be read. Reads those that can be, one by one, and finds where it can go on.
    fn pass_over(
        &mut self,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
        what: &str,
    ) -> Result<Option<Bound<Vec<u8>>>, ReadError> {
        let storage = self.storage;
        let one = |from: Bound<Vec<u8>>| storage.scan(Space::Frames, from, to.clone(), Direction::Forward, 1);
        if let Ok(mut entries) = one(from.clone()) {
            let Some((key, value)) = entries.pop() else { return Ok(None) };
            self.frame(&key, value)?;
            return Ok(Some(Bound::Excluded(key)));
        }
        let after = match from {
            Bound::Included(key) | Bound::Excluded(key) => position_of_key(key).unwrap_or_default(),
            Bound::Unbounded => 0,
        };
        let first = self.next.max(after + 1);
        let found = (0..u64::BITS).map_while(|bit| after.checked_add(1 << bit)).find_map(|position| {
            let from = Bound::Included(frame_key(position));
            one(from.clone()).is_ok().then_some(from)
        });
        let damage = Damage::new(first, format!("record batches cannot be read: {what}"));
        self.report.damage.push(damage.under(Space::Frames, &frame_key(first)));
        (self.chain, self.lost, self.next) = (None, true, 0);
        Ok(found)
    }

    fn frame(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), ReadError> {
        self.key = key.to_vec();
        let named = position_of_key(key).unwrap_or(self.next);
        let frame = match Frame::read(key, value) {
            Ok(frame) => frame,
            Err(bad) => {
                self.damage(named, format!("the record batch: {}", bad.what()));
                // The next key tells where the batch ends.
                (self.chain, self.lost, self.next) = (None, true, 0);
                return Ok(());
            }
        };
        let first = frame.first_position;
        if self.next != 0 && first != self.next {
            self.lost = true;
            let what = if first > self.next {
                format!("positions {} to {} are missing", self.next, first - 1)
            } else {
                format!("positions {first} to {} are there twice", self.next - 1)
            };
            self.damage(self.next.min(first), what);
        } else if self.chain.is_some_and(|chain| chain != frame.previous) {
            self.damage(first, "the record batch does not follow on the one before it".into());
        }
        for position in first..=frame.last_position() {
            if let Some(record) = frame.record(position) {
                self.record(position, record)?;
            }
        }
        self.next = frame.last_position() + 1;
        self.chain = Some(frame.hash);
        self.report.chain = frame.hash;
        self.report.frames += 1;
        self.report.head = frame.last_position();
        Ok(())
    }

    fn record(&mut self, position: u64, record: &[u8]) -> Result<(), ReadError> {
        match read_record(record) {
            Ok(Record::Removed(removed)) => {
                self.report.removed += 1;
                self.version(position, removed.stream, removed.version, None);
            }
            Ok(Record::Event(event)) => {
                self.report.events += 1;
                if event.time < self.time {
                    self.damage(position, "its time is before that of the event before it".into());
                }
                self.time = event.time;
                self.version(position, event.stream.clone(), event.version, Some(event.closes));
                self.body(position, event)?;
            }
            Err(what) => self.damage(position, what),
        }
        Ok(())
    }

    /// Checks an event's version; of a removed one it is not known whether it closed its stream.
    fn version(&mut self, position: u64, stream: StreamId, version: u64, closes: Option<bool>) {
        let before = self.streams.get(&stream).copied().unwrap_or(Stream { removed: true, ..Stream::default() });
        let begins_anew = version == 1 && before.removed;
        if version != before.version + 1 && !begins_anew && !(self.lost && version > before.version) {
            self.damage(position, format!("{stream} goes from version {} to {version}", before.version));
        } else if before.closed {
            self.damage(position, format!("{stream} goes on behind its end at version {}", before.version));
        }
        let removed = closes.is_none() && (begins_anew || before.removed);
        self.streams.insert(stream, Stream { version, closed: closes.unwrap_or_default(), removed });
    }

    fn body(&mut self, position: u64, event: StoredEvent<'_>) -> Result<(), ReadError> {
        let mut data = None;
        if let StoredBody::Blob(hash, bytes) = event.body {
            self.blobs.insert(hash);
            match read_blob(self.storage, &hash) {
                Ok(Some(blob)) if blob.len() as u64 == bytes => data = String::from_utf8(blob).ok(),
                Ok(Some(blob)) => {
                    self.blob_damage(position, &hash, format!("has {} bytes, expected {bytes}", blob.len()));
                }
                Ok(None) => self.blob_damage(position, &hash, "is missing".into()),
                Err(ReadError::Blob { what, .. } | ReadError::Storage(StorageError::Damaged(what))) => {
                    self.blob_damage(position, &hash, format!("is damaged: {what}"));
                }
                Err(error) => return Err(error),
            }
            if data.is_none() {
                return Ok(());
            }
        }
        if let Err(error) = event.decode(position, data.as_deref()) {
            self.damage(position, error.to_string());
        }
        Ok(())
    }

    fn damage(&mut self, position: u64, what: String) {
        self.report.damage.push(Damage::new(position, what).under(Space::Frames, &self.key));
    }

    fn blob_damage(&mut self, position: u64, hash: &Hash, what: String) {
        // The event may have been removed since its frame was read, and its blob with it.
        if matches!(removed_at(self.storage, position), Ok(Some(_))) {
            self.blobs.remove(hash);
            return;
        }
        let damage = Damage::new(position, format!("blob {hash} {what}"));
        self.report.damage.push(damage.under(Space::Blobs, hash.as_bytes()));
    }

    fn finish(mut self) -> VerifyReport {
        self.report.streams = self.streams.len() as u64;
        self.report.blobs = self.blobs.len() as u64;
        self.report
    }
}
