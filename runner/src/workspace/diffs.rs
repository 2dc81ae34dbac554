//! Diffs as git writes them, file by file.

use std::{collections::HashMap, fmt::Write as _};

/// What git's diffs of several files are for each of `paths`, by path.
pub(super) fn by_file<'a>(diffs: &str, paths: impl IntoIterator<Item = &'a str>) -> HashMap<&'a str, String> {
    let headers: HashMap<String, &str> = paths.into_iter().map(|path| (header(path), path)).collect();
    let mut found: HashMap<&str, String> = HashMap::new();
    let mut at = None;
    for line in diffs.split_inclusive('\n') {
        // Lines of files have a sign before them.
        if line.starts_with("diff --git ") {
            at = headers.get(line.trim_end_matches('\n')).copied();
        }
        if let Some(path) = at {
            // A file that became a link has two.
            found.entry(path).or_default().push_str(line);
        }
    }
    found
}

/// The line that a file's diff begins with.
fn header(path: &str) -> String {
    format!("diff --git {} {}", quoted("a/", path), quoted("b/", path))
}

/// A name as git writes it with `core.quotePath` off: as in C, where it holds what would be misread.
fn quoted(prefix: &str, path: &str) -> String {
    if !path.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\' | 0x7f)) {
        return format!("{prefix}{path}");
    }
    let mut text = format!("\"{prefix}");
    for c in path.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\x07' => text.push_str("\\a"),
            '\x08' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\x0b' => text.push_str("\\v"),
            '\x0c' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            c if u32::from(c) < 0x20 || c == '\x7f' => {
                let _ = write!(text, "\\{:03o}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diffs_are_told_apart() {
        let first = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-diff --git a/y b/y\n+b\n";
        let second = "diff --git \"a/we\\\"ird\\tna\\nme\" \"b/we\\\"ird\\tna\\nme\"\nBinary files differ\n";
        let diffs = by_file(&format!("{first}{second}"), ["y", "x", "we\"ird\tna\nme"]);
        assert_eq!(diffs.len(), 2);
        assert_eq!(diffs["x"], first);
        assert_eq!(diffs["we\"ird\tna\nme"], second);
    }
}
