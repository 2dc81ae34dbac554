//! The data folder: whether it can be written to, who has it, what wrote it, and how much room there is.

use super::Finding;
use crate::config::Config;
use moonlog_core::storage::FORMAT_VERSION;
use nix::{
    sys::statvfs::statvfs,
    unistd::{AccessFlags, access},
};
use std::{
    fs::{File, TryLockError},
    path::Path,
};

/// Less free than so many times the reserve is worth a warning.
const SCARCE_RESERVES: u64 = 8;

/// Looks at it. `served` says that a server of it answers.
pub fn look(config: &Config, served: bool) -> Vec<Finding> {
    let folder = &config.log.folder;
    let mut found = vec![writable(folder)];
    if folder.is_dir() {
        found.push(format(folder));
        found.push(lock(folder, served));
    }
    found.extend(room(folder, config.log.reserve_bytes));
    found
}

/// The folder, or the nearest above it that is there.
fn there(folder: &Path) -> &Path {
    let mut at = folder;
    while !at.exists() {
        match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => at = parent,
            _ => return Path::new("."),
        }
    }
    at
}

fn writable(folder: &Path) -> Finding {
    const WHAT: &str = "data folder";
    let at = there(folder);
    if !at.is_dir() {
        return Finding::wrong(WHAT, format!("{} is no folder", at.display())).hint("--data DIR names another");
    }
    if let Err(error) = access(at, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        return Finding::wrong(WHAT, format!("{} cannot be written to: {error}", at.display()))
            .hint("give this user the right to write there, or name another folder with --data");
    }
    let made = if at == folder { "" } else { "; it is made at the first start" };
    Finding::ok(WHAT, format!("{}{made}", folder.display()))
}

fn format(folder: &Path) -> Finding {
    const WHAT: &str = "data format";
    match std::fs::read_to_string(folder.join("format")) {
        Ok(text) => match text.trim().rsplit(' ').next().and_then(|number| number.parse::<u32>().ok()) {
            Some(found) if found == FORMAT_VERSION => Finding::ok(WHAT, format!("{found}")),
            Some(found) => Finding::wrong(WHAT, format!("{found}, and this version reads {FORMAT_VERSION}"))
                .hint("run the version of moonlog that wrote it, or use another folder with --data"),
            None => Finding::wrong(WHAT, "the file `format` is none of moonlog's")
                .hint("name a folder of moonlog's own with --data"),
        },
        Err(_) if folder.join("log").exists() => Finding::wrong(WHAT, "the file `format` is missing beside a store")
            .hint("restore the folder from a copy, or name another with --data"),
        Err(_) => Finding::ok(WHAT, format!("{FORMAT_VERSION}, written at the first start")),
    }
}

/// A server holds the lock alone; asked for together with others it is free where none does.
fn lock(folder: &Path, served: bool) -> Finding {
    const WHAT: &str = "data lock";
    let Ok(file) = File::open(folder.join("lock")) else { return Finding::ok(WHAT, "free") };
    match (file.try_lock_shared(), served) {
        (Ok(()), _) => Finding::ok(WHAT, "free"),
        (Err(TryLockError::WouldBlock), true) => Finding::ok(WHAT, "held by the server that answers"),
        (Err(TryLockError::WouldBlock), false) => {
            Finding::wrong(WHAT, "held by another moonlog, and no server of it answers")
                .hint("stop that process, or name another folder with --data")
        }
        (Err(TryLockError::Error(error)), _) => {
            Finding::wrong(WHAT, format!("cannot be looked at: {error}")).hint("use a file system with locks")
        }
    }
}

fn room(folder: &Path, reserve_bytes: u64) -> Option<Finding> {
    const WHAT: &str = "free space";
    let stat = statvfs(there(folder)).ok()?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    let shown = format!("{} MiB free, {} MiB of it are kept as a reserve", free >> 20, reserve_bytes >> 20);
    Some(if free <= reserve_bytes.saturating_mul(2) {
        Finding::wrong(WHAT, format!("{shown}: the log would refuse to write")).hint("make room on that disk")
    } else if free < reserve_bytes.saturating_mul(SCARCE_RESERVES) {
        Finding::warning(WHAT, shown).hint("make room on that disk")
    } else {
        Finding::ok(WHAT, shown)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;

    fn levels(folder: &Path, served: bool) -> Vec<(String, Level)> {
        let config = crate::config::Config::load(None, [("MOONLOG_DATA".into(), folder.display().to_string())], &[]);
        let found = look(&config.unwrap().config, served);
        found.into_iter().map(|finding| (finding.check, finding.level)).collect()
    }

    fn level(all: &[(String, Level)], check: &str) -> Level {
        all.iter().find(|(known, _)| known == check).unwrap().1
    }

    #[test]
    fn a_folder_that_is_not_there_is_made_and_a_file_in_its_place_is_wrong() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(level(&levels(&place.path().join("a/b"), false), "data folder"), Level::Ok);
        std::fs::write(place.path().join("file"), "").unwrap();
        assert_eq!(level(&levels(&place.path().join("file"), false), "data folder"), Level::Wrong);
    }

    #[test]
    fn another_format_and_a_held_lock_are_wrong() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("format"), "moonlog data, format 99\n").unwrap();
        let lock = File::create(place.path().join("lock")).unwrap();
        lock.lock().unwrap();
        let all = levels(place.path(), false);
        assert_eq!((level(&all, "data format"), level(&all, "data lock")), (Level::Wrong, Level::Wrong));
        assert_eq!(level(&levels(place.path(), true), "data lock"), Level::Ok);
        drop(lock);
        assert_eq!(level(&levels(place.path(), false), "data lock"), Level::Ok);
    }
}
