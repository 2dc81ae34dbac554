//! What can be done for an append before its place in the log is known: encoding, and moving large data to blobs.

use super::{
    Append, AppendError, Expected,
    blobs::CHUNK_MAX_BYTES,
    frame::{FRAME_MAX_BYTES, FRAME_OVERHEAD_BYTES, RECORD_LENGTH_BYTES},
    record::{RECORD_OVERHEAD_BYTES, stream_references},
};
use crate::{
    event::{Cause, Event, EventBody, NewEvent, StreamId},
    id::Hash,
    time::Timestamp,
};
use std::{ops::Range, sync::Arc};

/// Smaller bodies are not worth a blob, even where an append does not fit.
const SPILL_MIN_BYTES: usize = 1024;
/// Room for most bodies, and for how many of them: so that encoding does not grow its buffer step by step.
const USUAL_BODY_BYTES: usize = 384;
const MANY_EVENTS: usize = 512;

/// An append that is ready for its place.
pub struct Prepared {
    /// The stream.
    pub stream: StreamId,
    /// What must hold of it.
    pub expected: Expected,
    /// The events.
    pub events: Vec<PreparedEvent>,
    /// The stored form of the fields of all of them; of those too that are stored apart.
    pub bodies: Arc<Vec<u8>>,
}

/// An event that is ready for its place.
pub struct PreparedEvent {
    /// The event, with the references that follow from its stream. What its place gives it is missing: position,
    /// version, time, cause. Nobody else has it yet.
    pub event: Arc<Event>,
    /// What led to it.
    pub cause: Option<Cause>,
    /// Its fields' stored form.
    pub body: PreparedBody,
}

/// Where an event's fields will be stored.
pub enum PreparedBody {
    /// In its record: these of the append's bodies.
    Inline(Range<usize>),
    /// Apart: `data` as JSON text, and its hash.
    Blob(Hash, Vec<u8>),
}

impl PreparedEvent {
    /// No less than what it takes in a frame, in bytes.
    pub fn stored_bytes(&self) -> usize {
        let name = if let StreamId::Schedule(name) = &self.event.stream { name.len() } else { 0 };
        let step = self.event.step.as_ref().map_or(0, |step| step.len());
        RECORD_LENGTH_BYTES + RECORD_OVERHEAD_BYTES + self.inline_bytes() + name + step
    }

    fn inline_bytes(&self) -> usize {
        match &self.body {
            PreparedBody::Inline(range) => range.len(),
            PreparedBody::Blob(..) => 0,
        }
    }
}

impl Prepared {
    /// No less than what it takes in a frame, in bytes.
    pub fn stored_bytes(&self) -> usize {
        self.events.iter().map(PreparedEvent::stored_bytes).sum()
    }
}

/// Encodes an append's events.
pub fn prepare(append: Append, blob_max_bytes: usize) -> Result<Prepared, AppendError> {
    let Append { stream, expected, events } = append;
    if events.is_empty() {
        return Err(AppendError::Empty { stream });
    }
    let (job, session, process) = stream_references(&stream);
    let mut bodies = Vec::with_capacity(events.len().min(MANY_EVENTS) * USUAL_BODY_BYTES);
    let mut prepared = Vec::with_capacity(events.len());
    for event in events {
        let begin = bodies.len();
        event.body.encode_behind(&mut bodies)?;
        let body = if bodies.len() - begin > CHUNK_MAX_BYTES {
            bodies.truncate(begin);
            spill(&event.body, blob_max_bytes)?
        } else {
            PreparedBody::Inline(begin..bodies.len())
        };
        let NewEvent { body: fields, cause, step, origin, .. } = event;
        let event = Arc::new(Event {
            position: 0,
            stream: stream.clone(),
            version: 0,
            time: Timestamp::from_micros(0),
            job: event.job.or(job),
            session: event.session.or(session),
            process: event.process.or(process),
            step,
            cause: None,
            origin,
            body: fields,
            blob: None,
        });
        prepared.push(PreparedEvent { event, cause, body });
    }
    Ok(Prepared { stream, expected, events: prepared, bodies: Arc::new(bodies) })
}

/// Makes several appends fit one frame, by moving the largest bodies to blobs.
pub fn fit_one_frame(appends: &mut [Prepared], blob_max_bytes: usize) -> Result<(), AppendError> {
    let max_bytes = FRAME_MAX_BYTES - FRAME_OVERHEAD_BYTES;
    loop {
        let bytes: usize = appends.iter().map(Prepared::stored_bytes).sum();
        if bytes <= max_bytes {
            return Ok(());
        }
        let events = appends.iter_mut().flat_map(|append| &mut append.events);
        match events.max_by_key(|event| event.inline_bytes()) {
            Some(largest) if largest.inline_bytes() >= SPILL_MIN_BYTES => {
                largest.body = spill(&largest.event.body, blob_max_bytes)?;
            }
            _ => {
                return Err(AppendError::TooLarge {
                    what: "an append",
                    bytes: bytes as u64,
                    max_bytes: max_bytes as u64,
                });
            }
        }
    }
}

/// Cuts an append in pieces that fit a frame each. `step.retry_scheduled` and `tool.approval_requested` stay with the
/// event before them: nothing would record them later.
pub fn cut(append: Prepared, blob_max_bytes: usize) -> Result<Vec<Prepared>, AppendError> {
    let cuts = places_to_cut(&append);
    let Prepared { stream, expected, mut events, bodies } = append;
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    for at in cuts.into_iter().rev() {
        let events = events.split_off(at);
        pieces.push(Prepared { stream: stream.clone(), expected: Expected::Any, events, bodies: bodies.clone() });
    }
    pieces.push(Prepared { stream, expected, events, bodies });
    pieces.reverse();
    for piece in &mut pieces {
        fit_one_frame(std::slice::from_mut(piece), blob_max_bytes)?;
    }
    Ok(pieces)
}

/// The events that begin pieces, but for the first.
fn places_to_cut(append: &Prepared) -> Vec<usize> {
    let max_bytes = FRAME_MAX_BYTES - FRAME_OVERHEAD_BYTES;
    let (mut cuts, mut piece_bytes, mut at) = (Vec::new(), 0, 0);
    // What stays together is a unit: it may come to more than fits a frame, where its bodies are moved to blobs later.
    let belongs = |_: &PreparedEvent, next: &PreparedEvent| {
        matches!(&next.event.body, EventBody::StepRetryScheduled(_) | EventBody::ToolApprovalRequested(_))
    };
    for unit in append.events.chunk_by(belongs) {
        let bytes: usize = unit.iter().map(PreparedEvent::stored_bytes).sum();
        if at > 0 && piece_bytes + bytes > max_bytes {
            cuts.push(at);
            piece_bytes = 0;
        }
        piece_bytes += bytes;
        at += unit.len();
    }
    cuts
}

fn spill(body: &EventBody, blob_max_bytes: usize) -> Result<PreparedBody, AppendError> {
    let data = body.data_json().into_bytes();
    check_blob_size(data.len(), blob_max_bytes)?;
    Ok(PreparedBody::Blob(Hash::of(&data), data))
}

/// Checks a blob against the limit.
pub fn check_blob_size(bytes: usize, max_bytes: usize) -> Result<(), AppendError> {
    if bytes > max_bytes {
        return Err(AppendError::TooLarge { what: "data", bytes: bytes as u64, max_bytes: max_bytes as u64 });
    }
    Ok(())
}
