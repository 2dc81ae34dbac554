//! Processes: started through a small host process (`host`), each recorded by a task of its own (`recorder`) that
//! reads its output no faster than the log takes it, and found again in a register (`processes`). `exec` performs
//! scripts' operations on them; `table` is what clients and tools go through. Nothing here decides when a job ends; it only sees to it that no process outlives it.

mod capture;
mod command_line;
mod connected;
#[doc(hidden)]
pub mod decoders;
mod environment;
pub mod exec;
mod exec_input;
mod exec_result;
pub mod execute;
pub(crate) mod fit;
mod handle;
mod head_tail;
mod host;
mod hosted;
mod named;
mod output_text;
mod output_view;
mod processes;
mod prompt;
mod recorded;
mod recorder;
mod register;
mod search;
mod signal_name;
mod spawn_error;
mod spec;
mod stream_pieces;
mod table;

pub use capture::Captured;
pub use environment::NON_INTERACTIVE;
pub use handle::Process;
pub use head_tail::{HeadTail, Truncation};
pub use host::{Order, Report, host_main};
pub use hosted::{CommandHost, HostedCommand, HostedEnds, HostedOutput};
pub use output_view::OutputView;
pub use processes::Processes;
pub(crate) use recorded::lost;
pub use search::{Found, Match, SearchOptions};
pub use spec::{HostCommand, Owner, ProcessLimits, ProcessOptions, ProcessSpec};
pub use table::{ProcessScope, ProcessTable, StartedProcess};
