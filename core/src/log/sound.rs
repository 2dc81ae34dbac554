//! What stands before the first damage of a log that does not open: a log that is only read.

use super::{
    Damage, Log, LogOptions, OpenError, ReadError,
    frame::{Frame, frame_key},
    open::damage,
    verify::verify,
};
use crate::storage::{Direction, Part, Space, Storage};
use std::{ops::Bound, sync::Arc};

impl Log {
    /// Opens what stands before the first damage, and says where that is. The log takes no events, and the storage is left as it is.
    ///
    /// # Errors
    /// Where nothing of it can be read, or it is not damaged.
    pub fn open_sound_part(storage: &Arc<dyn Storage>, options: &LogOptions) -> Result<(Self, Damage), OpenError> {
        let mut first = first_damage(&**storage)?;
        loop {
            let why = format!("the log is damaged {first}; what stands before can be read, and nothing be written");
            let part = Part::new(storage.clone(), first_frame_of(&**storage, first.position), why);
            match Self::open(Arc::new(part), options.clone()) {
                Ok((log, _)) => return Ok((log, first)),
                Err(OpenError::Damaged(earlier)) if earlier.position < first.position => first = earlier,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The first damage that keeps a log from being opened. A blob that is damaged is found by who reads it.
fn first_damage(storage: &dyn Storage) -> Result<Damage, OpenError> {
    let report = verify(storage).map_err(damage)?;
    let blobs = format!("{}/", Space::Blobs.name());
    let of_frames =
        report.damage.into_iter().filter(|damage| damage.place.as_ref().is_none_or(|place| !place.starts_with(&blobs)));
    let first = of_frames.min_by_key(|damage| damage.position);
    first.ok_or_else(|| {
        damage(ReadError::Damaged(Damage::new(1, "its frames are sound: what is damaged is something else")))
    })
}

/// The key of the frame in which the event at `position` stands, or should.
fn first_frame_of(storage: &dyn Storage, position: u64) -> Vec<u8> {
    let up_to = Bound::Included(frame_key(position));
    let last = storage.scan(Space::Frames, Bound::Unbounded, up_to, Direction::Backward, 1);
    match last.ok().and_then(|mut entries| entries.pop()) {
        Some((key, value)) => match Frame::read(&key, value) {
            Ok(frame) if frame.last_position() < position => frame_key(position),
            _ => key,
        },
        None => frame_key(position),
    }
}
