//! The Luau host: sandbox, call paths, replay and the script library. A script is run until it waits; what it asks for
//! comes out as events, what it waits for goes in as events. No I/O of a job's own, no clock: both are the runner's.

mod engine;
mod job;
mod library;
mod limits;
pub mod replay;
mod run;
mod slice;
mod thrown;
mod value;
mod vm;

pub use engine::{Engine, EngineOptions};
pub use library::{
    Broken, Entry, Library, Linked, Origin, Problem, SchemaError, Workflow, WorkflowInfo, check, link, link_beside,
    module_names, prepare_args,
};
pub use limits::Limits;
pub use run::Run;
pub use slice::{Earlier, Found, Input, RunError, RunSpec, RunState, Slice, StopHandle, Wanted};
pub use vm::as_guest;
