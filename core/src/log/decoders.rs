//! The stored forms of the log one by one, for who tries them with arbitrary bytes: the hashes around them would let
//! hardly any of those come so far. Each panics where a promise is broken.

use super::{
    frame::{Frame, sealed},
    index,
    record::{Record, read_record},
};

/// A record: `position u64 · record`. What is read of it is an event or what is left of one, or it is refused.
pub fn record(bytes: &[u8]) {
    let Some((position, bytes)) = bytes.split_first_chunk() else { return };
    match read_record(bytes) {
        Ok(Record::Event(event)) => {
            let text = std::str::from_utf8(bytes).ok();
            let _ = event.decode(u64::from_le_bytes(*position), text);
        }
        Ok(Record::Removed(removed)) => {
            let written = removed.to_bytes();
            let Ok(Record::Removed(again)) = read_record(&written) else { panic!("{removed:?} is not read again") };
            // The bare kind says less, and is written as the other one.
            assert_eq!(again.to_bytes(), written);
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// A frame whose hashes are right: `count u8 · records`.
pub fn frame(bytes: &[u8]) {
    let [count, records @ ..] = bytes else { return };
    let Some((key, value)) = sealed(1, u32::from(*count), records) else { return };
    let Ok(frame) = Frame::read(&key, value.clone()) else { return };
    assert_eq!(frame.with_records(|_, _| None), value, "a frame is written as it was read");
    for position in frame.first_position..=frame.last_position() {
        let Some(record) = frame.record(position) else { panic!("the frame has no record at {position}") };
        self::record(&[&position.to_le_bytes(), record].concat());
    }
}

/// A page of the index: `key 9 · page`.
pub fn index_page(bytes: &[u8]) {
    if let Some((key, page)) = bytes.split_at_checked(9) {
        index::check_page(key, page);
    }
}
