//! sled's own sync, made one that outlives a power cut.
//!
//! On Linux sled ends each write in `sync_file_range`. That waits until the disk has taken the bytes, but not until they are safe
//! from a power cut, nor does it write the file's length: behind each flush came an `fdatasync`, a second way to the disk. In
//! this program the name of that call leads here, and what sled waits for is `fdatasync` itself: what it then holds for
//! written down is, also where it uses a segment again whose pages it has moved.
//!
//! Where that fails, sled is not told: what it has written it could not read any more. The flush behind which it happened fails
//! instead, and so does each one after it.

use nix::{errno::Errno, sys::stat::fstat, unistd::fdatasync};
use std::{
    collections::BTreeMap,
    ffi::{c_int, c_uint},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// A file, by its device and number.
type Identity = (u64, u64);

/// Whether sled was seen here: on Linux it is.
static CAME_HERE: AtomicBool = AtomicBool::new(false);
/// Of which files a sync has failed, and with what first.
static FAILED: Mutex<BTreeMap<Identity, Errno>> = Mutex::new(BTreeMap::new());

/// Makes what sled has flushed durable: that is done already where its calls come here.
///
/// # Errors
/// Where a sync of its file has failed, now or before.
pub(super) fn after_flush(file: &File) -> io::Result<()> {
    if !CAME_HERE.load(Ordering::Relaxed) {
        return file.sync_data();
    }
    let failed = failed();
    // It is asked after every group, and nothing ever failed.
    if failed.is_empty() {
        return Ok(());
    }
    failed.get(&identity(file.as_fd())?).map_or(Ok(()), |error| Err((*error).into()))
}

/// Forgets failures of a file that is opened anew: its content is what the disk has.
pub(super) fn opened(file: &File) -> io::Result<()> {
    let identity = identity(file.as_fd())?;
    failed().remove(&identity);
    Ok(())
}

fn failed() -> MutexGuard<'static, BTreeMap<Identity, Errno>> {
    FAILED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(file: BorrowedFd<'_>) -> nix::Result<Identity> {
    let stat = fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Takes the C library's place. Nothing else in this program calls it.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "sled names the function of the C library; so its name has to be that")]
// SAFETY: the arguments and the result are those of the C library's function, and what it promises is promised here.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(file: c_int, _from: i64, _bytes: i64, _flags: c_uint) -> c_int {
    CAME_HERE.store(true, Ordering::Relaxed);
    // SAFETY: whoever calls this keeps it open meanwhile.
    let file = unsafe { BorrowedFd::borrow_raw(file) };
    let Err(error) = fdatasync(file) else { return 0 };
    // The caller learns of an error by `errno`, which the last call has set.
    let Ok(identity) = identity(file) else { return -1 };
    failed().entry(identity).or_insert(error);
    0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{
        super::{SledOptions, open_when_free},
        *,
    };
    use std::os::fd::{AsRawFd, OwnedFd};

    /// One test: a call of its own would hide that sled's does not come here.
    #[test]
    fn what_sled_waits_for_is_fdatasync_and_one_that_failed_is_told_until_the_file_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_when_free(folder.path(), &SledOptions::default()).unwrap();
        store.insert(b"key", b"value").unwrap();
        store.flush().unwrap();
        assert!(
            CAME_HERE.load(Ordering::Relaxed),
            "the name of the call does not lead here: each group takes two syncs"
        );
        // A pipe cannot be synced.
        let (reader, _writer) = io::pipe().unwrap();
        let pipe_file = File::from(OwnedFd::from(reader));
        assert_eq!(sync_file_range(pipe_file.as_raw_fd(), 0, 0, 0), 0, "sled goes on");
        let other = tempfile::tempfile().unwrap();
        assert!(after_flush(&pipe_file).is_err() && after_flush(&pipe_file).is_err());
        assert!(after_flush(&other).is_ok(), "another file has not failed");
        opened(&pipe_file).unwrap();
        assert!(after_flush(&pipe_file).is_ok());
    }
}
