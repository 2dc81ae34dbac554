//! Schedules: setting them (`command`), and submitting their jobs when they are due (`fire`). When that is stands in
//! `moonlog_core::schedule`.

mod command;
mod fire;

pub use command::{ScheduleView, SetSchedule};
pub(crate) use fire::run;
