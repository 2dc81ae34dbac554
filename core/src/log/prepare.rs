//! What can be done for an append before its place in the log is known: encoding, and moving large data to blobs.

use super::{
    Append, AppendError, Expected,
    blobs::CHUNK_MAX_BYTES,
    frame::{FRAME_MAX_BYTES, FRAME_OVERHEAD_BYTES, RECORD_LENGTH_BYTES},
    record::{RECORD_OVERHEAD_BYTES, stream_references},
};
use crate::{
    event::{EventBody, NewEvent, StreamId},
    id::Hash,
};

/// Smaller bodies are not worth a blob, even where an append does not fit.
const SPILL_MIN_BYTES: usize = 1024;

/// An append that is ready for its place.
pub struct Prepared {
    /// The stream.
    pub stream: StreamId,
    /// What must hold of it.
    pub expected: Expected,
    /// The events.
    pub events: Vec<PreparedEvent>,
}

/// An event that is ready for its place.
pub struct PreparedEvent {
    /// The event, with the references that follow from its stream.
    pub event: NewEvent,
    /// Its fields' stored form.
    pub body: PreparedBody,
}

/// Where an event's fields will be stored.
pub enum PreparedBody {
    /// In its record.
    Inline(Vec<u8>),
    /// Apart: `data` as JSON text, and its hash.
    Blob(Hash, Vec<u8>),
}

impl PreparedEvent {
    /// No less than what it takes in a frame, in bytes.
    pub fn stored_bytes(&self, stream: &StreamId) -> usize {
        let body = match &self.body {
            PreparedBody::Inline(bytes) => bytes.len(),
            PreparedBody::Blob(..) => 0,
        };
        let name = if let StreamId::Schedule(name) = stream { name.len() } else { 0 };
        let step = self.event.step.as_ref().map_or(0, |step| step.len());
        RECORD_LENGTH_BYTES + RECORD_OVERHEAD_BYTES + body + name + step
    }
}

impl Prepared {
    /// No less than what it takes in a frame, in bytes.
    pub fn stored_bytes(&self) -> usize {
        self.events.iter().map(|event| event.stored_bytes(&self.stream)).sum()
    }
}

/// Encodes an append's events.
pub fn prepare(append: Append, blob_max_bytes: usize) -> Result<Prepared, AppendError> {
    let Append { stream, expected, events } = append;
    if events.is_empty() {
        return Err(AppendError::Empty { stream });
    }
    let (job, session, process) = stream_references(&stream);
    let prepare_event = |mut event: NewEvent| -> Result<PreparedEvent, AppendError> {
        event.job = event.job.or(job);
        event.session = event.session.or(session);
        event.process = event.process.or(process);
        let body = event.body.encode()?;
        let body =
            if body.len() > CHUNK_MAX_BYTES { spill(&event.body, blob_max_bytes)? } else { PreparedBody::Inline(body) };
        Ok(PreparedEvent { event, body })
    };
    let events = events.into_iter().map(prepare_event).collect::<Result<_, _>>()?;
    Ok(Prepared { stream, expected, events })
}

/// Makes several appends fit one frame, by moving the largest bodies to blobs.
pub fn fit_one_frame(appends: &mut [Prepared], blob_max_bytes: usize) -> Result<(), AppendError> {
    let max_bytes = FRAME_MAX_BYTES - FRAME_OVERHEAD_BYTES;
    loop {
        let bytes: usize = appends.iter().map(Prepared::stored_bytes).sum();
        if bytes <= max_bytes {
            return Ok(());
        }
        let inline = |event: &PreparedEvent| match &event.body {
            PreparedBody::Inline(body) => body.len(),
            PreparedBody::Blob(..) => 0,
        };
        let events = appends.iter_mut().flat_map(|append| &mut append.events);
        match events.max_by_key(|event| inline(event)) {
            Some(largest) if inline(largest) >= SPILL_MIN_BYTES => {
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
    let Prepared { stream, expected, mut events } = append;
    let mut pieces = Vec::with_capacity(cuts.len() + 1);
    for at in cuts.into_iter().rev() {
        let events = events.split_off(at);
        pieces.push(Prepared { stream: stream.clone(), expected: Expected::Any, events });
    }
    pieces.push(Prepared { stream, expected, events });
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
        matches!(next.event.body, EventBody::StepRetryScheduled(_) | EventBody::ToolApprovalRequested(_))
    };
    for unit in append.events.chunk_by(belongs) {
        let bytes: usize = unit.iter().map(|event| event.stored_bytes(&append.stream)).sum();
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
