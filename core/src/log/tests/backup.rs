//! Backups: whole, of one moment, and refused where they are not what was written.

use super::*;
use crate::{log::waiters::wait_blocking, storage::Space};

fn bytes_of(log: &Log) -> (u64, Vec<u8>) {
    let mut backup = wait_blocking(log.backup());
    let mut all = Vec::new();
    while let Some(bytes) = backup.next_bytes().unwrap() {
        all.extend(bytes);
    }
    (backup.position(), all)
}

fn filled() -> Log {
    let (log, _) = empty();
    for n in 0..20u8 {
        put(&log, saying(&job(n % 3), &["a", &"large".repeat(usize::from(n) * 1_000)]));
    }
    put(&log, Append::new(job(1), Expected::Open, vec![ended()]));
    wait_blocking(log.begin_removal()).unwrap().remove(&[job(1)], 7).unwrap();
    log
}

#[test]
fn what_is_backed_up_comes_back_and_goes_on() {
    let log = filled();
    let (position, bytes) = bytes_of(&log);
    assert_eq!(position, 41);
    let storage = Arc::new(MemoryStorage::new());
    let content = restore(bytes.as_slice(), &*storage).unwrap();
    assert_eq!(content, check_backup(bytes.as_slice()).unwrap());
    assert_eq!((content.position, content.chain), (41, log.verify().unwrap().chain));
    let (restored, report) = open(&storage, options());
    assert!(!report.is_repaired() && restored.verify().unwrap().is_sound(), "{report:?}");
    assert_eq!(restored.read(0, 99).unwrap(), log.read(0, 99).unwrap());
    assert_eq!(restored.places(0, 99).unwrap(), log.places(0, 99).unwrap());
    assert_eq!((restored.removed_through().unwrap(), restored.has_gaps()), (7, true));
    let next = put(&restored, saying(&job(2), &["goes on"]));
    assert_eq!(next.first_position, 42);
    let (_, empty) = bytes_of(&empty().0);
    assert_eq!(restore(empty.as_slice(), &MemoryStorage::new()).unwrap().position, 0);
}

#[test]
fn a_backup_is_of_one_moment_while_more_is_appended() {
    let log = filled();
    let mut backup = wait_blocking(log.backup());
    let mut all = backup.next_bytes().unwrap().unwrap();
    while let Some(bytes) = backup.next_bytes().unwrap() {
        all.extend(bytes);
        put(&log, saying(&job(2), &[&"more".repeat(20_000)]));
    }
    assert!(log.head() > 50);
    let storage = Arc::new(MemoryStorage::new());
    assert_eq!(restore(all.as_slice(), &*storage).unwrap().position, 41);
    let (restored, _) = open(&storage, options());
    let events = log.read(0, 999).unwrap();
    let before = events.into_iter().take_while(|event| event.position <= 41);
    assert_eq!(restored.read(0, 99).unwrap(), before.collect::<Vec<_>>());
}

#[test]
fn what_is_not_a_whole_backup_is_refused() {
    let (_, bytes) = bytes_of(&filled());
    for cut in [0, 1, 16, 17, 18, 100, bytes.len() / 2, bytes.len() - 33, bytes.len() - 1] {
        let refused = check_backup(&bytes[..cut]).unwrap_err().to_string();
        assert!(refused.contains("was cut") || (cut < 17 && refused.contains("no backup")), "{cut}: {refused}");
    }
    for at in (0..bytes.len()).step_by(997).chain(bytes.len() - 120..bytes.len()) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let (checked, restored) =
            (check_backup(flipped.as_slice()), restore(flipped.as_slice(), &MemoryStorage::new()));
        assert!(matches!(checked, Err(RestoreError::Invalid(_))), "byte {at}: {checked:?}");
        assert!(restored.is_err(), "byte {at}");
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert!(check_backup(longer.as_slice()).unwrap_err().to_string().contains("behind its end"));
    assert!(check_backup(&b"{\"moonlog_bundle\":1}"[..]).unwrap_err().to_string().contains("no backup"));
}

#[test]
fn blobs_that_no_event_names_are_left_out() {
    let (log, storage) = empty();
    log.put_blob(vec![1; 1_000]).unwrap();
    put(&log, saying(&job(1), &["a"]));
    assert_eq!(storage.keys(Space::Blobs).len(), 2);
    let restored = MemoryStorage::new();
    restore(bytes_of(&log).1.as_slice(), &restored).unwrap();
    assert!(restored.keys(Space::Blobs).is_empty());
}
