//! Scripts as files: read as far as a script may be long, only where they are files, and only where they stand in the
//! folder that they were found in. A folder of scripts may come with somebody else's repository: nothing that lies in it
//! can hold the server up, fill its memory, or show what is elsewhere.

use super::Problem;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
};

/// The text of a script's file, which was found below `folder`.
///
/// What was opened is what is judged: it can be put in another's place at any moment.
///
/// # Errors
/// Why it is none.
pub(super) fn read_source(path: &Path, folder: &Path) -> Result<String, Problem> {
    let wrong = |line, message: String| Problem { line, message };
    let unreadable = |error: io::Error| wrong(None, format!("cannot be read: {error}"));
    let special = || wrong(None, "is a pipe, a socket or a device, and no file".into());
    // To open a device can do something by itself, so that it is not even tried where that can be known.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(special());
    }
    // A pipe that was put in the file's place meanwhile is not waited for.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(special());
    }
    if leads_out(&file, folder).map_err(unreadable)? {
        let why = "is a link that leads out of its folder: put the file itself there, or name the folder that it is in \
                   under runner.workflow_folders";
        return Err(wrong(None, why.into()));
    }
    let limit = crate::Limits::default().source_bytes as u64;
    let mut source = Vec::new();
    // It may grow while it is read.
    file.take(limit + 1).read_to_end(&mut source).map_err(unreadable)?;
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

/// Whether `file` stands elsewhere than below `folder`.
fn leads_out(file: &File, folder: &Path) -> io::Result<bool> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let opened = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(!opened.starts_with(folder.canonicalize()?))
}
