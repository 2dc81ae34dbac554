//! What is stored.

use futures_util::FutureExt;
use moonlog_core::{
    codec::CodecError,
    event::{EventBody, JobEmitted, NewEvent, StreamId},
    id::JobId,
    json::Json,
    log::{self, Append, Expected, Log, LogOptions, check_backup, restore, verify},
    projection::{self, Views, ViewsOptions},
    storage::{MemoryStorage, Space, Storage, Write},
    time::Timestamp,
};
use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use super::LONG;

/// The stored form of an event's fields: `code u16 · schema u8 · fields`. What is read is written as something that is
/// read as the same.
pub fn event_bytes(data: &[u8]) {
    let [low, high, schema, fields @ ..] = data else { return };
    let Ok(body) = EventBody::decode(u16::from_le_bytes([*low, *high]), *schema, fields) else { return };
    let written = body.encode().expect("what was read can be written");
    let again = EventBody::decode(body.code(), body.schema(), &written).expect("what was written can be read");
    assert_eq!(written, again.encode().expect("it can be written"), "{body:?}");
    assert_eq!(body.data_json(), again.data_json(), "{body:?}");
}

/// An event's `data` as JSON: `number of the type u8 · text`.
pub fn event_json(data: &[u8]) {
    let [which, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let name = EventBody::NAMES[usize::from(*which) % EventBody::NAMES.len()];
    match EventBody::from_data_json(name, text) {
        Ok(body) => {
            let shown = body.data_json();
            let again = EventBody::from_data_json(name, &shown).expect("what is shown can be read");
            assert_eq!(shown, again.data_json(), "{name}");
            let written = body.encode().expect("what was read can be stored");
            match EventBody::decode(body.code(), body.schema(), &written) {
                Ok(stored) => assert_eq!(shown, stored.data_json(), "{name}: it is stored as it is"),
                Err(error) => panic!("{name}: {shown} is stored as what cannot be read: {error}"),
            }
        }
        Err(CodecError::Json { name: of, .. }) => assert_eq!(of, name),
        Err(other) => panic!("{name}: {other}"),
    }
}

/// A small log some of whose stored values have others in their place: `(space u8 · key u8 · at u16 · length u8 · bytes)*`.
/// It is opened, verified, read and folded, or refused.
pub fn stored_log(data: &[u8]) {
    let storage = Arc::new(sound().after_power_cut(0));
    let mut rest = data;
    while let [space, key, low, high, length, more @ ..] = rest {
        let space = Space::ALL[usize::from(*space) % Space::ALL.len()];
        let (bytes, behind) = more.split_at(usize::from(*length).min(more.len()));
        rest = behind;
        let keys = storage.keys(space);
        let at = usize::from(u16::from_le_bytes([*low, *high]));
        match keys.get(usize::from(*key) % (keys.len() + 1)) {
            Some(key) if *length == 0 => storage.tamper(space, key, |value| value.truncate(at)),
            Some(key) => storage.tamper(space, key, |value| {
                let at = at.min(value.len());
                value.resize(value.len().max(at + bytes.len()), 0);
                value[at..at + bytes.len()].copy_from_slice(bytes);
            }),
            None => drop(storage.write(vec![Write::put(space, bytes, at.to_le_bytes())])),
        }
    }
    let begun = Instant::now();
    let _ = verify(&*storage);
    if let Ok((log, _)) = Log::open(storage.clone() as Arc<dyn Storage>, LogOptions::new(Timestamp::default)) {
        let read = log.read(0, 1_000);
        let _ = log.read_back(u64::MAX, 1_000);
        for stream in streams() {
            let _ = log.read_stream(&stream, 0, 1_000);
            let _ = log.read_stream_back(&stream, u64::MAX, 1_000);
            let _ = log.stream_head(&stream);
        }
        let _ = log.verify();
        if let (Ok(events), Ok(views)) = (read, Views::open(&log, ViewsOptions::default())) {
            let behind: Vec<_> = events.into_iter().filter(|event| event.position > views.applied()).collect();
            views.advance(&behind);
            let _ = views.job(&job());
        }
        log.close();
    }
    assert!(begun.elapsed() < LONG, "a damaged log took {:?}", begun.elapsed());
}

pub(super) fn job() -> JobId {
    JobId::from_bytes([7; 16])
}

fn streams() -> [StreamId; 3] {
    [StreamId::System, StreamId::Job(job()), StreamId::Schedule("nightly".into())]
}

/// A log with a snapshot, an index and a blob, closed.
fn sound() -> &'static MemoryStorage {
    static SOUND: OnceLock<MemoryStorage> = OnceLock::new();
    SOUND.get_or_init(|| {
        let storage = Arc::new(MemoryStorage::new());
        let (log, _) = Log::open(storage.clone() as Arc<dyn Storage>, LogOptions::new(Timestamp::default))
            .expect("an empty log opens");
        let large = format!("\"{}\"", "x".repeat(40 << 10));
        for (n, stream) in streams().into_iter().cycle().take(12).enumerate() {
            let value = if n == 7 { large.clone() } else { format!("[{n}]") };
            let emitted = JobEmitted { name: format!("n{n}"), value: Json::from_written(value) };
            let events = vec![NewEvent::from(EventBody::JobEmitted(emitted))];
            let appended = log.append(Append::new(stream, Expected::Any, events)).expect("it is taken");
            log.durable_blocking(appended.last_position).expect("it is durable");
        }
        let options = ViewsOptions { checkpoint_events: 5, ..ViewsOptions::default() };
        let views = Views::open(&log, options).expect("views open");
        views.advance(&log.read(0, 1_000).expect("it can be read"));
        log.close();
        drop(views);
        Arc::try_unwrap(storage).unwrap_or_else(|shared| shared.after_power_cut(usize::MAX))
    })
}

/// A record of the log by itself.
pub fn record(data: &[u8]) {
    log::decoders::record(data);
}

/// A frame of records whose hashes are right.
pub fn frame(data: &[u8]) {
    log::decoders::frame(data);
}

/// A page of the index.
pub fn index_page(data: &[u8]) {
    log::decoders::index_page(data);
}

/// A row of a checkpoint.
pub fn snapshot_row(data: &[u8]) {
    projection::decoders::row(data);
}

/// A backup with some of its bytes changed, `(at u16 · length u8 · bytes)*`, or whatever bytes there are: it is restored to a
/// log that opens, or refused. Where its last bytes are to be mended, its hash is right.
pub fn backup(data: &[u8]) {
    let [kind, rest @ ..] = data else { return };
    let mut bytes = if kind & 1 == 0 { rest.to_vec() } else { a_backup().to_vec() };
    let mut rest = if kind & 1 == 0 { &[] } else { rest };
    while let [low, high, length, more @ ..] = rest {
        let at = usize::from(u16::from_le_bytes([*low, *high])).min(bytes.len());
        let (other, behind) = more.split_at(usize::from(*length).min(more.len()));
        rest = behind;
        let end = (at + other.len()).min(bytes.len());
        bytes.splice(at..end, other.iter().copied());
    }
    if kind & 2 != 0 && bytes.len() > 32 {
        let whole = bytes.len() - 32;
        let (whole, sum) = bytes.split_at_mut(whole);
        sum.copy_from_slice(moonlog_core::id::Hash::of(whole).as_bytes());
    }
    let begun = Instant::now();
    let checked = check_backup(&bytes[..]);
    let storage = Arc::new(MemoryStorage::new());
    if let Ok(content) = restore(&bytes[..], &*storage) {
        assert_eq!(checked.expect("what is restored is whole"), content);
        let opened = Log::open(storage as Arc<dyn Storage>, LogOptions::new(Timestamp::default));
        if let Ok((log, _)) = opened {
            assert_eq!(log.head(), content.position);
            let _ = log.read(0, 1_000);
            log.close();
        }
    }
    assert!(begun.elapsed() < LONG, "a backup took {:?}", begun.elapsed());
}

fn a_backup() -> &'static [u8] {
    static BACKUP: OnceLock<Vec<u8>> = OnceLock::new();
    BACKUP.get_or_init(|| {
        let storage = Arc::new(sound().after_power_cut(0));
        let (log, _) = Log::open(storage as Arc<dyn Storage>, LogOptions::new(Timestamp::default)).expect("it opens");
        let mut backup = log.backup().now_or_never().expect("nothing else is under way");
        let mut bytes = Vec::new();
        while let Some(more) = backup.next_bytes().expect("it can be read") {
            bytes.extend_from_slice(&more);
        }
        drop(backup);
        log.close();
        bytes
    })
}
