//! A table of what was measured at several sizes, with how many times the first the last is.

use crate::report::{Unit, aligned, key, shown};
use serde_json::{Map, Value, json};

/// Measurements by size.
pub struct Growth {
    title: &'static str,
    what: &'static str,
    sizes: Vec<u64>,
    rows: Vec<(String, Unit, Vec<Option<f64>>)>,
    notes: Vec<String>,
}

impl Growth {
    /// An empty table, whose sizes are numbers of `what`.
    pub const fn new(title: &'static str, what: &'static str) -> Self {
        Self { title, what, sizes: Vec::new(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Begins the next size.
    pub fn size(&mut self, size: u64) {
        self.sizes.push(size);
    }

    /// Something that was measured at this size.
    pub fn put(&mut self, name: &str, unit: Unit, value: f64) {
        let at = self.sizes.len().saturating_sub(1);
        let row = match self.rows.iter().position(|(known, ..)| known == name) {
            Some(row) => row,
            None => {
                self.rows.push((name.to_owned(), unit, Vec::new()));
                self.rows.len() - 1
            }
        };
        let values = &mut self.rows[row].2;
        values.resize(at, None);
        values.push(Some(value));
    }

    /// Adds a remark below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints the table, and the same as a line of JSON.
    #[expect(clippy::print_stdout, reason = "the report is what this program is for")]
    pub fn print(&self) {
        println!("{}", self.text());
        println!("{}\n", self.json());
    }

    fn text(&self) -> String {
        let cell = |value: Option<f64>, unit| shown(value, unit);
        let mut lines: Vec<Vec<String>> = Vec::new();
        let heads = self.sizes.iter().map(|size| shown(Some(*size as f64), Unit::Count));
        lines.push(std::iter::once(self.what.to_owned()).chain(heads).chain(["last of first".into()]).collect());
        for (name, unit, values) in &self.rows {
            let cells = (0..self.sizes.len()).map(|at| cell(values.get(at).copied().flatten(), *unit));
            let last = cell(growth(values), Unit::Ratio);
            lines.push(std::iter::once(name.clone()).chain(cells).chain([last]).collect());
        }
        let mut text = format!("scale: {}\n{}", self.title, aligned(&lines));
        self.notes.iter().for_each(|note| text.push_str(&format!("  {note}\n")));
        text
    }

    fn json(&self) -> Value {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let row = |(name, unit, values): &(String, Unit, Vec<Option<f64>>)| {
            let values: Vec<_> = values.iter().map(|value| value.map(rounded)).collect();
            (key(name, *unit), json!({ "values": values, "last_of_first": growth(&self.row(name)).map(rounded) }))
        };
        let rows: Map<String, Value> = self.rows.iter().map(row).collect();
        json!({ "benchmark": "scale", "title": self.title, "sizes": self.sizes, "rows": rows })
    }

    fn row(&self, name: &str) -> Vec<Option<f64>> {
        self.rows.iter().find(|(known, ..)| known == name).map(|(_, _, values)| values.clone()).unwrap_or_default()
    }
}

/// How many times the first value the last one is.
fn growth(values: &[Option<f64>]) -> Option<f64> {
    let (first, last) = (values.first().copied().flatten()?, values.last().copied().flatten()?);
    (values.len() > 1 && first > 0.0).then(|| last / first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_says_how_it_grew() {
        let mut table = Growth::new("things", "things");
        table.size(10);
        table.put("time", Unit::Ms, 2.0);
        table.size(20);
        table.put("time", Unit::Ms, 3.0);
        table.put("late", Unit::Count, 7.0);
        assert_eq!(
            table.text(),
            "scale: things\n  things       10       20  last of first\n  time    2.00 ms  3.00 ms          1.50x\n  late          -        7              -\n"
        );
        assert_eq!(table.json()["rows"]["time_ms"], json!({ "values": [2.0, 3.0], "last_of_first": 1.5 }));
    }
}
