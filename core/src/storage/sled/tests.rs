//! Rewriting the store: nothing is lost, the disk gets its room back, and a rewriting that is cut off does no harm.

use super::{SledOptions, SledStorage, open_sled};
use crate::storage::{Direction, Entry, Space, Storage, StorageError, Write};
use std::{
    fs,
    ops::Bound,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

fn open(folder: &Path) -> Arc<SledStorage> {
    open_sled(folder, SledOptions::default()).unwrap()
}

fn all(storage: &dyn Storage) -> Vec<(Space, Vec<Entry>)> {
    let of = |space| storage.scan(space, Bound::Unbounded, Bound::Unbounded, Direction::Forward, usize::MAX).unwrap();
    Space::ALL.map(|space| (space, of(space))).to_vec()
}

fn value(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(8_000)
}

/// Frames of 32 KB each, and something in every other space.
fn fill(storage: &dyn Storage, numbers: std::ops::Range<u32>) {
    for n in numbers {
        let mut writes = vec![Write::put(Space::Frames, n.to_be_bytes(), value(n))];
        writes.extend(Space::ALL[1..].iter().map(|space| Write::put(*space, n.to_be_bytes(), n.to_le_bytes())));
        storage.write(writes).unwrap();
        if n % 50 == 0 {
            storage.sync().unwrap();
        }
    }
    storage.sync().unwrap();
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().unwrap().len() })
        .sum()
}

#[test]
fn the_disk_gets_its_room_back_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path());
    fill(&*storage, 0..500);
    let before = bytes_in(&folder.path().join("log"));
    assert!(before > 15 << 20, "{before}");
    let kept = |n: &u32| n.is_multiple_of(10);
    for n in (0..500).filter(|n| !kept(n)) {
        storage.write(vec![Write::delete(Space::Frames, n.to_be_bytes())]).unwrap();
    }
    storage.sync().unwrap();
    let deleted = bytes_in(&folder.path().join("log"));
    let there = all(&*storage);
    storage.rewrite().unwrap();
    let after = bytes_in(&folder.path().join("log"));
    println!("{before} bytes, {deleted} when nine of ten were deleted, {after} when it was rewritten");
    assert!(after < before / 2, "{before} bytes, {deleted} after the deletion, {after} after the rewriting");
    assert_eq!(all(&*storage), there);
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    names.retain(|name| name.to_string_lossy().starts_with("log"));
    assert_eq!(names, ["log"]);
    // It goes on, and is what is opened next time.
    fill(&*storage, 2_000..2_020);
    let there = all(&*storage);
    drop(storage);
    let storage = open(folder.path());
    assert_eq!(all(&*storage), there);
    storage.rewrite().unwrap();
    storage.rewrite().unwrap();
    assert_eq!(all(&*storage), there);
}

#[test]
fn writes_and_reads_go_on_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path());
    fill(&*storage, 0..100);
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (storage, done) = (storage.clone(), done.clone());
        thread::spawn(move || {
            let mut n = 1_000;
            while !done.load(Ordering::Relaxed) {
                fill(&*storage, n..n + 1);
                let other = (n - 1_000) % 100;
                storage.write(vec![Write::put(Space::Frames, other.to_be_bytes(), value(n))]).unwrap();
                storage.write(vec![Write::delete(Space::Blobs, other.to_be_bytes())]).unwrap();
                assert_eq!(storage.get(Space::Frames, &other.to_be_bytes()).unwrap().unwrap(), value(n));
                n += 1;
            }
            n
        })
    };
    for _ in 0..3 {
        storage.rewrite().unwrap();
    }
    done.store(true, Ordering::Relaxed);
    let end = writer.join().unwrap();
    let check = |storage: &dyn Storage| {
        for n in 1_000..end {
            assert_eq!(storage.get(Space::Frames, &n.to_be_bytes()).unwrap().unwrap(), value(n), "{n}");
        }
        for other in 0..100_u32 {
            let last = (1_000..end).rev().find(|n| (n - 1_000) % 100 == other);
            assert_eq!(
                storage.get(Space::Frames, &other.to_be_bytes()).unwrap().unwrap(),
                value(last.unwrap_or(other))
            );
            assert_eq!(storage.get(Space::Blobs, &other.to_be_bytes()).unwrap().is_none(), last.is_some());
        }
    };
    check(&*storage);
    storage.sync().unwrap();
    drop(storage);
    check(&*open(folder.path()));
}

#[test]
fn a_rewriting_that_is_cut_off_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path());
    fill(&*storage, 0..50);
    let there = all(&*storage);
    drop(storage);
    let name = |name: &str| folder.path().join(name);
    let copy = |to: &str| {
        fs::create_dir(name(to)).unwrap();
        for entry in fs::read_dir(name("log")).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), name(to).join(entry.file_name())).unwrap();
        }
    };
    let half = |to: &str| {
        fs::create_dir(name(to)).unwrap();
        fs::write(name(to).join("db"), "half of it").unwrap();
    };
    // While it is copied; between the two renames; before the first is dropped; and what no crash leaves.
    let states: [(&str, &dyn Fn()); 4] = [
        ("while it is copied", &|| half("log.new")),
        ("between the renames", &|| {
            copy("log.new");
            fs::rename(name("log"), name("log.old")).unwrap();
        }),
        ("before the old one is dropped", &|| half("log.old")),
        ("with the old one alone", &|| fs::rename(name("log"), name("log.old")).unwrap()),
    ];
    for (state, make) in states {
        make();
        let storage = open(folder.path());
        assert_eq!(all(&*storage), there, "{state}");
        assert!(!name("log.new").exists() && !name("log.old").exists(), "{state}");
    }
}

#[test]
fn where_there_is_no_room_for_a_copy_all_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path());
    fill(&*storage, 0..50);
    let there = all(&*storage);
    drop(storage);
    let options = SledOptions { reserve_bytes: 1 << 60, ..SledOptions::default() };
    let storage = open_sled(folder.path(), options).unwrap();
    let refused: StorageError = storage.rewrite().unwrap_err();
    assert!(refused.is_disk_full() && refused.to_string().contains("no space left"), "{refused}");
    assert_eq!(all(&*storage), there);
    assert!(!folder.path().join("log.new").exists());
}
