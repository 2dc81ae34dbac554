//! Bytes of outputs as text: cuts that split no character.

use std::borrow::Cow;

/// How many bytes at the end of `bytes` begin a character that is not complete yet; at most 3.
pub(super) fn incomplete_end(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    for at in (from..bytes.len()).rev() {
        let length = match bytes[at] {
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 0,
        };
        let has = bytes.len() - at;
        return if length > has { has } else { 0 };
    }
    0
}

/// How many bytes at the beginning of `bytes` continue a character that began before; at most 3.
pub(super) fn continued_start(bytes: &[u8]) -> usize {
    let continued = bytes.iter().take(4).take_while(|byte| (0x80..=0xBF).contains(*byte)).count();
    if continued < 4 { continued } else { 0 }
}

/// `bytes` as text, with U+FFFD for what is none.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// `text` cut to at most `max_bytes`.
pub(super) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// The end of `text`, at most `max_bytes` of it.
pub(super) fn cut_front(text: &str, max_bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(max_bytes))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_seen_wherever_they_fall() {
        let text = "aé€😀";
        for at in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(at);
            let whole = &before[..before.len() - incomplete_end(before)];
            assert!(std::str::from_utf8(whole).is_ok(), "before {at}");
            assert!(std::str::from_utf8(&after[continued_start(after)..]).is_ok(), "after {at}");
        }
        assert_eq!(incomplete_end(&[0xff, 0x80]), 0);
        assert_eq!(continued_start(&[0x80; 9]), 0);
    }
}
