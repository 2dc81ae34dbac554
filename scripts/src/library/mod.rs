//! The script library: workflows by name, from folders and from inside the binary; what a script says of itself
//! (`check`), what is likely to be wrong with it (`lint`, over `tokens`), and its arguments against its schema (`args`).

mod args;
mod check;
mod discover;
mod lint;
mod source_file;
mod tokens;

pub use args::{SchemaError, prepare_args};
pub use check::{Problem, WorkflowInfo, check};
pub use discover::{Broken, Entry, Library, Origin, Workflow};
