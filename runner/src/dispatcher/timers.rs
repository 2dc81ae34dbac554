//! When something is due about jobs that nobody else looks at. Pure.

use moonlog_core::{id::JobId, time::Timestamp};
use std::collections::{BTreeSet, HashMap};

/// At most one time for each job.
#[derive(Debug, Default)]
pub(super) struct Timers {
    in_order: BTreeSet<(Timestamp, JobId)>,
    of: HashMap<JobId, Timestamp>,
}

impl Timers {
    /// Sets a job's time anew, or takes it away.
    pub(super) fn set(&mut self, job: JobId, due: Option<Timestamp>) {
        let old = match due {
            Some(due) => self.of.insert(job, due),
            None => self.of.remove(&job),
        };
        if let Some(old) = old {
            self.in_order.remove(&(old, job));
        }
        if let Some(due) = due {
            self.in_order.insert((due, job));
        }
    }

    /// The next time.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.in_order.first().map(|(due, _)| *due)
    }

    /// Takes the first job whose time has come.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<JobId> {
        let &(_, job) = self.in_order.first().filter(|(due, _)| *due <= now)?;
        self.set(job, None);
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_is_due_once_at_its_last_time() {
        let job = |n: u8| JobId::from_bytes([n; 16]);
        let at = Timestamp::from_micros;
        let mut timers = Timers::default();
        timers.set(job(1), Some(at(10)));
        timers.set(job(2), Some(at(20)));
        timers.set(job(3), Some(at(5)));
        timers.set(job(1), Some(at(30)));
        timers.set(job(3), None);
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.take_due(at(19)), None);
        assert_eq!(timers.take_due(at(40)), Some(job(2)));
        assert_eq!(timers.take_due(at(40)), Some(job(1)));
        assert_eq!(timers.take_due(at(40)), None);
        assert!(timers.of.is_empty() && timers.in_order.is_empty());
    }
}
