//! The runner: takes jobs from their queues, drives their scripts, performs what these ask for, and appends what
//! happened. It is one more client of the log: it reads projections and writes through commands. What the log holds
//! decides; what is in memory here can be lost at any moment.

mod again;
pub mod agent;
mod bounds;
mod bulk;
mod clock;
mod command;
mod deletion;
mod derived_id;
mod dispatcher;
mod heap;
mod held;
pub mod http;
mod import;
mod inner;
mod job;
mod locks;
mod memory;
mod options;
pub mod process;
mod projector;
mod queue_places;
mod queues;
mod rate;
mod request;
mod reuse;
mod runner;
mod schedule;
pub mod secret;
mod session;
mod sources;
mod step_result;
mod submit;
mod temporary;
mod threads;
pub mod tool;
mod waiters;
pub mod webhook;
pub mod workspace;

pub use bounds::Bounds;
pub use bulk::{Bulk, BulkFailure, BulkReport};
pub use clock::{Clock, SteadyClock, system_clock};
pub use deletion::{Delete, Deletion};
pub use options::{Ids, QueueOptions, RunnerOptions, random_ids};
pub use queues::QueueView;
pub use request::{CommandError, Fork, Retry, ScriptSource, StartError, Submit, SubmitError, Submitted};
pub use reuse::CacheOptions;
pub use runner::Runner;
pub use schedule::{ScheduleView, SetSchedule};
pub use step_result::StepResult;
pub use threads::Threads;
