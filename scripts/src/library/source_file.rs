//! The file of a workflow, read so that nothing which lies in a folder of workflows can hold the server up, fill its
//! memory, or show what stands elsewhere: a folder may come with somebody else's repository.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Why a file's text is not to be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("is a pipe, a device or a socket, and no file")]
    Special,
    #[error(
        "is a link that leads out of its folder: put the file itself there, or name the folder it is in under \
         runner.workflow_folders"
    )]
    LeadsOut,
    #[error("the file is longer than {limit_bytes} bytes")]
    TooLong { limit_bytes: u64 },
    #[error("is not valid UTF-8")]
    NotText,
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The text of `path`, which stands in a folder of workflows.
///
/// What was opened is what is judged: it can be put in another's place at any moment.
pub(super) fn read(path: &Path, limit_bytes: u64) -> Result<String, Unreadable> {
    // Opening a device can do something by itself, so that it is not even tried where it can be known.
    if !fs::metadata(path)?.is_file() {
        return Err(Unreadable::Special);
    }
    // A pipe that was put in the file's place is not waited for.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Unreadable::Special);
    }
    if leads_out(path, &file)? {
        return Err(Unreadable::LeadsOut);
    }
    // A file can grow while it is read, and those of the kernel's say that they are empty.
    let mut bytes = Vec::new();
    if file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)? as u64 > limit_bytes {
        return Err(Unreadable::TooLong { limit_bytes });
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::NotText)
}

/// Whether `file`, which was opened as `path`, is in another folder than it stands in.
fn leads_out(path: &Path, file: &File) -> io::Result<bool> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let opened: PathBuf = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(!opened.starts_with(folder.canonicalize()?))
}
