//! Reading unified diffs: which lines they change, and what a file held before. Whatever stands before the first hunk
//! is skipped, so that it does not matter who wrote the headers.

use crate::event::Lines;

/// A hunk: the lines it takes away and puts in their place, with the lines around them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hunk<'a> {
    old_start: u32,
    old_count: u32,
    new_start: u32,
    new_count: u32,
    lines: Vec<Line<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line<'a> {
    kind: Kind,
    text: &'a str,
    /// Whether the file's last line has no newline behind it.
    unended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kept,
    Removed,
    Added,
}

/// Lines that an edit replaced, and how many took their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, crate::codec::Encode, crate::codec::Decode)]
pub struct Replaced {
    /// Which, as they were before the edit.
    pub lines: Lines,
    /// How many lines there are instead.
    pub by: u32,
}

impl Replaced {
    /// All lines of a file of which nothing more is known.
    pub const ALL: Self = Self { lines: Lines { start: 1, count: u32::MAX }, by: u32::MAX };
}

/// Which lines a diff replaces, in the order of the file: all of them where it does not say, as for a binary file, or
/// where it was cut.
pub fn replaced_lines(diff: &str) -> Vec<Replaced> {
    let Some(hunks) = hunks(diff) else { return vec![Replaced::ALL] };
    if hunks.is_empty() && diff.lines().any(|line| line.starts_with("Binary files ") || line.starts_with("Files ")) {
        return vec![Replaced::ALL];
    }
    let mut all: Vec<Replaced> = Vec::new();
    for hunk in hunks {
        // A hunk that begins with an insertion names the line before it.
        let mut next = if hunk.old_count == 0 { hunk.old_start.saturating_add(1) } else { hunk.old_start };
        let mut open: Option<Replaced> = None;
        for line in &hunk.lines {
            if line.kind == Kind::Kept {
                all.extend(open.take());
                next = next.saturating_add(1);
                continue;
            }
            let open = open.get_or_insert(Replaced { lines: Lines { start: next, count: 0 }, by: 0 });
            if line.kind == Kind::Removed {
                open.lines.count += 1;
                next = next.saturating_add(1);
            } else {
                open.by += 1;
            }
        }
        all.extend(open);
    }
    for replaced in all.iter_mut().filter(|replaced| replaced.lines.count == 0) {
        // A header that says that lines begin before the first is somebody's mistake.
        replaced.lines.start = replaced.lines.start.saturating_sub(1);
    }
    all
}

/// What a file held before the edit that `diff` tells of, given what it holds after it. `None` where the diff does not
/// fit, line for line, or was cut.
pub fn before(after: &str, diff: &str) -> Option<String> {
    let after: Vec<&str> = after.split_inclusive('\n').collect();
    let mut before = String::new();
    let mut at = 0;
    for hunk in hunks(diff)? {
        let start = if hunk.new_count == 0 { hunk.new_start } else { hunk.new_start.checked_sub(1)? } as usize;
        for line in after.get(at..start)? {
            before.push_str(line);
        }
        at = start;
        for line in &hunk.lines {
            if line.kind != Kind::Removed {
                let found = *after.get(at)?;
                let (text, ended) = found.strip_suffix('\n').map_or((found, false), |text| (text, true));
                if text != line.text || ended == line.unended {
                    return None;
                }
                at += 1;
            }
            if line.kind != Kind::Added {
                before.push_str(line.text);
                if !line.unended {
                    before.push('\n');
                }
            }
        }
    }
    for line in after.get(at..)? {
        before.push_str(line);
    }
    Some(before)
}

/// The hunks of a diff; `None` where one is not whole.
fn hunks(diff: &str) -> Option<Vec<Hunk<'_>>> {
    let mut all: Vec<Hunk<'_>> = Vec::new();
    // How many lines of the hunk at hand are still to come, before and after the edit.
    let (mut old, mut new) = (0, 0);
    for text in diff.split('\n') {
        if old == 0
            && new == 0
            && let Some(hunk) = header(text)
        {
            (old, new) = (hunk.old_count, hunk.new_count);
            all.push(hunk);
            continue;
        }
        let Some(hunk) = all.last_mut() else { continue };
        if text.starts_with('\\') {
            if let Some(last) = hunk.lines.last_mut() {
                last.unended = true;
            }
            continue;
        }
        if old == 0 && new == 0 {
            continue;
        }
        let kind = match text.as_bytes().first() {
            Some(b'-') => Kind::Removed,
            Some(b'+') => Kind::Added,
            // Some writers leave out the space of an empty line.
            Some(b' ') | None => Kind::Kept,
            Some(_) => return None,
        };
        old -= u32::from(kind != Kind::Added && old > 0);
        new -= u32::from(kind != Kind::Removed && new > 0);
        hunk.lines.push(Line { kind, text: text.get(1..).unwrap_or_default(), unended: false });
    }
    (old == 0 && new == 0).then_some(all)
}

/// `@@ -1,2 +3,4 @@ whatever`
fn header(text: &str) -> Option<Hunk<'_>> {
    let ranges = text.strip_prefix("@@ -")?.split(" @@").next()?;
    let (old, new) = ranges.split_once(" +")?;
    let ((old_start, old_count), (new_start, new_count)) = (range(old)?, range(new)?);
    Some(Hunk { old_start, old_count, new_start, new_count, lines: Vec::new() })
}

fn range(text: &str) -> Option<(u32, u32)> {
    match text.split_once(',') {
        Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "--- a/x\n+++ b/x\n@@ -1,5 +1,6 @@ fn f()\n a\n-b\n-c\n+B\n d\n+dd\n+ddd\n e\n\
                        @@ -20,2 +21,1 @@\n-t\n u\n\\ No newline at end of file\n";

    #[test]
    fn lines_that_are_replaced() {
        let lines = |start, count, by| Replaced { lines: Lines { start, count }, by };
        assert_eq!(replaced_lines(DIFF), [lines(2, 2, 1), lines(4, 0, 2), lines(20, 1, 0)]);
        assert_eq!(replaced_lines("@@ -0,0 +1,2 @@\n+a\n+b\n"), [lines(0, 0, 2)]);
        assert_eq!(replaced_lines("@@ -7,0 +8 @@\n+a\n"), [lines(7, 0, 1)]);
        assert_eq!(replaced_lines("@@ -1 +0,0 @@\n-a\n"), [lines(1, 1, 0)]);
        assert_eq!(replaced_lines("@@ -1,3 +1,3 @@\n--- x\n+++ y\n a\n b\n"), [lines(1, 1, 1)]);
        // Headers that no writer makes.
        assert_eq!(replaced_lines("@@ -0,1 +1,2 @@\n+a\n b\n"), [lines(0, 0, 1)]);
        let last = u32::MAX;
        assert_eq!(replaced_lines(&format!("@@ -{last},0 +1 @@\n+a\n")), [lines(last - 1, 0, 1)]);
        assert_eq!(replaced_lines(&format!("@@ -{last},2 +1 @@\n-a\n b\n")), [lines(last, 1, 0)]);
        for none in ["", "old mode 100644\nnew mode 100755\n", "@@ nonsense @@"] {
            assert_eq!(replaced_lines(none), [], "{none}");
        }
        for all in ["Binary files a/x and b/x differ\n", "@@ -1,2 +1,2 @@\n-a\n... [diff truncated]\n"] {
            assert_eq!(replaced_lines(all), [Replaced::ALL], "{all}");
        }
    }

    #[test]
    fn what_was_there_before() {
        let table = [
            ("a\nB\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n", Some("a\nb\nc\n")),
            ("", "@@ -1,2 +0,0 @@\n-a\n-b\n", Some("a\nb\n")),
            ("a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n", Some("")),
            (
                "a\nb",
                "@@ -1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n\\ No newline at end of file\n",
                Some("a"),
            ),
            ("a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n", None),
            ("a", "@@ -1 +1 @@\n-b\n+a\n", None),
            ("a\n", "@@ -9 +9 @@\n-b\n+a\n", None),
            ("a\n", "@@ -1,2 +1 @@\n-b\n+a\n", None),
        ];
        for (after, diff, expected) in table {
            assert_eq!(before(after, diff).as_deref(), expected, "{after:?} {diff:?}");
        }
    }
}
