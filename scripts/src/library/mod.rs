//! The script library: workflows by name, from folders and from inside the binary; what a script says of itself
//! (`check`), what is likely to be wrong with it (`lint`, over `tokens`), its arguments against its schema (`args`), and the
//! modules that scripts share (`link`).

mod args;
mod check;
mod discover;
mod link;
mod lint;
mod tokens;

pub use args::{SchemaError, prepare_args};
pub use check::{Problem, WorkflowInfo, check};
pub use discover::{Broken, Entry, Library, Origin, Workflow};
pub use link::{Linked, link, link_beside, module_names};
pub(crate) use link::{modules, requires};
