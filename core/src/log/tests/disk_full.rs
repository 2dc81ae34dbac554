//! A disk that is really full. Needs a file system of a few dozen MiB, so it is run by hand:
//! `mount -t tmpfs -o size=60m tmpfs /mnt/tiny; MOONLOG_TINY_DIR=/mnt/tiny cargo test -p moonlog-core disk_full -- --ignored`

use super::*;
use crate::storage::{SledOptions, open_sled};
use std::{fs, path::PathBuf};

#[test]
#[ignore = "needs a small file system"]
fn nothing_acknowledged_is_lost_when_the_disk_is_full() {
    let folder = PathBuf::from(std::env::var_os("MOONLOG_TINY_DIR").unwrap());
    let (data, ballast) = (folder.join("data"), folder.join("ballast"));
    fs::write(&ballast, vec![1; 20 << 20]).unwrap();
    let open = || Log::open(open_sled(&data, SledOptions::default()).unwrap(), options());
    let (log, _) = open().unwrap();
    let mut acknowledged = 0;
    let poisoned = loop {
        let appended = log.append(saying(&job(1), &["x".repeat(256).as_str()])).unwrap();
        match log.durable_blocking(appended.last_position) {
            Ok(()) => acknowledged = appended.last_position,
            Err(poisoned) => break poisoned,
        }
    };
    assert!(poisoned.disk_full, "{poisoned}");
    assert!(matches!(log.append(saying(&job(1), &["x"])), Err(AppendError::Poisoned(_))));
    assert_eq!(log.head(), acknowledged);
    let check = |log: &Log| {
        assert_eq!(log.read(0, usize::MAX).unwrap().len() as u64, log.head());
        assert_eq!(log.read_stream(&job(1), 0, usize::MAX).unwrap().len() as u64, log.head());
        assert!(log.verify().unwrap().is_sound());
    };
    check(&log);
    drop(log);

    if let Err(error) = open_sled(&data, SledOptions::default()) {
        assert!(error.is_disk_full(), "{error}");
    }
    fs::remove_file(ballast).unwrap();
    let (log, report) = open().unwrap();
    assert!(log.head() >= acknowledged && !report.is_repaired(), "{acknowledged} {report:?}");
    check(&log);
    put(&log, saying(&job(1), &["goes on"]));
}
