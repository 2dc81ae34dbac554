//! Standard output, written so that a reader that goes away is an end and not a panic.

use super::{
    failure::Failure,
    paint::{Paint, harmless_json, only_looks},
    table::Table,
};
use serde::Serialize;
use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

/// Writes `text` and a line end where it has none. On a terminal it can be looked at, and do nothing.
pub fn text(text: &str) -> Result<(), Failure> {
    let text = if is_terminal() { only_looks(text) } else { Cow::Borrowed(text) };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Writes a table: on a terminal as wide as that is, elsewhere as wide as it needs to be.
pub fn table(table: &Table) -> Result<(), Failure> {
    text(&table.render(is_terminal().then(columns), Paint::for_terminal(&io::stdout())))
}

/// Writes `value` as JSON over several lines.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<(), Failure> {
    let shown = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format!("cannot write the output as JSON: {error}")))?;
    line_of_json(&shown)
}

/// Writes JSON as it is, but for what would act on a terminal, which is escaped.
pub fn line_of_json(json: &str) -> Result<(), Failure> {
    text(&harmless_json(json))
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The width to fill, in columns.
pub fn columns() -> usize {
    match console::Term::stdout().size_checked() {
        Some((_, columns)) if columns >= 20 => usize::from(columns),
        _ => 100,
    }
}

/// Says something to the person, beside the output.
pub fn note(text: &str) {
    // Where nobody reads standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "{}", only_looks(text));
}
