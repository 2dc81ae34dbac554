//! Scripts as files: read as far as a script may be long, and only where they are files.

use super::Problem;
use std::{fs, io::Read, path::Path};

/// The text of a script's file.
///
/// # Errors
/// Why it is none.
pub(super) fn read_source(path: &Path) -> Result<String, Problem> {
    let wrong = |line, message: String| Problem { line, message };
    let unreadable = |error: std::io::Error| wrong(None, format!("cannot be read: {error}"));
    // To open a pipe would wait for somebody to write to it, and a device may have no end.
    let about = fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() {
        return Err(wrong(None, "is a pipe, a socket or a device, and no file".into()));
    }
    let limit = crate::Limits::default().source_bytes as u64;
    let mut source = Vec::new();
    // It may grow while it is read.
    fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut source)).map_err(unreadable)?;
    if source.len() as u64 > limit {
        let bytes = about.len().max(source.len() as u64);
        return Err(wrong(None, format!("the file is {bytes} bytes long, more than {limit} bytes")));
    }
    String::from_utf8(source).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(u32::try_from(line).ok(), "is not valid UTF-8".into())
    })
}
