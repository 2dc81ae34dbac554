//! Submitting the jobs of schedules when they are due.
//!
//! A firing's job has an id that follows from the schedule's name and the time, and is submitted before
//! `schedule.fired` says so: a server that dies in between fires again, and finds the job there.

use crate::{
    derived_id::derived_id,
    inner::Inner,
    request::{ScriptSource, Submit},
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{EventBody, Overlap, ScheduleFired, ScheduleSkipped, StreamId},
    id::JobId,
    log::{Append, AppendError, Expected},
    projection::ScheduleState,
    schedule::{Cron, Due, DueKind, due, next_due},
    time::Timestamp,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// The longest sleep: a clock that was set forward is noticed after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long to wait before what could not be recorded is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Fires what is due, until the runner stops.
pub(crate) async fn run(inner: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    loop {
        let wait = match inner.fire_due().await {
            Ok(next) => next.map_or(LOOK_AGAIN, |next| until(next, inner.calendar_now())).min(LOOK_AGAIN),
            Err(error) => {
                tracing::warn!(%error, "a schedule was not fired; it is tried again");
                TRY_AGAIN
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = inner.schedules_changed.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn until(next: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(next.as_micros().saturating_sub(now.as_micros())).unwrap_or(0))
}

impl Inner {
    /// Fires all that is due, and says when the next firing comes.
    async fn fire_due(&self) -> Result<Option<Timestamp>, AppendError> {
        let schedules: Vec<_> =
            self.views.with(|all| all.schedules().iter().filter(|schedule| !schedule.set.paused).cloned().collect());
        let mut next: Option<Timestamp> = None;
        for schedule in schedules {
            // A pattern that an older version took, and this one does not, fires no more.
            let Ok(cron) = Cron::read(&schedule.set.cron, &schedule.set.time_zone) else { continue };
            let come = due(&schedule, &cron, self.calendar_now());
            let now_at = if come.is_empty() { Some(schedule) } else { self.fire_all(schedule, &come).await? };
            let coming = match now_at {
                Some(now_at) => next_due(&now_at, &cron, self.calendar_now()),
                None => Some(self.calendar_now().plus_ms(TRY_AGAIN.as_millis() as u64)),
            };
            next = [next, coming].into_iter().flatten().min();
        }
        Ok(next)
    }

    /// Fires what has come of one schedule, and gives where it stands then; `None` where that is not known, as it is being set anew
    /// or removed: who does that tells when it is done, and until then the same would be tried over and over.
    async fn fire_all(&self, mut schedule: ScheduleState, come: &[Due]) -> Result<Option<ScheduleState>, AppendError> {
        for due in come {
            let fired = match due.kind {
                DueKind::Fire => self.fire(&schedule, due.at).await,
                DueKind::Missed => skipped(due.at, ScheduleSkipped::Missed, None),
            };
            let append = Append::new(
                StreamId::Schedule(schedule.name.clone()),
                Expected::Version(schedule.version),
                vec![EventBody::ScheduleFired(fired).into()],
            );
            let position = match self.log.append(append) {
                Ok(appended) => appended.last_position,
                Err(AppendError::Conflict { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            if self.applied(position).await.is_err() {
                return Ok(None);
            }
            match self.views.with(|all| all.schedules().get(&schedule.name).cloned()) {
                Some(now) => schedule = now,
                None => return Ok(None),
            }
        }
        Ok(Some(schedule))
    }

    async fn fire(&self, schedule: &ScheduleState, at: Timestamp) -> ScheduleFired {
        let job = job_of(&schedule.name, at);
        let fired = |job| ScheduleFired { job: Some(job), due: Some(at), ..ScheduleFired::default() };
        if matches!(self.views.job(&job), Ok(Some(_))) || matches!(self.views.deleted(&job), Ok(Some(_))) {
            return fired(job);
        }
        let before = schedule
            .last_job
            .filter(|last| self.views.job(last).ok().flatten().is_some_and(|last| !last.status.is_ended()));
        match (schedule.set.overlap, before) {
            (Overlap::Skip, Some(_)) => return skipped(at, ScheduleSkipped::Overlap, None),
            (Overlap::Replace, Some(before)) => {
                let reason = format!("replaced by the next firing of schedule `{}`", schedule.name);
                if let Err(error) = self.cancel(&before, Some(reason)).await {
                    tracing::debug!(job = %before, %error, "the job before was not cancelled");
                }
            }
            (_, None) | (Overlap::Queue, Some(_)) => {}
        }
        match self.admit(submission(schedule), job, None, true).await {
            Ok(_) => fired(job),
            Err(error) => {
                let error = ErrorInfo::new(error.code(), error.to_string());
                skipped(at, ScheduleSkipped::Refused, Some(error))
            }
        }
    }
}

fn skipped(at: Timestamp, why: ScheduleSkipped, error: Option<ErrorInfo>) -> ScheduleFired {
    ScheduleFired { job: None, due: Some(at), skipped: Some(why), error }
}

fn submission(schedule: &ScheduleState) -> Submit {
    let set = &schedule.set;
    let mut labels = set.labels.clone();
    labels.insert("schedule".into(), schedule.name.to_string());
    Submit {
        args: Some(set.args.clone()),
        queue: set.queue.clone(),
        // Jobs of one key run one after the other.
        concurrency_key: (set.overlap != Overlap::Skip).then(|| format!("schedule/{}", schedule.name)),
        labels,
        ..Submit::new(ScriptSource::Workflow(set.workflow.clone()))
    }
}

/// The job of a firing.
fn job_of(name: &str, at: Timestamp) -> JobId {
    derived_id(&format!("schedule/{name}/{}", at.as_micros()), at)
}
