//! What the machine does at best: bytes appended to a file, each group followed by `fdatasync`.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

/// A file that only grows.
pub struct RawFile {
    file: File,
}

impl RawFile {
    /// Makes the file in `dir`.
    pub fn create(dir: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create_new(dir.join("raw"))? })
    }

    /// Appends and waits until it outlives a power cut.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }

    /// How often in a second `bytes` can be appended, one after the other.
    pub fn rate(&mut self, bytes: &[u8], time: Duration) -> io::Result<f64> {
        rate_of(time, || self.append(bytes).map(|()| 1))
    }
}

/// How many a second, where each call of `act` says how many it did.
pub fn rate_of<E>(time: Duration, mut act: impl FnMut() -> Result<usize, E>) -> Result<f64, E> {
    let begun = Instant::now();
    let mut done = 0;
    while begun.elapsed() < time {
        done += act()?;
    }
    Ok(done as f64 / begun.elapsed().as_secs_f64())
}
