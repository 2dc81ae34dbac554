//! What the decoders of stored forms are given at first: all that a log of every type of event is stored as.

use futures_util::FutureExt;
use moonlog_core::{
    event::{EventBody, NewEvent, StreamId},
    id::{JobId, SessionId},
    log::{Append, Expected, Log, LogOptions},
    projection::{Views, ViewsOptions},
    storage::{MemoryStorage, Space, Storage},
    time::Timestamp,
};
use std::sync::Arc;

/// Of what a frame is made up to its records, and a row up to its content.
const FRAME_HEAD_BYTES: usize = 73;
const ROW_HEAD_BYTES: usize = 12;

/// Inputs of the decoder of this name, none where it is none of stored forms.
pub fn examples(name: &str, bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    if !["record", "frame", "index_page", "snapshot_row", "backup"].contains(&name) {
        return Vec::new();
    }
    let storage = Arc::new(MemoryStorage::new());
    let backup = filled(&storage, bodies);
    let all = |space| storage.keys(space).into_iter().map(move |key| (key.clone(), space));
    let value = |(key, space): (Vec<u8>, Space)| (storage.get(space, &key).unwrap().unwrap(), key);
    match name {
        "frame" => all(Space::Frames)
            .map(value)
            .map(|(frame, _)| [&frame[5..6], &frame[FRAME_HEAD_BYTES..]].concat())
            .filter(|frame| frame.len() < 4_096)
            .collect(),
        "record" => all(Space::Frames)
            .map(value)
            .flat_map(|(frame, key)| {
                let mut rest = &frame[FRAME_HEAD_BYTES..];
                let mut records = Vec::new();
                while let Some((length, behind)) = rest.split_first_chunk() {
                    let (record, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
                    records.push([&key[..], record].concat());
                    rest = behind;
                }
                records
            })
            .collect(),
        "index_page" => all(Space::Index)
            .map(value)
            .filter_map(|(page, key)| Some([&key[key.len().checked_sub(9)?..], &page].concat()))
            .collect(),
        "snapshot_row" => all(Space::Snapshots).map(value).filter_map(|(row, key)| snapshot_row(&key, &row)).collect(),
        _ => vec![
            [&[0][..], &backup].concat(),
            [&[2][..], &backup].concat(),
            vec![1, 30, 0, 2, 0, 0],
            vec![3, 60, 0, 1, 9],
        ],
    }
}

fn snapshot_row(key: &[u8], row: &[u8]) -> Option<Vec<u8>> {
    let content = row.get(ROW_HEAD_BYTES..)?;
    let (kind, content) = match key.get(2)? {
        b'l' | b'e' => (0, content),
        b's' | b'c' => (1, content),
        b'k' => (2, content),
        b't' => (3, content),
        b'p' => (4, content),
        // Behind the number of its form.
        b'h' => (5, content.get(1..)?),
        _ => return None,
    };
    Some([&[kind], content].concat())
}

/// Fills a log with events of every type, and gives its backup.
fn filled(storage: &Arc<MemoryStorage>, bodies: &[Vec<u8>]) -> Vec<u8> {
    let (log, _) = Log::open(storage.clone() as Arc<dyn Storage>, LogOptions::new(Timestamp::default)).unwrap();
    let (job, session) = (JobId::from_bytes([7; 16]), SessionId::from_bytes([8; 16]));
    for stored in bodies {
        let body = EventBody::decode(u16::from_le_bytes([stored[0], stored[1]]), stored[2], &stored[3..]).unwrap();
        let stream = match body.name().split('.').next() {
            Some("session" | "workspace") => StreamId::Session(session),
            Some("schedule") => StreamId::Schedule("nightly".into()),
            Some("runner" | "queue" | "log" | "webhook") => StreamId::System,
            _ => StreamId::Job(job),
        };
        let event = NewEvent { session: Some(session), ..NewEvent::new(body) };
        // Where one has closed the stream, the rest of its kind is left out.
        if let Ok(appended) = log.append(Append::new(stream, Expected::Any, vec![event])) {
            log.durable_blocking(appended.last_position).unwrap();
        }
    }
    let views = Views::open(&log, ViewsOptions { checkpoint_events: 10, ..ViewsOptions::default() }).unwrap();
    views.advance(&log.read(0, 10_000).unwrap());
    let mut backup = log.backup().now_or_never().unwrap();
    let mut bytes = Vec::new();
    while let Some(more) = backup.next_bytes().unwrap() {
        bytes.extend_from_slice(&more);
    }
    drop(backup);
    log.close();
    bytes
}
