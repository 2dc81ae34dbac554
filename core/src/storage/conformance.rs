//! What every storage must do, run against each.

use super::{Direction, MemoryStorage, SledOptions, Space, Storage, Write, open_sled};
use std::{ops::Bound, sync::Arc};

/// Runs `check` on an empty storage of each kind.
fn on_each(check: impl Fn(&dyn Storage)) {
    check(&MemoryStorage::new());
    let folder = tempfile::tempdir().unwrap();
    check(&*open_sled(folder.path(), SledOptions::default()).unwrap());
}

fn put(key: &str, value: &str) -> Write {
    Write::put(Space::Frames, key, value)
}

fn scanned(storage: &dyn Storage, from: Bound<&str>, to: Bound<&str>, direction: Direction, limit: usize) -> String {
    let bound = |bound: Bound<&str>| bound.map(|key| key.as_bytes().to_vec());
    let entries = storage.scan(Space::Frames, bound(from), bound(to), direction, limit).unwrap();
    entries.into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

#[test]
fn writes_are_visible_at_once_in_their_order() {
    on_each(|storage| {
        storage.write(vec![put("a", "1"), put("a", "2"), put("b", "3"), Write::delete(Space::Frames, "b")]).unwrap();
        assert_eq!(storage.get(Space::Frames, b"a").unwrap().unwrap(), b"2");
        assert_eq!(storage.get(Space::Frames, b"b").unwrap(), None);
        storage.write(vec![Write::delete(Space::Frames, "never there")]).unwrap();
    });
}

#[test]
fn spaces_are_apart() {
    on_each(|storage| {
        let writes = Space::ALL.map(|space| Write::put(space, "key", space.name())).to_vec();
        storage.write(writes).unwrap();
        storage.write(vec![Write::delete(Space::Index, "key")]).unwrap();
        for space in Space::ALL {
            let expected = (space != Space::Index).then(|| space.name().as_bytes().to_vec());
            assert_eq!(storage.get(space, b"key").unwrap(), expected, "{space:?}");
            let all = storage.scan(space, Bound::Unbounded, Bound::Unbounded, Direction::Forward, 10).unwrap();
            assert_eq!(all.len(), usize::from(space != Space::Index), "{space:?}");
        }
    });
}

#[test]
fn scans_keep_to_their_bounds_direction_and_limit() {
    use Bound::{Excluded, Included, Unbounded};
    use Direction::{Backward, Forward};
    let cases = [
        (Unbounded, Unbounded, Forward, 9, "abcde"),
        (Unbounded, Unbounded, Backward, 9, "edcba"),
        (Unbounded, Unbounded, Backward, 2, "ed"),
        (Included("b"), Included("d"), Forward, 9, "bcd"),
        (Excluded("b"), Excluded("d"), Forward, 9, "c"),
        (Included("b"), Included("d"), Backward, 9, "dcb"),
        (Excluded("b"), Excluded("d"), Backward, 9, "c"),
        (Included("bb"), Unbounded, Forward, 1, "c"),
        (Unbounded, Included("bb"), Backward, 1, "b"),
        (Unbounded, Excluded("a"), Backward, 9, ""),
        (Included("c"), Included("c"), Forward, 9, "c"),
        (Excluded("c"), Excluded("c"), Forward, 9, ""),
        (Excluded("c"), Included("c"), Forward, 9, ""),
        (Included("d"), Included("b"), Forward, 9, ""),
        (Included("x"), Unbounded, Forward, 9, ""),
        (Unbounded, Unbounded, Forward, 0, ""),
    ];
    on_each(|storage| {
        storage.write("ecadb".chars().map(|key| put(&key.to_string(), "")).collect()).unwrap();
        for (from, to, direction, limit, expected) in cases {
            let found = scanned(storage, from, to, direction, limit);
            assert_eq!(found, expected, "{from:?} {to:?} {direction:?} {limit}");
        }
    });
}

#[test]
fn keys_are_ordered_bytewise_and_empty_keys_and_values_are_kept() {
    on_each(|storage| {
        let keys: [&[u8]; 5] = [b"", b"\0", b"\0\0", b"\x7f", b"\xff"];
        storage.write(keys.iter().rev().map(|key| Write::put(Space::Meta, *key, "")).collect()).unwrap();
        let found = storage.scan(Space::Meta, Bound::Unbounded, Bound::Unbounded, Direction::Forward, 9).unwrap();
        assert_eq!(found.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), keys);
        assert_eq!(storage.get(Space::Meta, b"").unwrap().unwrap(), b"");
    });
}

#[test]
fn a_space_is_cleared_and_a_rewriting_changes_nothing_that_is_seen() {
    on_each(|storage| {
        for n in 0..300u32 {
            let writes = Space::ALL.map(|space| Write::put(space, n.to_be_bytes(), vec![n as u8; 3_000]));
            storage.write(writes.to_vec()).unwrap();
        }
        storage.clear(Space::Index).unwrap();
        storage.rewrite().unwrap();
        for space in Space::ALL {
            let all = storage.scan(space, Bound::Unbounded, Bound::Unbounded, Direction::Forward, 999).unwrap();
            assert_eq!(all.len(), if space == Space::Index { 0 } else { 300 }, "{space:?}");
            assert!(
                all.iter()
                    .zip(0u32..)
                    .all(|((key, value), n)| *key == n.to_be_bytes() && *value == vec![n as u8; 3_000])
            );
        }
        assert!(!storage.is_rescued());
        storage.write(vec![put("a", "1")]).unwrap();
        storage.sync().unwrap();
    });
}

#[test]
fn large_values_come_back_whole() {
    on_each(|storage| {
        let values: Vec<Vec<u8>> = (0..64u8).map(|n| vec![n; 56 << 10]).collect();
        for (value, n) in values.iter().zip(0u8..) {
            storage.write(vec![Write::put(Space::Blobs, [n], value.clone())]).unwrap();
        }
        storage.sync().unwrap();
        for (value, n) in values.iter().zip(0u8..) {
            assert!(storage.get(Space::Blobs, &[n]).unwrap().unwrap() == *value, "value {n}");
        }
        assert!(storage.bytes_on_disk().unwrap() >= 64 * (56 << 10));
    });
}

#[test]
fn large_values_are_replaced_and_deleted() {
    on_each(|storage| {
        let put = |key: u8, value: Vec<u8>| storage.write(vec![Write::put(Space::Frames, [key], value)]).unwrap();
        (0..40).for_each(|key| put(key, vec![key; 3000]));
        (0..40).step_by(2).for_each(|key| put(key, vec![key + 100; 5000]));
        (0..40).step_by(5).for_each(|key| storage.write(vec![Write::delete(Space::Frames, [key])]).unwrap());
        (0..40).step_by(10).for_each(|key| put(key, Vec::new()));
        let all = storage.scan(Space::Frames, Bound::Unbounded, Bound::Unbounded, Direction::Forward, 99).unwrap();
        let expected = (0..40u8).filter(|key| key % 10 != 5).map(|key| {
            let value = match key {
                _ if key % 10 == 0 => Vec::new(),
                _ if key % 2 == 0 => vec![key + 100; 5000],
                _ => vec![key; 3000],
            };
            (vec![key], value)
        });
        assert!(all == expected.collect::<Vec<_>>());
    });
}

#[test]
fn what_is_appended_is_written_about_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut appended = 0;
    for _ in 0..3 {
        let storage = open_sled(folder.path(), SledOptions::default()).unwrap();
        for n in 0..250u64 {
            let value = vec![n as u8; 1000 + 200 * n as usize];
            appended += value.len() as u64;
            storage.write(vec![Write::put(Space::Frames, appended.to_be_bytes(), value)]).unwrap();
            storage.sync().unwrap();
        }
    }
    // Segments are taken in whole.
    let storage = open_sled(folder.path(), SledOptions::default()).unwrap();
    let stored = storage.bytes_on_disk().unwrap();
    assert!(stored < appended + appended / 10 + (8 << 20), "{appended} bytes take {stored}");
}

#[test]
fn synced_writes_outlive_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let fill = |storage: &dyn Storage| {
        storage
            .write((0..2000u32).map(|n| Write::put(Space::Index, n.to_be_bytes(), n.to_le_bytes())).collect())
            .unwrap();
        storage.sync().unwrap();
    };
    let check = |storage: &dyn Storage| {
        let all = storage.scan(Space::Index, Bound::Unbounded, Bound::Unbounded, Direction::Forward, 9999).unwrap();
        assert_eq!(all.len(), 2000);
        assert!(all.iter().zip(0u32..).all(|((key, value), n)| *key == n.to_be_bytes() && *value == n.to_le_bytes()));
    };
    fill(&*open_sled(folder.path(), SledOptions::default()).unwrap());
    check(&*open_sled(folder.path(), SledOptions::default()).unwrap());

    let memory = MemoryStorage::new();
    fill(&memory);
    memory.write(vec![Write::delete(Space::Index, 7u32.to_be_bytes())]).unwrap();
    check(&memory.after_power_cut(0));
    assert_eq!(memory.after_power_cut(1).get(Space::Index, &7u32.to_be_bytes()).unwrap(), None);
}

#[test]
fn readers_are_served_while_a_writer_writes() {
    let folder = tempfile::tempdir().unwrap();
    let sled: Arc<dyn Storage> = open_sled(folder.path(), SledOptions::default()).unwrap();
    for storage in [Arc::new(MemoryStorage::new()) as Arc<dyn Storage>, sled] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..500u32 {
                    storage.write(vec![Write::put(Space::Frames, n.to_be_bytes(), vec![1; 200])]).unwrap();
                    if n % 50 == 0 {
                        storage.sync().unwrap();
                    }
                }
            });
            // A prefix of what the writer writes is seen, and it grows.
            let mut seen = 0;
            while seen < 500 {
                let all =
                    storage.scan(Space::Frames, Bound::Unbounded, Bound::Unbounded, Direction::Forward, 999).unwrap();
                assert!(all.len() >= seen);
                assert!(all.iter().zip(0u32..).all(|((key, _), n)| *key == n.to_be_bytes()));
                seen = all.len();
            }
        });
    }
}

#[cfg(test)]
mod folder {
    use super::*;
    use crate::storage::{FORMAT_VERSION, StorageError};
    use std::fs;

    fn refusal(folder: &std::path::Path) -> StorageError {
        open_sled(folder, SledOptions::default()).unwrap_err()
    }

    #[test]
    fn a_second_open_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let first = open_sled(folder.path(), SledOptions::default()).unwrap();
        let refused = refusal(folder.path());
        assert!(matches!(&refused, StorageError::Locked(path) if path == folder.path()), "{refused}");
        assert!(refused.to_string().contains("in use by another moonlog"), "{refused}");
        drop(first);
        open_sled(folder.path(), SledOptions::default()).unwrap();
    }

    #[test]
    fn another_format_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        drop(open_sled(folder.path(), SledOptions::default()).unwrap());
        let write =
            |format| fs::write(folder.path().join("format"), format!("moonlog data, format {format}\n")).unwrap();
        write(FORMAT_VERSION + 1);
        let refused = refusal(folder.path());
        assert!(matches!(refused, StorageError::NewerFormat { found: 3, supported: 2 }), "{refused}");
        assert!(refused.to_string().contains("format 3"), "{refused}");
        write(FORMAT_VERSION - 1);
        let refused = refusal(folder.path());
        assert!(matches!(refused, StorageError::OlderFormat { found: 1, supported: 2 }), "{refused}");
        assert!(
            refused.to_string().contains("format 1, this moonlog") && refused.to_string().contains("reads format 2")
        );
    }

    #[test]
    fn a_folder_that_is_not_ours_is_left_alone() {
        for (file, content) in [("format", "something else"), ("log/db", "no store of ours")] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let refused = refusal(folder.path());
            assert!(matches!(refused, StorageError::NotOurs { .. }), "{file}: {refused}");
            assert_eq!(fs::read_to_string(path).unwrap(), content);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = refusal(&file.join("data"));
        assert!(matches!(refused, StorageError::Io { .. }), "{refused}");
        assert!(refused.to_string().contains("file/data"), "{refused}");
    }

    #[test]
    fn a_damaged_store_is_an_error_and_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let storage = open_sled(folder.path(), SledOptions::default()).unwrap();
        storage
            .write((0..2000u32).map(|n| Write::put(Space::Frames, n.to_be_bytes(), vec![n as u8; 100])).collect())
            .unwrap();
        storage.sync().unwrap();
        drop(storage);
        let db = folder.path().join("log/db");
        let sound = fs::read(&db).unwrap();
        for at in (0..sound.len().min(400_000)).step_by(9973) {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x10;
            fs::write(&db, bytes).unwrap();
            // What is damaged is found on opening or on reading, or it was of no consequence: but nothing panics, and
            // no wrong bytes are given out.
            let Ok(storage) = open_sled(folder.path(), SledOptions::default()) else { continue };
            let Ok(all) = storage.scan(Space::Frames, Bound::Unbounded, Bound::Unbounded, Direction::Forward, 9999)
            else {
                continue;
            };
            for (key, value) in all {
                let n = u32::from_be_bytes(key.try_into().unwrap());
                assert_eq!(value, vec![n as u8; 100], "byte {at}");
            }
        }
    }
}
