//! `moonlog errors`: says what the codes of errors mean. Needs no server.

use crate::cli::{
    args::Errors,
    failure::{Failure, Status},
    output,
    table::Table,
};
use moonlog_core::error_code::{self, ErrorCode};

/// Runs the command.
pub fn run(options: &Errors) -> Result<Status, Failure> {
    let codes: Vec<&ErrorCode> = match options.code.as_deref() {
        None => error_code::all().collect(),
        Some(code) => match code.strip_suffix('*') {
            Some(beginning) => error_code::all().filter(|known| known.code.starts_with(beginning)).collect(),
            None => error_code::find(code).into_iter().collect(),
        },
    };
    if let (Some(code), []) = (&options.code, codes.as_slice()) {
        let failure = Failure::usage(format!("`{code}` is no error code of moonlog's"));
        return Err(failure.hint("scripts may throw codes of their own; `moonlog errors` lists moonlog's"));
    }
    if options.format.json {
        output::json(&codes)?;
        return Ok(Status::Done);
    }
    match codes.as_slice() {
        [one] => output::text(&one.to_string())?,
        many => {
            let mut table = Table::new(&["CODE", "WHERE", "HTTP", "RETRY", "MEANING"]);
            for code in many {
                table.row([
                    code.code.to_owned(),
                    code.places(),
                    code.statuses(),
                    code.retryable.to_string(),
                    code.meaning.to_owned(),
                ]);
            }
            output::table(&table)?;
        }
    }
    Ok(Status::Done)
}
