//! Zeros behind what is written to a file that grows. A write that makes a file longer, or takes new blocks of the disk,
//! has the sync behind it wait for the file system's journal as well; one over zeros does not.

use std::{fs::File, os::unix::fs::FileExt};

/// How many zeros are added at once, in bytes.
const STEP_BYTES: u64 = 256 << 10;
/// With less room than this, more is made, in bytes.
const LEAST_BYTES: u64 = 512 << 10;
/// After how much was written it is looked how much room is left, in bytes.
const LOOK_BYTES: u64 = 64 << 10;
/// Who writes more than this in one go gains less from room than it costs, in bytes.
const GO_MAX_BYTES: u64 = 64 << 10;
const BLOCK_BYTES: u64 = 4 << 10;
/// Never written to, so it takes no memory.
static ZEROS: [u8; Room::step_bytes() as usize] = [0; Room::step_bytes() as usize];

/// See the module.
#[derive(Debug)]
pub(super) struct Room {
    file: File,
    /// How much was written since it was last looked.
    written: u64,
    /// How much was written in the last go.
    last: u64,
    /// Whether none can be made.
    off: bool,
}

impl Room {
    /// Room in `file`. Makes none yet.
    pub(super) const fn new(file: File) -> Self {
        Self { file, written: LOOK_BYTES, last: 0, off: false }
    }

    /// How much [`Self::make`] takes of the disk at most.
    pub(super) const fn step_bytes() -> u64 {
        STEP_BYTES + BLOCK_BYTES
    }

    /// Counts what was written and synced in one go.
    pub(super) const fn count(&mut self, bytes: u64) {
        self.written += bytes;
        self.last = bytes;
    }

    /// Whether there is too little room, as far as can be seen. Nothing but time depends on it.
    pub(super) fn is_short(&mut self) -> bool {
        if self.off || self.written < LOOK_BYTES || self.last > GO_MAX_BYTES {
            return false;
        }
        self.written = 0;
        let mut block = [0; BLOCK_BYTES as usize];
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        match length.checked_sub(LEAST_BYTES) {
            None => true,
            Some(at) => self.file.read_exact_at(&mut block, at).is_ok() && block.iter().any(|byte| *byte != 0),
        }
    }

    /// Makes more room behind the file's end, up to whole blocks. Nobody else may write to the file meanwhile. Room is of
    /// use and no necessity: where none can be made, no more is tried.
    pub(super) fn make(&mut self) {
        let made = self.file.metadata().and_then(|metadata| {
            let end = (metadata.len() + STEP_BYTES).next_multiple_of(BLOCK_BYTES);
            self.file.write_all_at(&ZEROS[..(end - metadata.len()) as usize], metadata.len())
        });
        self.off = made.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_behind_what_is_there_and_when_it_runs_short() {
        let file = tempfile::tempfile().unwrap();
        let mut room = Room::new(file.try_clone().unwrap());
        let mut written = Vec::new();
        let mut made = 0;
        for n in 0..4000u64 {
            let bytes = vec![1 + (n % 255) as u8; 300 + n as usize % 700];
            file.write_all_at(&bytes, written.len() as u64).unwrap();
            written.extend(&bytes);
            room.count(bytes.len() as u64);
            if room.is_short() {
                room.make();
                made += 1;
            }
            let length = file.metadata().unwrap().len();
            assert!(length - written.len() as u64 <= LEAST_BYTES + 2 * STEP_BYTES, "{n}");
            assert!(length > written.len() as u64, "there is always some: {n}");
        }
        assert!(made < 20, "{made}");
        let mut read = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read.starts_with(&written));
        assert!(read[written.len()..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn who_writes_much_at_once_gets_none() {
        let file = tempfile::tempfile().unwrap();
        let mut room = Room::new(file);
        room.count(1 << 20);
        assert!(!room.is_short());
        room.count(1000);
        assert!(room.is_short());
    }
}
