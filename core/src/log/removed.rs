//! What retention leaves of an event: where it stood, the hash of its record, which keeps the chain whole, and what feeds
//! ask of an event, so that a reader learns of a gap where it would have been given something and nowhere else.
//!
//! ```text
//! removed = 3 u8 · flags u8 · code u16 · stream · version varint · hash 32 · [job 16] · [session 16] · [process 16] · check 4
//! check   = the first bytes of blake3(everything before)
//! ```
//!
//! The frame's hash covers of this no more than `hash`: hence the check. Records of kind 2, which say less, are read too.

use super::record::{Rest, StoredEvent, put_stream, put_varint, stream_references};
use crate::{
    event::{EventBody, StreamId},
    id::{Hash, JobId, ProcessId, SessionId},
};

/// The kind of record that is written.
pub const REMOVED: u8 = 3;
/// One that says only where the event stood.
pub const REMOVED_BARE: u8 = 2;

const JOB: u8 = 1;
const SESSION: u8 = 1 << 1;
const PROCESS: u8 = 1 << 2;
const CHECK_BYTES: usize = 4;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedRecord {
    /// The stream it stood in.
    pub stream: StreamId,
    /// Its version there.
    pub version: u64,
    /// The hash of its record.
    pub hash: Hash,
    code: Option<u16>,
    job: Option<JobId>,
    session: Option<SessionId>,
    process: Option<ProcessId>,
}

/// An event that retention removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedEvent {
    /// Where it stood.
    pub position: u64,
    /// The stream it stood in.
    pub stream: StreamId,
    /// Its version there.
    pub version: u64,
    /// Its type; `None` where that is not known: then it may have been any.
    pub name: Option<&'static str>,
    /// The job it belonged to.
    pub job: Option<JobId>,
    /// The session it belonged to.
    pub session: Option<SessionId>,
    /// The process it belonged to.
    pub process: Option<ProcessId>,
}

impl RemovedRecord {
    /// What is left of `event`, whose record has this hash.
    pub fn of(event: &StoredEvent<'_>, hash: Hash) -> Self {
        Self {
            stream: event.stream.clone(),
            version: event.version,
            hash,
            code: Some(event.code),
            job: event.job,
            session: event.session,
            process: event.process,
        }
    }

    /// The code of its type; `None` where that is not known.
    pub fn code(&self) -> Option<u16> {
        self.code
    }

    /// The event that stood at `position`.
    pub fn at(self, position: u64) -> RemovedEvent {
        RemovedEvent {
            position,
            stream: self.stream,
            version: self.version,
            name: self.code.and_then(EventBody::name_of),
            job: self.job,
            session: self.session,
            process: self.process,
        }
    }

    /// The record.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (job, session, process) = stream_references(&self.stream);
        let job = self.job.filter(|_| self.job != job);
        let session = self.session.filter(|_| self.session != session);
        let process = self.process.filter(|_| self.process != process);
        let flag = |flag, on: bool| if on { flag } else { 0 };
        let flags = flag(JOB, job.is_some()) | flag(SESSION, session.is_some()) | flag(PROCESS, process.is_some());
        let mut out = vec![REMOVED, flags];
        out.extend_from_slice(&self.code.unwrap_or_default().to_le_bytes());
        put_stream(&mut out, &self.stream);
        put_varint(&mut out, self.version);
        out.extend_from_slice(self.hash.as_bytes());
        for id in [job.map(|id| *id.as_bytes()), session.map(|id| *id.as_bytes()), process.map(|id| *id.as_bytes())] {
            out.extend_from_slice(id.as_ref().map_or(&[], |id| id.as_slice()));
        }
        let check = check(&out);
        out.extend_from_slice(&check);
        out
    }

    /// Reads a record of kind `kind`: all of `bytes`, its kind included.
    pub fn read(kind: u8, bytes: &[u8]) -> Result<Self, String> {
        if kind == REMOVED_BARE {
            let mut rest = Rest(bytes.get(1..).unwrap_or_default());
            let (stream, version) = (rest.stream()?, rest.varint()?);
            let hash = Hash::from_bytes(rest.array()?);
            rest.end()?;
            let (job, session, process) = stream_references(&stream);
            return Ok(Self { stream, version, hash, code: None, job, session, process });
        }
        let (body, sum) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or("it ends too early")?;
        if check(body) != *sum {
            return Err("what is left of a removed event is not what was written".into());
        }
        let mut rest = Rest(body.get(1..).unwrap_or_default());
        let flags = rest.byte()?;
        let code = Some(u16::from_le_bytes(rest.array()?));
        let (stream, version) = (rest.stream()?, rest.varint()?);
        let hash = Hash::from_bytes(rest.array()?);
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
        rest.end()?;
        Ok(Self { stream, version, hash, code, job, session, process })
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_BYTES]);
    check
}
