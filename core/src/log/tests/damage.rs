//! Torn tails, bit flips, missing frames.

use super::*;
use crate::storage::{Fault, SledOptions, Space, Write, open_sled};
use std::fs::OpenOptions;

/// A closed log of ten frames with two events each.
fn ten_frames() -> Arc<MemoryStorage> {
    let (log, storage) = empty();
    for n in 0..10u8 {
        put(&log, saying(&job(n % 3), &["a", "b"]));
    }
    log.close();
    storage
}

fn try_open(storage: &Arc<MemoryStorage>) -> Result<(Log, OpenReport), OpenError> {
    Log::open(storage.clone() as Arc<dyn Storage>, options())
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let sound = ten_frames();
    let last = sound.keys(Space::Frames).pop().unwrap();
    let length = sound.get(Space::Frames, &last).unwrap().unwrap().len();
    for kept in [0, 1, 40, 72, 73, 74, length - 1] {
        let storage = Arc::new(sound.after_power_cut(0));
        storage.tamper(Space::Frames, &last, |value| value.truncate(kept));
        // The index was closed with these events; a torn tail was never in it.
        storage
            .keys(Space::Index)
            .iter()
            .for_each(|key| storage.write(vec![Write::delete(Space::Index, key.clone())]).unwrap());
        let (log, report) = try_open(&storage).unwrap();
        assert_eq!((report.head, log.head()), (18, 18));
        assert!(report.is_repaired() && report.torn_tail.as_ref().unwrap().contains("position 19"), "{report:?}");
        assert_eq!(report.lost_tail, None);
        put(&log, saying(&job(0), &["again"]));
        assert_eq!(messages(&log.read(17, 5).unwrap()), ["b", "again"]);
        assert!(log.verify().unwrap().is_sound());
    }
}

#[test]
fn events_that_were_durable_and_are_gone_from_the_end_are_reported() {
    let storage = ten_frames();
    let last = storage.keys(Space::Frames).split_off(7);
    storage.write(last.into_iter().map(|key| Write::delete(Space::Frames, key)).collect()).unwrap();
    let (log, report) = try_open(&storage).unwrap();
    assert_eq!(log.head(), 14);
    let lost = report.lost_tail.unwrap();
    assert!(lost.contains("position 14") && lost.contains("20"), "{lost}");
    assert_eq!(log.stream_head(&job(0)).unwrap().unwrap().version, 6);
    put(&log, saying(&job(0), &["again"]));
    assert!(log.verify().unwrap().is_sound());
}

#[test]
fn every_flipped_bit_is_found_and_located() {
    let sound = ten_frames();
    for (n, key) in sound.keys(Space::Frames).into_iter().enumerate().step_by(3) {
        let (first, last) = (2 * n as u64 + 1, 2 * n as u64 + 2);
        for byte in 0..sound.get(Space::Frames, &key).unwrap().unwrap().len() {
            let storage = Arc::new(sound.after_power_cut(0));
            storage.tamper(Space::Frames, &key, |value| value[byte] ^= 1 << (byte % 8));
            let report = verify(&*storage).unwrap();
            let located = report.damage.iter().any(|damage| (first..=last + 1).contains(&damage.position));
            assert!(located, "frame {n}, byte {byte}: {report:?}");
            match try_open(&storage) {
                Err(OpenError::Damaged(damage)) => {
                    assert!((first..=last + 1).contains(&damage.position), "frame {n}, byte {byte}: {damage}");
                }
                // In the last frame, a changed length makes it look torn.
                Ok((_, report)) => assert!(n == 9 && (1..5).contains(&byte) && report.is_repaired(), "{byte}"),
                Err(other) => panic!("frame {n}, byte {byte}: {other}"),
            }
        }
    }
}

#[test]
fn a_missing_frame_stops_the_start() {
    let sound = ten_frames();
    for n in [0, 4, 8] {
        let storage = Arc::new(sound.after_power_cut(0));
        let key = sound.keys(Space::Frames)[n].clone();
        storage.write(vec![Write::delete(Space::Frames, key)]).unwrap();
        let Err(OpenError::Damaged(damage)) = try_open(&storage) else { panic!("frame {n}") };
        assert_eq!(damage.position, 2 * n as u64 + 1);
        assert!(damage.what.contains("missing"), "{damage}");
        let report = verify(&*storage).unwrap();
        assert_eq!(report.damage.len(), 1, "{report:?}");
        assert_eq!((report.events, report.head), (18, 20));
    }
}

#[test]
fn a_frame_from_another_log_does_not_fit_the_chain() {
    let storage = ten_frames();
    let (other, other_storage) = empty();
    for n in 0..10u8 {
        put(&other, saying(&job(n % 3), &["c", "d"]));
    }
    let key = &storage.keys(Space::Frames)[5];
    let foreign = other_storage.get(Space::Frames, key).unwrap().unwrap();
    storage.tamper(Space::Frames, key, |value| *value = foreign.clone());
    let Err(OpenError::Damaged(damage)) = try_open(&storage) else { panic!("opened") };
    assert_eq!(damage.position, 11);
    assert!(damage.what.contains("does not follow"), "{damage}");
    assert!(verify(&*storage).unwrap().damage.iter().all(|damage| [11, 13].contains(&damage.position)));
}

#[test]
fn a_damaged_frame_is_not_read_in_a_running_log() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, cramped());
    for _ in 0..5 {
        put(&log, saying(&job(1), &["a", "b"]));
    }
    let key = &storage.keys(Space::Frames)[2];
    storage.tamper(Space::Frames, key, |value| *value.last_mut().unwrap() ^= 1);
    for result in [log.read(4, 2), log.read_back(7, 2), log.read_stream(&job(1), 4, 2)] {
        let error = result.unwrap_err();
        assert!(matches!(&error, ReadError::Damaged(damage) if [5, 6].contains(&damage.position)), "{error}");
    }
    assert!(log.event(6).is_err());
    assert_eq!(messages(&log.read(6, 10).unwrap()), ["a", "b", "a", "b"]);
    assert_eq!(log.verify().unwrap().damage.len(), 1);
}

#[test]
fn a_truncated_file_loses_its_end_alone_and_that_is_reported() {
    for cut in [1, 100, 1000, 5000, 20_000, 100_000, 200_000] {
        let folder = tempfile::tempdir().unwrap();
        let open = || Log::open(open_sled(folder.path(), SledOptions::default())? as Arc<dyn Storage>, options());
        let (log, _) = open().unwrap();
        for n in 0..300u64 {
            put(&log, saying(&job((n % 3) as u8), &["x".repeat(500).as_str()]));
        }
        log.close();
        drop(log);
        let path = folder.path().join("log/db");
        // Behind what was written stand zeros.
        let used = std::fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        OpenOptions::new().write(true).open(path).unwrap().set_len(used - cut).unwrap();
        let (log, report) = open().unwrap();
        assert_eq!(report.is_repaired(), log.head() < 300, "{cut} {report:?}");
        assert!(log.head() < 300 || cut < 1000, "{cut} {report:?}");
        assert_eq!(log.read(0, 999).unwrap().len() as u64, log.head());
        put(&log, saying(&job(1), &["goes on"]));
        assert!(log.verify().unwrap().is_sound());
        log.close();
        drop(log);
        assert!(!open().unwrap().1.is_repaired(), "{cut}");
    }
}

#[test]
fn damage_in_the_index_does_not_stop_the_start() {
    let (log, storage) = empty();
    for n in 0..40u8 {
        put(&log, saying(&job(n % 4), &["a", "b"]));
    }
    log.close();
    let sound = log.read(0, 999).unwrap();
    for key in storage.keys(Space::Index) {
        for change in [0, 1, 5, usize::MAX] {
            let copy = Arc::new(storage.after_power_cut(0));
            copy.tamper(Space::Index, &key, |value| match value.get_mut(change) {
                Some(byte) => *byte ^= 0x81,
                None => value.truncate(1),
            });
            // What was damaged is found when it is read: at this start, or later, and then the next one mends it.
            let (log, _) = open(&copy, cramped());
            let appended = log.append(saying(&job(9), &["goes on"])).unwrap();
            log.durable_blocking(appended.last_position).unwrap();
            let read = (0..4).all(|n| log.read_stream(&job(n), 0, 99).is_ok());
            log.close();
            drop(log);
            let (log, _) = open(&copy, cramped());
            assert!(!read || log.verify().unwrap().is_sound());
            assert_eq!(log.read(0, 80).unwrap(), sound);
        }
    }
}

#[test]
fn damaged_pages_of_the_index_within_the_store_do_not_stop_the_start() {
    for nth in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let open = || Log::open(open_sled(folder.path(), SledOptions::default())? as Arc<dyn Storage>, options());
        let (log, _) = open().unwrap();
        for n in 0..600u64 {
            put(&log, saying(&job((n % 200) as u8), &["x"]));
        }
        log.close();
        drop(log);
        if nth % 2 == 1 {
            // Then the store's own table of pages leads to the damaged ones.
            let (log, _) = open().unwrap();
            log.close();
        }
        // A page's keys end in a stream's id and its first version; nothing else in the file does.
        let path = folder.path().join("log/db");
        let mut bytes = std::fs::read(&path).unwrap();
        let of_a_page = |id: u8| [vec![id; 12], 1u64.to_be_bytes().to_vec()].concat();
        let id = 10 + 30 * nth;
        let places: Vec<usize> = (0..bytes.len() - 20).filter(|at| bytes[*at..].starts_with(&of_a_page(id))).collect();
        assert!(!places.is_empty(), "the index is written");
        places.iter().for_each(|at| bytes[*at + 3] ^= 0x40);
        std::fs::write(&path, bytes).unwrap();
        let (log, report) = open().unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!((report.head, report.lost_tail), (600, None));
        assert_eq!(report.index_damage.is_some(), nth % 2 == 1, "{id}");
        assert_eq!(log.read(0, 999).unwrap().len(), 600);
        let (mut log, mut whole) = (log, false);
        for _ in 0..2 {
            let all: Vec<_> = (0..200).map(|n| log.read_stream(&job(n), 0, 99)).collect();
            whole = all.iter().all(|read| read.as_ref().is_ok_and(|events| events.len() == 3));
            if whole {
                break;
            }
            // Found when it was read: the next start mends it.
            log.close();
            drop(log);
            log = open().unwrap().0;
        }
        assert!(whole, "{id}");
        put(&log, saying(&job(id), &["goes on"]));
        assert!(log.verify().unwrap().is_sound());
    }
}

#[test]
fn damage_is_named_with_its_place_in_the_store() {
    let storage = ten_frames();
    let key = storage.keys(Space::Frames)[4].clone();
    storage.tamper(Space::Frames, &key, |value| *value.last_mut().unwrap() ^= 1);
    let report = verify(&*storage).unwrap();
    let places: Vec<_> =
        report.damage.iter().map(|damage| (damage.position, damage.place.as_deref().unwrap())).collect();
    assert_eq!(places, [(9, "frames/0000000000000009")]);
    assert!(report.damage[0].to_string().starts_with("at position 9 (frames/0000000000000009): "));
}

#[test]
fn damaged_pages_of_the_store_are_located() {
    let folder = tempfile::tempdir().unwrap();
    let open = || open_sled(folder.path(), SledOptions::default()).unwrap();
    let (log, _) = Log::open(open() as Arc<dyn Storage>, options()).unwrap();
    for n in 0..300u64 {
        put(&log, saying(&job((n % 3) as u8), &[&format!("event {n} {}", "x".repeat(500))]));
    }
    log.close();
    drop(log);
    let path = folder.path().join("log/db");
    let mut bytes = std::fs::read(&path).unwrap();
    let text = b"event 150 ";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let report = verify(&*open()).unwrap();
    let [damage] = report.damage.as_slice() else { panic!("{report:?}") };
    assert_eq!((report.head, damage.position), (150, 151), "{damage}");
    assert_eq!(damage.place.as_deref(), Some("frames/0000000000000097"));
    assert!(damage.what.contains("once had 300"), "{damage}");
}

#[test]
fn a_torn_tail_that_cannot_be_cut_is_passed_over_and_the_log_is_only_read() {
    let sound = ten_frames();
    let last = sound.keys(Space::Frames).pop().unwrap();
    for index_is_gone in [false, true] {
        let storage = Arc::new(sound.after_power_cut(0));
        storage.tamper(Space::Frames, &last, |value| value.truncate(40));
        if index_is_gone {
            let deletes = storage.keys(Space::Index).into_iter().map(|key| Write::delete(Space::Index, key));
            storage.write(deletes.collect()).unwrap();
        }
        storage.inject(Fault::DiskFull, 0);
        let (log, report) = try_open(&storage).unwrap();
        assert_eq!((report.head, log.head()), (18, 18));
        assert!(report.torn_tail.is_some());
        assert!(log.is_poisoned().unwrap().disk_full);
        let Err(AppendError::Poisoned(poisoned)) = log.append(saying(&job(0), &["more"])) else { panic!("appended") };
        assert!(poisoned.to_string().contains("free disk space"), "{poisoned}");
        assert_eq!(positions(&log.read(0, 99).unwrap()), (1..=18).collect::<Vec<_>>());
        assert_eq!(log.read_stream(&job(0), 0, 99).unwrap().len(), 6);
        assert_eq!(log.stream_head(&job(0)).unwrap().unwrap().version, 6);
        assert!(log.verify().unwrap().is_sound());
        log.close();
    }
}

#[test]
fn what_stands_before_damage_can_be_read_and_nothing_be_written() {
    let sound = ten_frames();
    for (n, key) in sound.keys(Space::Frames).into_iter().enumerate() {
        let length = sound.get(Space::Frames, &key).unwrap().unwrap().len();
        for byte in [0, 2, 6, 20, 50, 74, 80, length - 1] {
            let storage = Arc::new(sound.after_power_cut(0));
            storage.tamper(Space::Frames, &key, |value| value[byte] ^= 0x20);
            let Err(OpenError::Damaged(damage)) = try_open(&storage) else { continue };
            let part: Arc<dyn Storage> = storage.clone();
            let (log, first) = Log::open_sound_part(&part, &options()).unwrap();
            let read = log.read(0, 100).unwrap();
            assert_eq!((read.len() as u64, log.head()), (2 * n as u64, 2 * n as u64), "byte {byte}: {first}");
            assert!(damage.position.abs_diff(first.position) <= 2, "{damage} {first}");
            let whole = open(&Arc::new(sound.after_power_cut(0)), options()).0.read(0, read.len()).unwrap();
            assert_eq!(read, whole, "what is read is what was written");
            let of_stream = log.read_stream(&job(0), 0, 100).unwrap();
            assert_eq!(of_stream, read.iter().filter(|event| event.stream == job(0)).cloned().collect::<Vec<_>>());
            let refused = log.append(saying(&job(1), &["x"])).unwrap_err();
            assert!(refused.to_string().contains("the log is damaged"), "{refused}");
            log.close();
            let keys = |storage: &MemoryStorage| Space::ALL.map(|space| storage.keys(space));
            assert_eq!(keys(&storage), keys(&sound), "nothing was changed");
        }
    }
    let part: Arc<dyn Storage> = sound;
    assert!(Log::open_sound_part(&part, &options()).is_err(), "one that is sound is opened as such");
}
