//! What a file's bytes are: text, or something that is not shown.

/// How much of a file is looked at.
const LOOK_BYTES: usize = 8_192;

/// What files of these kinds begin with.
const KINDS: [(&[u8], &str); 12] = [
    (b"\x89PNG\r\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"\x28\xb5\x2f\xfd", "Zstandard archive"),
    (b"\xfd7zXZ", "xz archive"),
    (b"\x7fELF", "ELF program"),
    (b"SQLite format 3\0", "SQLite database"),
    (b"\0asm", "WebAssembly module"),
    (b"wOF", "web font"),
];

/// What kind of binary file begins with these bytes; `None` for text. `whole` says that nothing follows them.
pub(super) fn binary_kind(bytes: &[u8], whole: bool) -> Option<&'static str> {
    let look = &bytes[..bytes.len().min(LOOK_BYTES)];
    let kind = KINDS.iter().find(|(magic, _)| look.starts_with(magic)).map(|(_, kind)| *kind);
    let is_text = !look.contains(&0)
        && match std::str::from_utf8(look) {
            Ok(_) => true,
            // The last character may have been cut.
            Err(error) => error.error_len().is_none() && (look.len() < bytes.len() || !whole),
        };
    if is_text && kind.is_none() { None } else { Some(kind.unwrap_or("binary data")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_files_are_told_from_text() {
        for (bytes, whole, kind) in [
            (b"".as_slice(), true, None),
            (b"plain\n", true, None),
            ("é".as_bytes(), true, None),
            (&"é".as_bytes()[..1], false, None),
            (&"é".as_bytes()[..1], true, Some("binary data")),
            (b"a\0b", true, Some("binary data")),
            (b"\xff\xfe", true, Some("binary data")),
            (b"%PDF-1.7 plain so far", true, Some("PDF document")),
            (b"\x89PNG\r\n\x1a\n", true, Some("PNG image")),
        ] {
            assert_eq!(binary_kind(bytes, whole), kind, "{bytes:?}");
        }
    }
}
