//! Large data.

use super::*;
use crate::{id::Hash, storage::Space};

#[test]
fn large_events_are_stored_apart_and_read_in_full() {
    for options in [options(), cramped()] {
        let storage = Arc::new(MemoryStorage::new());
        let (log, _) = open(&storage, options);
        let large = "ä\"\n".repeat(100_000);
        put(&log, saying(&job(1), &["small", &large]));
        let events = log.read(0, 10).unwrap();
        assert_eq!(messages(&events), ["small", &large]);
        assert_eq!(events[0].blob, None);
        let (hash, bytes) = events[1].blob.unwrap();
        let data = log.blob(&hash).unwrap().unwrap();
        assert_eq!(data.len() as u64, bytes);
        assert_eq!(data, events[1].body.data_json().into_bytes());
        assert_eq!(hash, Hash::of(&data));
        let longest = |space| {
            storage.keys(space).iter().map(|key| storage.get(space, key).unwrap().unwrap().len()).max().unwrap()
        };
        assert!(longest(Space::Frames) < 1000 && longest(Space::Blobs) == 32 << 10);
        // Stored once.
        let before = storage.bytes_on_disk().unwrap();
        put(&log, saying(&job(2), &[&large]));
        assert!(storage.bytes_on_disk().unwrap() - before < 1000);
        assert!(log.verify().unwrap().is_sound());
        assert_eq!(log.verify().unwrap().blobs, 1);
    }
}

#[test]
fn events_that_fit_no_frame_together_have_their_largest_stored_apart() {
    let (log, _) = empty();
    let text = |n: usize| n.to_string().repeat(20_000);
    let texts: Vec<String> = (1..=6).map(text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    put(&log, saying(&job(1), &texts));
    let events = log.read(0, 10).unwrap();
    assert_eq!(messages(&events), texts);
    let apart = events.iter().filter(|event| event.blob.is_some()).count();
    assert!((1..6).contains(&apart), "{apart}");
}

#[test]
fn blobs_of_every_size_come_back() {
    let (log, storage) = empty();
    let mut hashes = Vec::new();
    for size in [0, 1, 32_767, 32_768, 32_769, 700_000] {
        let bytes = vec![7; size];
        hashes.push((log.put_blob(bytes.clone()).unwrap(), bytes));
    }
    put(&log, saying(&job(1), &["names them"]));
    let (after, _) = open(&Arc::new(storage.after_power_cut(0)), options());
    for (hash, bytes) in hashes {
        assert_eq!(hash, Hash::of(&bytes));
        assert!(after.blob(&hash).unwrap() == Some(bytes));
    }
    assert_eq!(log.blob(&Hash::ZERO).unwrap(), None);
}

#[test]
fn a_blob_is_durable_before_the_event_that_names_it() {
    let (log, storage) = empty();
    storage.hold_syncs();
    log.append(saying(&job(1), &["first"])).unwrap();
    storage.wait_for_held_sync();
    let bytes = vec![1; 100_000];
    let hash = log.put_blob(bytes.clone()).unwrap();
    log.append(saying(&job(1), &["names it"])).unwrap();
    storage.release_syncs();
    // Whatever a power cut keeps: with the event, the blob is there.
    for _ in 0..50 {
        for kept in 0..10 {
            let (after, _) = open(&Arc::new(storage.after_power_cut(kept)), options());
            if after.head() >= 2 {
                assert!(after.blob(&hash).unwrap() == Some(bytes.clone()));
            }
        }
        if log.head() >= 2 {
            break;
        }
        std::thread::yield_now();
    }
    log.durable_blocking(2).unwrap();
}

#[test]
fn data_over_the_limit_is_refused() {
    let storage = Arc::new(MemoryStorage::new());
    let (log, _) = open(&storage, LogOptions { blob_max_bytes: 100_000, ..options() });
    let refused = log.put_blob(vec![0; 100_001]);
    assert!(matches!(refused, Err(AppendError::TooLarge { bytes: 100_001, max_bytes: 100_000, .. })), "{refused:?}");
    let refused = log.append(saying(&job(1), &["x".repeat(100_001).as_str()]));
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    put(&log, saying(&job(1), &["goes on"]));
}

#[test]
fn a_damaged_blob_is_named() {
    let (log, storage) = empty();
    let hash = log.put_blob(vec![5; 50_000]).unwrap();
    put(&log, saying(&job(1), &["x"]));
    let chunk = storage.keys(Space::Blobs).into_iter().find(|key| key.len() > 32).unwrap();
    storage.tamper(Space::Blobs, &chunk, |value| value[9] ^= 1);
    let error = log.blob(&hash).unwrap_err();
    assert!(matches!(&error, ReadError::Blob { hash: of, .. } if *of == hash), "{error}");
    storage.tamper(Space::Blobs, &chunk, |value| value.truncate(3));
    assert!(log.blob(&hash).is_err());
}
