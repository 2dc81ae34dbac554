//! Schedules: what is set, and what came of it.

use crate::{
    codec::{Decode, Encode},
    event::{Event, EventBody, ScheduleFired, ScheduleSet, ScheduleSkipped, StreamId},
    id::JobId,
    time::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc};

/// Clocks that are set back by less than this, in milliseconds, are waited for.
const SET_BACK_MS: u64 = 3_600_000;
/// What came within so long counts as having come now, in milliseconds.
const MOMENT_MS: u32 = 60_000;

/// A schedule that is set.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ScheduleState {
    /// Its name.
    pub name: Arc<str>,
    /// When, and what.
    pub set: Arc<ScheduleSet>,
    /// When it was set last.
    pub set_at: Timestamp,
    /// The version of its stream.
    pub version: u64,
    /// The last time that was fired or skipped, by its pattern.
    pub last_due: Option<Timestamp>,
    /// The job of its last firing.
    pub last_job: Option<JobId>,
    /// Why it submitted no job when it was last due.
    pub last_skipped: Option<ScheduleSkipped>,
    /// How often it submitted a job.
    pub fired: u64,
    /// How often it did not.
    pub skipped: u64,
}

impl ScheduleState {
    pub(crate) fn new(name: Arc<str>, set: Arc<ScheduleSet>, set_at: Timestamp, version: u64) -> Self {
        Self { name, set, set_at, version, last_due: None, last_job: None, last_skipped: None, fired: 0, skipped: 0 }
    }

    /// Up to here nothing is due any more: what was due before a schedule was set is not its own. Where that is far ahead of
    /// `now`, the clock was set back since, and the schedule shall not stand still until it has caught up: then what was done since counts, and
    /// what was due a moment ago.
    pub fn done_until(&self, now: Timestamp) -> Timestamp {
        let ahead = now.plus_ms(SET_BACK_MS);
        let done = self.last_due.map_or(self.set_at, |due| due.max(self.set_at));
        if done <= ahead {
            return done;
        }
        let moment = Timestamp::from_micros(now.as_micros() - i64::from(MOMENT_MS) * 1_000);
        [Some(self.set_at), self.last_due]
            .into_iter()
            .flatten()
            .filter(|done| *done <= ahead)
            .fold(moment, Timestamp::max)
    }

    fn fired(&mut self, event: &Event, fired: &ScheduleFired) {
        // Earlier than the one before where the clock was set back.
        self.last_due = Some(fired.due.unwrap_or(event.time));
        self.last_skipped = fired.skipped;
        if fired.job.is_some() {
            self.last_job = fired.job;
            self.fired += 1;
        } else {
            self.skipped += 1;
        }
    }
}

/// All schedules that are set, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schedules(BTreeMap<Arc<str>, ScheduleState>);

impl Schedules {
    pub(super) fn apply(&mut self, event: &Event) {
        let StreamId::Schedule(name) = &event.stream else { return };
        match &event.body {
            EventBody::ScheduleSet(set) => {
                let set = Arc::new(set.clone());
                match self.0.get_mut(name) {
                    Some(schedule) => (schedule.set, schedule.set_at) = (set, event.time),
                    None => {
                        let schedule = ScheduleState::new(name.clone(), set, event.time, event.version);
                        self.0.insert(name.clone(), schedule);
                    }
                }
            }
            EventBody::ScheduleRemoved(_) => {
                self.0.remove(name);
            }
            EventBody::ScheduleFired(fired) => {
                if let Some(schedule) = self.0.get_mut(name) {
                    schedule.fired(event, fired);
                }
            }
            _ => {}
        }
        if let Some(schedule) = self.0.get_mut(name) {
            schedule.version = event.version;
        }
    }

    /// Puts back what [`Self::iter`] gave.
    pub(super) fn restore(&mut self, schedule: ScheduleState) {
        self.0.insert(schedule.name.clone(), schedule);
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &ScheduleState> {
        self.0.values()
    }

    /// The schedule of this name.
    pub fn get(&self, name: &str) -> Option<&ScheduleState> {
        self.0.get(name)
    }
}
