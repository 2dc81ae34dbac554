//! Schedules: when a cron pattern is due in its time zone (`cron`), and which of the times that have come are fired,
//! made up for or skipped (`due`). Pure: the time is an argument, and time zones come with the binary.

mod cron;
mod due;

pub use cron::{Cron, InvalidCron};
pub use due::{CATCH_UP_MAX, Due, DueKind, due, next_due};
