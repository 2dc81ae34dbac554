//! What is printed of a benchmark: a table for people, and the same as one line of JSON.

use serde_json::{Map, Value, json};

/// How a column's numbers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// So many of something in a second.
    PerSecond,
    /// So many times something else.
    Ratio,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Bytes.
    Bytes,
    /// 2^20 bytes.
    MiB,
    /// Just a number.
    Count,
}

impl Unit {
    /// How names end of what is meant in it.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::PerSecond => "_per_s",
            Self::Ratio => "_ratio",
            Self::Ms => "_ms",
            Self::Us => "_us",
            Self::Bytes => "_bytes",
            Self::MiB => "_mib",
            Self::Count => "",
        }
    }
}

/// A table with a row for each thing that was measured.
pub struct Table {
    benchmark: &'static str,
    title: &'static str,
    columns: &'static [(&'static str, Unit)],
    rows: Vec<(String, Vec<Option<f64>>)>,
    notes: Vec<String>,
}

impl Table {
    /// An empty table. A column whose heading begins with `target` is what the column before it is meant to reach.
    pub fn new(benchmark: &'static str, title: &'static str, columns: &'static [(&'static str, Unit)]) -> Self {
        Self { benchmark, title, columns, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row: its name, and a number for each column that has one.
    pub fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Option<f64>>) {
        self.rows.push((name.into(), cells.into_iter().collect()));
    }

    /// Adds a remark below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints both forms.
    #[expect(clippy::print_stdout, reason = "the report is what this program is for")]
    pub fn print(&self) {
        println!("{}", self.text());
        println!("{}\n", self.json());
    }

    fn text(&self) -> String {
        let mut lines = vec![std::iter::once(String::new()).chain(self.columns.iter().map(|c| c.0.into())).collect()];
        for (name, cells) in &self.rows {
            let shown = cells.iter().zip(self.columns).map(|(cell, (_, unit))| shown(*cell, *unit));
            lines.push(std::iter::once(name.clone()).chain(shown).collect::<Vec<String>>());
        }
        let mut text = format!("{}: {}\n{}", self.benchmark, self.title, aligned(&lines));
        for note in &self.notes {
            text.push_str(&format!("  {note}\n"));
        }
        text
    }

    fn json(&self) -> Value {
        let row = |(name, cells): &(String, Vec<Option<f64>>)| {
            let mut row = Map::from_iter([("name".to_owned(), json!(name))]);
            for (cell, (heading, unit)) in cells.iter().zip(self.columns) {
                row.insert(key(heading, *unit), json!(cell.map(|value| (value * 1000.0).round() / 1000.0)));
            }
            Value::Object(row)
        };
        json!({ "benchmark": self.benchmark, "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

/// Lines of cells under each other: the first column begins at the left, the others end at the right.
pub fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            match column {
                0 => text.push_str(&format!("  {cell:<width$}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push('\n');
    }
    text
}

/// A number as people read it.
pub fn shown(cell: Option<f64>, unit: Unit) -> String {
    let Some(value) = cell else { return "-".into() };
    match unit {
        Unit::PerSecond => format!("{}/s", thousands(value)),
        Unit::Ratio => format!("{value:.2}x"),
        Unit::Ms if value < 10.0 => format!("{value:.2} ms"),
        Unit::Ms => format!("{} ms", thousands(value)),
        Unit::Us => format!("{value:.1} us"),
        Unit::Bytes => format!("{value:.1} B"),
        Unit::MiB => format!("{value:.1} MiB"),
        Unit::Count => thousands(value),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The name of a number in JSON.
pub fn key(heading: &str, unit: Unit) -> String {
    let unit = unit.suffix();
    let name: String =
        heading.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    name + unit
}

/// The middle of some measurements; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value that this share of the measurements does not exceed; 0 of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get(((last as f64) * share).round() as usize).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_the_same_as_json() {
        let mut table = Table::new("x", "things", &[("rate", Unit::PerSecond), ("of raw", Unit::Ratio)]);
        table.row("one", [Some(1_234_567.0), Some(0.618)]);
        table.row("eleven", [Some(9.0), None]);
        table.note("as it is");
        assert_eq!(
            table.text(),
            "x: things\n                 rate  of raw\n  one     1,234,567/s   0.62x\n  eleven          9/s       -\n  as it is\n"
        );
        let rows = [
            json!({ "name": "one", "of_raw_ratio": 0.618, "rate_per_s": 1_234_567.0 }),
            json!({ "name": "eleven", "of_raw_ratio": null, "rate_per_s": 9.0 }),
        ];
        assert_eq!(table.json(), json!({ "benchmark": "x", "rows": rows, "title": "things" }));
    }

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let cases = [(&[3.0, 1.0, 2.0][..], 0.5, 2.0), (&[], 0.5, 0.0), (&[5.0], 0.99, 5.0), (&[1.0, 9.0], 1.0, 9.0)];
        for (values, share, expected) in cases {
            assert_eq!(quantile(values, share), expected, "{values:?} {share}");
        }
    }
}
