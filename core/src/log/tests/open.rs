//! What the start does with the index, and what it refuses.

use super::*;
use crate::storage::{Space, StorageError, Write};

#[test]
fn a_clean_start_reads_nothing_again() {
    let (log, storage) = empty();
    for n in 0..50u8 {
        put(&log, saying(&job(n % 5), &["x"]));
    }
    log.close();
    drop(log);
    let (log, report) = open(&storage, options());
    assert_eq!(report, OpenReport { head: 50, ..OpenReport::default() });
    assert_eq!(log.read_stream(&job(2), 0, 100).unwrap().len(), 10);
}

#[test]
fn after_a_crash_only_what_came_since_the_last_page_is_read_again() {
    let storage = Arc::new(MemoryStorage::new());
    let small = || LogOptions { index_flush_events: 50, ..cramped() };
    let (log, _) = open(&storage, small());
    for n in 0..1000u64 {
        put(&log, saying(&job((n % 7) as u8), &["x"]));
    }
    let (after, report) = open(&Arc::new(storage.after_power_cut(0)), small());
    assert!((1..200).contains(&report.indexed_events), "{report:?}");
    for n in 0..7u8 {
        assert_eq!(after.read_stream(&job(n), 0, 999).unwrap(), log.read_stream(&job(n), 0, 999).unwrap());
    }
}

#[test]
fn the_index_is_rebuilt_from_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, cramped());
    for n in 0..300u64 {
        put(&log, saying(&job((n % 7) as u8), &["x"]));
    }
    log.close();
    let bare = Arc::new(storage.after_power_cut(0));
    let index = bare.keys(Space::Index);
    assert!(index.len() > 7);
    // Also where only the note is gone that says how far it is whole, or some of the pages with it.
    for keep in [0, 3, index.len() - 1] {
        let bare = Arc::new(storage.after_power_cut(0));
        bare.write(index[..index.len() - keep].iter().map(|key| Write::delete(Space::Index, key.clone())).collect())
            .unwrap();
        let (after, report) = open(&bare, cramped());
        assert_eq!(report.indexed_events, 300);
        for n in 0..7u8 {
            assert_eq!(after.read_stream(&job(n), 0, 999).unwrap(), log.read_stream(&job(n), 0, 999).unwrap());
        }
        assert!(after.verify().unwrap().is_sound());
    }
}

#[test]
fn a_newer_grammar_is_refused_by_name() {
    let (log, storage) = empty();
    put(&log, saying(&job(1), &["x"]));
    log.close();
    storage.write(vec![Write::put(Space::Meta, "log format", 7u32.to_le_bytes())]).unwrap();
    let Err(refused) = Log::open(storage as Arc<dyn Storage>, options()) else { panic!("opened") };
    assert!(matches!(refused, OpenError::Storage(StorageError::NewerFormat { found: 7, .. })), "{refused}");
    assert!(refused.to_string().contains("format 7"), "{refused}");
}

#[test]
fn an_empty_log_is_sound() {
    let (log, _) = empty();
    assert_eq!(log.head(), 0);
    assert!(log.read(0, 10).unwrap().is_empty());
    let report = log.verify().unwrap();
    assert!(report.is_sound() && report.events == 0);
}
