//! The stored form of one event. A record never changes once it is written.
//!
//! ```text
//! record  = event | removed                        (what retention leaves: see `removed`)
//! event   = 1 u8 · flags u8 · code u16 · schema u8 · stream · version varint · time i64 (µs since 1970)
//!           · [job 16] · [session 16] · [process 16] · [step text] · [cause varint]
//!           · [origin: position varint · time i64] · body
//! body    = the type's fields in the form of `codec`, up to the record's end
//!         | hash 32 · bytes varint                 (flag BLOB: `data` as JSON text, stored apart under its hash)
//! stream  = 0 u8 | 1 u8 · job 16 | 2 u8 · session 16 | 3 u8 · process 16 | 4 u8 · name text
//! text    = length varint · UTF-8
//! ```
//!
//! Numbers are little-endian; a varint has seven bits a byte, low ones first. Job, session and process stand in the
//! record only where they differ from what the stream says. The position is not in the record: it follows from the
//! frame's and the record's place in it, and the frame's hash covers both.

use super::removed::{REMOVED, REMOVED_BARE, RemovedRecord};
use crate::{
    codec::CodecError,
    event::{Event, EventBody, Origin, StreamId},
    id::{Hash, JobId, ProcessId, SessionId},
    time::Timestamp,
};
use std::sync::Arc;

const EVENT: u8 = 1;

const JOB: u8 = 1;
const SESSION: u8 = 1 << 1;
const PROCESS: u8 = 1 << 2;
const STEP: u8 = 1 << 3;
const CAUSE: u8 = 1 << 4;
const BLOB: u8 = 1 << 5;
/// The event ends its stream, so that the index can be rebuilt without reading bodies.
const CLOSES: u8 = 1 << 6;
/// The event was imported.
const ORIGIN: u8 = 1 << 7;

/// The most that a record takes beside its body, its step and its stream's name, in bytes.
pub const RECORD_OVERHEAD_BYTES: usize = 128;

/// An event's fields, where they are stored.
#[derive(Debug, Clone, Copy)]
pub enum StoredBody<'a> {
    /// In the record.
    Inline(&'a [u8]),
    /// Apart, as JSON text.
    Blob(Hash, u64),
}

/// A record, read as far as indexing needs.
#[derive(Debug)]
pub enum Record<'a> {
    /// An event.
    Event(StoredEvent<'a>),
    /// What is left of an event that retention removed.
    Removed(RemovedRecord),
}

/// An event whose body is still to be decoded.
#[derive(Debug)]
pub struct StoredEvent<'a> {
    /// The stream.
    pub stream: StreamId,
    /// The version in it.
    pub version: u64,
    /// The time of its append.
    pub time: Timestamp,
    /// Whether it ends its stream.
    pub closes: bool,
    /// Its fields.
    pub body: StoredBody<'a>,
    /// Its type's number.
    pub code: u16,
    schema: u8,
    /// The job it belongs to.
    pub job: Option<JobId>,
    /// The session it belongs to.
    pub session: Option<SessionId>,
    /// The process it belongs to.
    pub process: Option<ProcessId>,
    step: Option<Arc<str>>,
    cause: Option<u64>,
    origin: Option<Origin>,
}

/// The references that follow from the stream.
pub fn stream_references(stream: &StreamId) -> (Option<JobId>, Option<SessionId>, Option<ProcessId>) {
    match stream {
        StreamId::Job(id) => (Some(*id), None, None),
        StreamId::Session(id) => (None, Some(*id), None),
        StreamId::Process(id) => (None, None, Some(*id)),
        StreamId::System | StreamId::Schedule(_) => (None, None, None),
    }
}

/// Writes the record of `event` behind what `out` holds.
pub fn put_event(out: &mut Vec<u8>, event: &Event, body: StoredBody<'_>) {
    let (job, session, process) = stream_references(&event.stream);
    let job = event.job.filter(|_| event.job != job);
    let session = event.session.filter(|_| event.session != session);
    let process = event.process.filter(|_| event.process != process);
    let mut flags = 0;
    let mut set = |flag, on: bool| flags |= if on { flag } else { 0 };
    set(JOB, job.is_some());
    set(SESSION, session.is_some());
    set(PROCESS, process.is_some());
    set(STEP, event.step.is_some());
    set(CAUSE, event.cause.is_some());
    set(BLOB, matches!(body, StoredBody::Blob(..)));
    set(CLOSES, event.body.is_terminal());
    set(ORIGIN, event.origin.is_some());

    out.extend_from_slice(&[EVENT, flags]);
    out.extend_from_slice(&event.body.code().to_le_bytes());
    out.push(event.body.schema());
    put_stream(out, &event.stream);
    put_varint(out, event.version);
    out.extend_from_slice(&event.time.as_micros().to_le_bytes());
    if let Some(id) = job {
        out.extend_from_slice(id.as_bytes());
    }
    if let Some(id) = session {
        out.extend_from_slice(id.as_bytes());
    }
    if let Some(id) = process {
        out.extend_from_slice(id.as_bytes());
    }
    if let Some(step) = &event.step {
        put_text(out, step);
    }
    if let Some(cause) = event.cause {
        put_varint(out, cause);
    }
    if let Some(origin) = event.origin {
        put_varint(out, origin.position);
        out.extend_from_slice(&origin.time.as_micros().to_le_bytes());
    }
    match body {
        StoredBody::Inline(bytes) => out.extend_from_slice(bytes),
        StoredBody::Blob(hash, bytes) => {
            out.extend_from_slice(hash.as_bytes());
            put_varint(out, bytes);
        }
    }
}

/// Reads a record.
///
/// # Errors
/// What is wrong with it.
pub fn read_record(bytes: &[u8]) -> Result<Record<'_>, String> {
    let mut rest = Rest(bytes);
    match rest.byte()? {
        EVENT => read_event(rest).map(Record::Event),
        kind @ (REMOVED | REMOVED_BARE) => RemovedRecord::read(kind, bytes).map(Record::Removed),
        kind => Err(format!("a record of unknown kind {kind}")),
    }
}

fn read_event(mut rest: Rest<'_>) -> Result<StoredEvent<'_>, String> {
    let flags = rest.byte()?;
    let code = u16::from_le_bytes(rest.array()?);
    let schema = rest.byte()?;
    let stream = rest.stream()?;
    let version = rest.varint()?;
    let time = Timestamp::from_micros(i64::from_le_bytes(rest.array()?));
    let (mut job, mut session, mut process) = stream_references(&stream);
    if flags & JOB != 0 {
        job = Some(JobId::from_bytes(rest.array()?));
    }
    if flags & SESSION != 0 {
        session = Some(SessionId::from_bytes(rest.array()?));
    }
    if flags & PROCESS != 0 {
        process = Some(ProcessId::from_bytes(rest.array()?));
    }
    let step = if flags & STEP != 0 { Some(rest.text()?.into()) } else { None };
    let cause = if flags & CAUSE != 0 { Some(rest.varint()?) } else { None };
    let origin = if flags & ORIGIN != 0 {
        let position = rest.varint()?;
        Some(Origin { position, time: Timestamp::from_micros(i64::from_le_bytes(rest.array()?)) })
    } else {
        None
    };
    let body = if flags & BLOB != 0 {
        let body = StoredBody::Blob(Hash::from_bytes(rest.array()?), rest.varint()?);
        rest.end()?;
        body
    } else {
        StoredBody::Inline(rest.0)
    };
    let closes = flags & CLOSES != 0;
    Ok(StoredEvent { stream, version, time, closes, body, code, schema, job, session, process, step, cause, origin })
}

impl StoredEvent<'_> {
    /// The event, at `position`. `data` is the text of its blob, where it has one.
    ///
    /// # Errors
    /// Where the fields are not those of its type.
    pub fn decode(self, position: u64, data: Option<&str>) -> Result<Event, CodecError> {
        let (body, blob) = match (self.body, data) {
            (StoredBody::Inline(bytes), _) => (EventBody::decode(self.code, self.schema, bytes)?, None),
            (StoredBody::Blob(hash, bytes), data) => {
                let unknown = CodecError::UnknownType { code: self.code, schema: self.schema };
                let name = EventBody::name_of(self.code).ok_or(unknown)?;
                (EventBody::from_data_json(name, data.unwrap_or_default())?, Some((hash, bytes)))
            }
        };
        Ok(Event {
            position,
            stream: self.stream,
            version: self.version,
            time: self.time,
            job: self.job,
            session: self.session,
            process: self.process,
            step: self.step,
            cause: self.cause,
            origin: self.origin,
            body,
            blob,
        })
    }
}

/// Writes a stream's name. No stream's bytes begin with another's, so they can begin a key.
pub fn put_stream(out: &mut Vec<u8>, stream: &StreamId) {
    match stream {
        StreamId::System => out.push(0),
        StreamId::Job(id) => {
            out.push(1);
            out.extend_from_slice(id.as_bytes());
        }
        StreamId::Session(id) => {
            out.push(2);
            out.extend_from_slice(id.as_bytes());
        }
        StreamId::Process(id) => {
            out.push(3);
            out.extend_from_slice(id.as_bytes());
        }
        StreamId::Schedule(name) => {
            out.push(4);
            put_text(out, name);
        }
    }
}

/// Writes a number in as few bytes as it needs.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// What is still to be read.
pub struct Rest<'a>(pub &'a [u8]);

impl<'a> Rest<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, String> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next number.
    pub fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is too long".into())
    }

    /// Checks that nothing is left.
    pub fn end(&self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes left over", self.0.len())) }
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let length = usize::try_from(self.varint()?).map_err(|_| "a text is too long")?;
        std::str::from_utf8(self.take(length)?).map_err(|_| "a text is not UTF-8".into())
    }

    /// The next stream's name.
    pub fn stream(&mut self) -> Result<StreamId, String> {
        Ok(match self.byte()? {
            0 => StreamId::System,
            1 => StreamId::Job(JobId::from_bytes(self.array()?)),
            2 => StreamId::Session(SessionId::from_bytes(self.array()?)),
            3 => StreamId::Process(ProcessId::from_bytes(self.array()?)),
            4 => StreamId::Schedule(self.text()?.into()),
            kind => return Err(format!("a stream of unknown kind {kind}")),
        })
    }
}
