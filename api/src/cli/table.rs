//! Columns of text, aligned.

use super::paint::{Look, Paint, harmless};
use console::{Alignment, measure_text_width, pad_str, truncate_str};

/// Rows under a heading. Cells are shown as they are, in one line each.
#[derive(Debug, Default)]
pub struct Table {
    heading: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

const GAP: &str = "  ";

impl Table {
    /// An empty table; a heading that begins with `>` is a column of numbers, set to the right.
    pub fn new(heading: &[&str]) -> Self {
        Self {
            heading: heading.iter().map(|cell| cell.trim_start_matches('>').to_owned()).collect(),
            right: heading.iter().map(|cell| cell.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// A table of cells that may be painted already.
    pub const fn of(heading: Vec<String>, right: Vec<bool>, rows: Vec<Vec<String>>) -> Self {
        Self { heading, right, rows }
    }

    /// Adds a row of texts from outside.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| harmless(&cell).into_owned()).collect());
    }

    /// The table as text. Where it is wider than `columns`, its widest column is cut; `None` cuts nothing.
    pub fn render(&self, columns: Option<usize>, paint: Paint) -> String {
        let count = self.heading.len();
        let cell = |row: &Vec<String>, at: usize| row.get(at).map_or(0, |text| measure_text_width(text));
        let mut widths: Vec<usize> = (0..count)
            .map(|at| self.rows.iter().chain([&self.heading]).map(|row| cell(row, at)).max().unwrap_or(0))
            .collect();
        if let Some(columns) = columns {
            narrow(&mut widths, columns.saturating_sub(GAP.len() * count.saturating_sub(1)));
        }
        let line = |row: &Vec<String>, look: Option<Look>| {
            let mut out = String::new();
            for (at, &width) in widths.iter().enumerate() {
                let text = row.get(at).map_or("", String::as_str);
                let text = truncate_str(text, width, "…");
                let right = self.right.get(at).copied().unwrap_or(false);
                let side = if right { Alignment::Right } else { Alignment::Left };
                let padded = pad_str(&text, width, side, None);
                out.push_str(if at == 0 { "" } else { GAP });
                out.push_str(&look.map_or_else(|| padded.clone(), |look| paint.put(look, &padded)));
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
            out
        };
        let heading = line(&self.heading, Some(Look::Bold));
        self.rows.iter().fold(heading, |mut out, row| {
            out.push_str(&line(row, None));
            out
        })
    }
}

/// Takes columns from the widest until all fit into `room`, but none below eight.
fn narrow(widths: &mut [usize], room: usize) {
    const NARROWEST: usize = 8;
    loop {
        let sum: usize = widths.iter().sum();
        let Some(widest) = widths.iter_mut().max() else { return };
        if sum <= room || *widest <= NARROWEST {
            return;
        }
        *widest = widest.saturating_sub(sum - room).max(NARROWEST).max(*widest * 3 / 4);
        if *widest < NARROWEST {
            *widest = NARROWEST;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_widest_is_cut() {
        let mut table = Table::new(&["NAME", ">N", "WHAT"]);
        table.row(["a".into(), "1".into(), "a long description that does not fit into forty columns".into()]);
        table.row(["longer\x1b[31m".into(), "1234".into(), "short".into()]);
        let text = table.render(Some(40), Paint::OFF);
        assert!(text.lines().all(|line| measure_text_width(line) <= 40), "{text}");
        insta::assert_snapshot!(text);
        insta::assert_snapshot!("whole", table.render(None, Paint::OFF));
    }
}
