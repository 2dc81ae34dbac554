//! Which lines of a file the edits of several sessions have touched, as the file is now. Each edit moves the lines
//! behind it, so the lines that were touched before move along.

use crate::{diff::Replaced, event::Lines, projection::Edit};

/// The lines that each owner's edits have touched, given all edits of all owners.
pub(super) fn touched(owners: &[&[Edit]]) -> Vec<Vec<Lines>> {
    let mut edits: Vec<(usize, &Edit)> =
        owners.iter().enumerate().flat_map(|(owner, edits)| edits.iter().map(move |edit| (owner, edit))).collect();
    edits.sort_by_key(|(_, edit)| edit.position);
    let mut touched = vec![Vec::new(); owners.len()];
    for (owner, edit) in edits {
        for lines in touched.iter_mut().flatten() {
            *lines = moved(*lines, &edit.replaced);
        }
        touched[owner].extend(put(&edit.replaced));
    }
    touched
}

/// Where lines stand after an edit.
fn moved(lines: Lines, edit: &[Replaced]) -> Lines {
    let first = line_after(lines.start, edit);
    let last = line_after(lines.start.saturating_add(lines.count.saturating_sub(1)), edit);
    let count = if lines.count == 0 { 0 } else { last.saturating_sub(first).saturating_add(1) };
    Lines { start: first, count }
}

/// Where a line stands after an edit; one that was replaced, where what replaced it stands.
fn line_after(line: u32, edit: &[Replaced]) -> u32 {
    let mut moved = i64::from(line);
    for replaced in edit {
        let (start, count, by) = (replaced.lines.start, replaced.lines.count, i64::from(replaced.by));
        if line < start || (count == 0 && line == start) {
            break;
        }
        let end = start.saturating_add(count);
        if line < end {
            // The last line that took its place, or the one before the place where it was.
            let within = i64::from(line - start);
            moved += within.min(by - 1) - within;
            break;
        }
        moved += by - i64::from(count);
    }
    u32::try_from(moved.max(0)).unwrap_or(u32::MAX)
}

/// The lines that an edit has put, as they stand after it; where it has put none, the place where some were.
fn put(edit: &[Replaced]) -> Vec<Lines> {
    let mut shift = 0_i64;
    let mut all = Vec::with_capacity(edit.len());
    for Replaced { lines, by } in edit {
        // An insertion names the line before it.
        let first = i64::from(lines.start) + shift + i64::from(lines.count == 0);
        let start = if *by == 0 { first - 1 } else { first };
        all.push(Lines { start: u32::try_from(start.max(0)).unwrap_or(u32::MAX), count: *by });
        shift += i64::from(*by) - i64::from(lines.count);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::replaced_lines;
    use std::slice::from_ref;

    fn edit(position: u64, diff: &str) -> Edit {
        Edit { position, replaced: replaced_lines(diff) }
    }

    fn lines(start: u32, count: u32) -> Lines {
        Lines { start, count }
    }

    #[test]
    fn lines_move_with_later_edits() {
        let inserts = edit(1, "@@ -10,0 +11,2 @@\n+a\n+b\n");
        let changes = edit(2, "@@ -20 +20 @@\n-a\n+b\n");
        let before = edit(3, "@@ -1 +1,3 @@\n-a\n+a\n+b\n+c\n");
        let deletes = edit(4, "@@ -14,2 +13,0 @@\n-a\n-b\n");
        assert_eq!(touched(&[from_ref(&inserts), from_ref(&changes)]), [[lines(11, 2)], [lines(20, 1)]]);
        assert_eq!(
            touched(&[&[inserts, before], &[changes, deletes]]),
            [vec![lines(13, 1), lines(1, 3)], vec![lines(20, 1), lines(13, 0)]],
        );
    }

    #[test]
    fn all_of_a_file_stays_all_of_it() {
        let all = Edit { position: 1, replaced: vec![Replaced::ALL] };
        let change = edit(2, "@@ -7 +7,2 @@\n-a\n+b\n+c\n");
        let touched = touched(&[from_ref(&all), from_ref(&change)]);
        assert_eq!(touched[1], [lines(7, 2)]);
        assert!(touched[0][0].start == 1 && touched[0][0].count > 1_000_000, "{touched:?}");
    }
}
