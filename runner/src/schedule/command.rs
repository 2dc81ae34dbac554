//! Setting, removing and showing schedules.

use crate::{
    inner::Inner,
    request::{CommandError, SubmitError},
    runner::Runner,
};
use moonlog_core::{
    decide::{decide_remove_schedule, decide_set_schedule},
    error_info::ErrorInfo,
    event::{EventBody, ScheduleSet, ScheduleSkipped, StreamId},
    id::JobId,
    log::{Append, Expected},
    projection::ScheduleState,
    schedule::{Cron, InvalidCron},
    time::Timestamp,
};
use serde::Serialize;
use std::sync::Arc;

/// The longest name, in bytes.
const NAME_MAX_BYTES: usize = 128;
/// How many coming times are shown.
const NEXT_SHOWN: usize = 3;

/// A schedule to be set.
#[derive(Debug, Clone, PartialEq)]
pub struct SetSchedule {
    /// Its name.
    pub name: String,
    /// When, and what.
    pub set: ScheduleSet,
}

/// A schedule as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: Arc<str>,
    /// When, and what.
    #[serde(flatten)]
    pub set: Arc<ScheduleSet>,
    /// When it was set last.
    pub set_at: Timestamp,
    /// The next times by its pattern, jitter left out; none while it is paused.
    pub next: Vec<Timestamp>,
    /// The last time that was fired or skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_due: Option<Timestamp>,
    /// The job of its last firing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_job: Option<JobId>,
    /// Why it submitted none when it was last due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_skipped: Option<ScheduleSkipped>,
    /// How often it submitted a job.
    pub fired: u64,
    /// How often it did not.
    pub skipped: u64,
}

impl ScheduleView {
    fn of(state: &ScheduleState, now: Timestamp) -> Self {
        let cron = Cron::read(&state.set.cron, &state.set.time_zone).ok().filter(|_| !state.set.paused);
        let mut from = state.done_until(now);
        let next = cron.iter().flat_map(|cron| {
            std::iter::from_fn(|| {
                from = cron.next(from)?;
                Some(from)
            })
            .take(NEXT_SHOWN)
            .collect::<Vec<_>>()
        });
        Self {
            name: state.name.clone(),
            next: next.collect(),
            set: state.set.clone(),
            set_at: state.set_at,
            last_due: state.last_due,
            last_job: state.last_job,
            last_skipped: state.last_skipped,
            fired: state.fired,
            skipped: state.skipped,
        }
    }
}

impl Runner {
    /// Sets a schedule, or changes it. Says whether it is new.
    ///
    /// # Errors
    /// Where its pattern, time zone, queue, workflow or arguments are no good.
    pub async fn set_schedule(&self, request: SetSchedule) -> Result<(ScheduleView, bool), CommandError> {
        let SetSchedule { name, mut set } = request;
        check_name(&name)?;
        let inner = self.inner();
        Cron::parse(&set.cron, &set.time_zone, inner.calendar_now()).map_err(invalid_cron)?;
        inner.check_job_of(&mut set).await?;
        let _turn = inner.commands.of(name.as_bytes()).lock().await;
        let (events, is_new, count) = inner.views.with(|all| {
            let current = all.schedules().get(&name);
            (decide_set_schedule(current, set), current.is_none(), all.schedules().iter().len())
        });
        let max = inner.options.bounds.schedules;
        if is_new && count >= max {
            let message = format!(
                "there are {count} schedules, and {max} are allowed: remove one first, or raise limits.schedules"
            );
            return Err(CommandError::Conflict(ErrorInfo::new("too_many_schedules", message)));
        }
        inner.change_schedule(&name, events).await?;
        Ok((self.schedule(&name).ok_or_else(|| no_such_schedule(&name))?, is_new))
    }

    /// Removes a schedule. Its jobs go on.
    ///
    /// # Errors
    /// Where there is no such schedule.
    pub async fn remove_schedule(&self, name: &str) -> Result<(), CommandError> {
        let inner = self.inner();
        let _turn = inner.commands.of(name.as_bytes()).lock().await;
        let events = inner.views.with(|all| decide_remove_schedule(all.schedules().get(name)));
        if events.is_empty() {
            return Err(no_such_schedule(name));
        }
        inner.change_schedule(name, events).await
    }

    /// A schedule as it stands.
    pub fn schedule(&self, name: &str) -> Option<ScheduleView> {
        let now = self.inner().calendar_now();
        self.views().with(|all| all.schedules().get(name).map(|state| ScheduleView::of(state, now)))
    }

    /// All schedules, by name.
    pub fn schedules(&self) -> Vec<ScheduleView> {
        let now = self.inner().calendar_now();
        let all: Vec<_> = self.views().with(|all| all.schedules().iter().cloned().collect());
        all.iter().map(|state| ScheduleView::of(state, now)).collect()
    }
}

impl Inner {
    /// Checks that a schedule's jobs would be accepted now, and fills in the defaults of their arguments.
    async fn check_job_of(&self, set: &mut ScheduleSet) -> Result<(), CommandError> {
        if let Some(queue) = set.queue.as_ref().filter(|queue| !self.has_queue(queue)) {
            return Err(SubmitError::NoSuchQueue { name: queue.clone() }.into());
        }
        set.args = self.checked_args(&set.workflow, &set.args).await?;
        Ok(())
    }

    async fn change_schedule(&self, name: &str, events: Vec<EventBody>) -> Result<(), CommandError> {
        if events.is_empty() {
            return Ok(());
        }
        let events = events.into_iter().map(Into::into).collect();
        let appended = self.log.append(Append::new(StreamId::Schedule(name.into()), Expected::Any, events))?;
        self.applied(appended.last_position).await?;
        self.schedules_changed.notify_one();
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), CommandError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.chars().all(fits) {
        let message = format!("a schedule's name has 1 to {NAME_MAX_BYTES} letters, digits, `-`, `_`, `.` or `:`");
        return Err(CommandError::Invalid(ErrorInfo::new("invalid_schedule_name", message)));
    }
    Ok(())
}

fn invalid_cron(error: InvalidCron) -> CommandError {
    let code = match error {
        InvalidCron::TimeZone(_) => "invalid_time_zone",
        InvalidCron::Pattern { .. } | InvalidCron::Never(_) => "invalid_cron",
    };
    CommandError::Invalid(ErrorInfo::new(code, error.to_string()))
}

fn no_such_schedule(name: &str) -> CommandError {
    CommandError::NotFound(ErrorInfo::new("no_such_schedule", format!("no schedule is named `{name}`")))
}
