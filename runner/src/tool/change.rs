//! What a call changed in a file: hashes of before and after, and a unified diff.

use super::text::binary_kind;
use moonlog_core::{event::FileChanged, id::Hash};
use similar::TextDiff;
use std::time::Duration;

/// How long a diff may be looked for; then it is a coarser one.
const DIFF_TIMEOUT: Duration = Duration::from_millis(500);

/// What became of the file `path` that held `before` and holds `after`.
pub(super) fn of(path: &str, before: Option<&[u8]>, after: Option<&[u8]>, diff_max_bytes: usize) -> FileChanged {
    let op = match (before, after) {
        (None, _) => "created",
        (_, None) => "deleted",
        _ => "edited",
    };
    FileChanged {
        path: path.to_owned(),
        op: op.into(),
        diff: diff(path, before, after, diff_max_bytes),
        before_hash: before.map(Hash::of),
        after_hash: after.map(Hash::of),
    }
}

/// That a file was deleted which is too large to be read for a diff.
pub(super) fn of_unread_deletion(path: &str, bytes: u64) -> FileChanged {
    FileChanged {
        path: path.to_owned(),
        op: "deleted".into(),
        diff: format!("Files a/{path} and /dev/null differ: {bytes} bytes, too many for a diff\n"),
        before_hash: None,
        after_hash: None,
    }
}

fn diff(path: &str, before: Option<&[u8]>, after: Option<&[u8]>, max_bytes: usize) -> String {
    let side = |content: Option<&[u8]>, side: &str| {
        if content.is_some() { format!("{side}/{path}") } else { "/dev/null".into() }
    };
    let (old, new) = (side(before, "a"), side(after, "b"));
    let texts = [before, after].map(|content| {
        let bytes = content.unwrap_or_default();
        std::str::from_utf8(bytes).ok().filter(|_| binary_kind(bytes, true).is_none())
    });
    let [Some(before), Some(after)] = texts else { return format!("Binary files {old} and {new} differ\n") };
    let diff = TextDiff::configure().timeout(DIFF_TIMEOUT).diff_lines(before, after);
    let mut text = diff.unified_diff().context_radius(3).header(&old, &new).to_string();
    if text.len() > max_bytes {
        let cut = text.floor_char_boundary(max_bytes);
        let cut = text[..cut].rfind('\n').map_or(cut, |at| at + 1);
        let left_out = text.len() - cut;
        text.truncate(cut);
        text.push_str(&format!("... [diff truncated: {left_out} bytes left out]\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_as_diffs() {
        insta::assert_snapshot!(of("a.txt", None, Some(b"one\ntwo\n"), 1_000).diff, @r"
        --- /dev/null
        +++ b/a.txt
        @@ -0,0 +1,2 @@
        +one
        +two
        ");
        insta::assert_snapshot!(of("a.txt", Some(b"one\ntwo\n"), Some(b"one\n2"), 1_000).diff, @r"
        --- a/a.txt
        +++ b/a.txt
        @@ -1,2 +1,2 @@
         one
        -two
        +2
        \ No newline at end of file
        ");
        assert_eq!(of("a", Some(b"\0"), None, 1_000).diff, "Binary files a/a and /dev/null differ\n");
        let long = of("a", Some(b""), Some("line\n".repeat(100).as_bytes()), 100).diff;
        assert!(long.ends_with("bytes left out]\n") && long.len() < 160, "{long}");
    }
}
