//! Files that become others by a rename, until they do. A server that is killed leaves them behind: each is locked as long as somebody
//! writes it, so that what nobody will ever rename can be told, and is taken away by the next who writes to the folder or looks at the worktree.

use nix::{
    fcntl::{OFlag, openat},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const PREFIX: &str = ".moonlog-";
const SUFFIX: &str = ".tmp";
/// A file is made before it is locked: a younger one may be about to be.
const LEAST_AGE: Duration = Duration::from_secs(10);
/// In how many folders nothing is looked for again.
const FOLDERS_MAX: usize = 4_096;

/// Where nothing of an earlier server's is left, by device and inode.
static SWEPT: Mutex<Option<HashSet<(u64, u64)>>> = Mutex::new(None);

/// A name that no other file has.
pub(crate) fn name() -> OsString {
    format!("{PREFIX}{}{SUFFIX}", uuid::Uuid::now_v7().simple()).into()
}

/// Makes the file of this name in `folder`, and locks it. It is open for writing.
///
/// # Errors
/// What the system says.
pub(crate) fn create(folder: impl AsFd, name: &OsString) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(openat(folder, name.as_os_str(), flags, Mode::from_bits_truncate(0o666))?);
    // Where locks are not to be had, nothing is swept either.
    let _ = file.try_lock();
    Ok(file)
}

/// Whether a file of this name is one of these.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    made_at(name).is_some()
}

/// When the file of this name was made, if it is one of these.
fn made_at(name: &[u8]) -> Option<SystemTime> {
    let id = std::str::from_utf8(name).ok()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let id = uuid::Uuid::try_parse(id).ok().filter(|parsed| parsed.simple().to_string() == id)?;
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// Takes away what earlier servers have left in `folder`, once in a life of this one. What cannot be taken away stays.
pub(crate) fn sweep(folder: &File) {
    let Ok(place) = folder.metadata().map(|metadata| (metadata.dev(), metadata.ino())) else { return };
    if swept(|folders| folders.contains(&place)) {
        return;
    }
    match sweep_now(folder) {
        Ok(true) => swept(|folders| {
            if folders.len() >= FOLDERS_MAX {
                folders.clear();
            }
            folders.insert(place);
        }),
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "a folder was not looked through for files of earlier servers"),
    }
}

/// The same for a folder by its path.
pub(crate) fn sweep_path(folder: &Path) {
    if let Ok(folder) = File::open(folder) {
        sweep(&folder);
    }
}

fn swept<R>(look: impl FnOnce(&mut HashSet<(u64, u64)>) -> R) -> R {
    look(SWEPT.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// Whether there is nothing more to come.
fn sweep_now(folder: &File) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    let mut all = true;
    for entry in fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))? {
        let name = entry?.file_name();
        let Some(made_at) = made_at(name.as_encoded_bytes()) else { continue };
        let is_old = SystemTime::now().duration_since(made_at).is_ok_and(|age| age >= LEAST_AGE);
        if is_old && is_left(folder, &name) {
            let _ = unlinkat(folder, name.as_os_str(), UnlinkatFlags::NoRemoveDir);
        } else {
            all = false;
        }
    }
    Ok(all)
}

/// Whether nobody writes the file: a regular one of our own user's, that nobody has locked.
fn is_left(folder: &File, name: &OsString) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let Ok(file) = openat(folder, name.as_os_str(), flags, Mode::empty()).map(File::from) else { return false };
    let ours =
        file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.uid() == nix::unistd::geteuid().as_raw());
    ours && file.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A name as it was given an hour ago.
    fn old() -> OsString {
        let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - Duration::from_secs(3_600);
        let time = uuid::Timestamp::from_unix(uuid::NoContext, then.as_secs(), 0);
        format!("{PREFIX}{}{SUFFIX}", uuid::Uuid::new_v7(time).simple()).into()
    }

    #[test]
    fn what_a_killed_server_left_goes_and_nothing_else() {
        let world = tempfile::tempdir().unwrap();
        let folder = File::open(world.path()).unwrap();
        let path = |name: &OsString| world.path().join(name);
        let (left, linked, directory, locked, young) = (old(), old(), old(), old(), name());
        fs::write(path(&left), "half").unwrap();
        symlink("elsewhere", path(&linked)).unwrap();
        fs::create_dir(path(&directory)).unwrap();
        let writer = create(&folder, &locked).unwrap();
        fs::write(path(&young), "a moment ago").unwrap();
        for other in [".moonlog-.tmp", ".moonlog-1.tmp", "moonlog.tmp", ".moonlog-00000000000000000000000000000000.tmp"]
        {
            fs::write(world.path().join(other), "").unwrap();
        }
        sweep(&folder);
        assert!(!path(&left).exists());
        assert_eq!(fs::read_dir(world.path()).unwrap().count(), 8);
        // It is looked for again as long as something may be left.
        drop(writer);
        sweep(&folder);
        assert!(!path(&locked).exists());
        for name in [linked, directory, young] {
            fs::remove_file(path(&name)).or_else(|_| fs::remove_dir(path(&name))).unwrap();
        }
        sweep(&folder);
        let late = old();
        fs::write(path(&late), "").unwrap();
        sweep(&folder);
        assert!(path(&late).exists(), "a folder that was swept is not looked at again");
    }
}
