//! Waiting for what comes next: looking for what came from outside, saying that the job waits, and taking a place again.

use super::{ActiveJob, Next, Stop, close::End};
use crate::dispatcher::Message;
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Cause, EventBody, JobResumed, JobWaiting, NewEvent, StreamId},
    time::Timestamp,
};
use std::time::Duration;
use tokio::{sync::oneshot, time::Instant};

/// How many events one read takes when a job looks for what came from outside.
const LOOK_EVENTS: usize = 256;

/// The longest sleep, where nothing is due by itself.
const LONGEST: Duration = Duration::from_secs(3600);

impl ActiveJob {
    /// Waits for what comes next.
    pub(super) async fn next(&mut self) -> Result<Next, Stop> {
        let mut evict_at: Option<Instant> = None;
        let mut keep = None;
        loop {
            self.look()?;
            let now = (self.inner.options.clock)();
            if let Some(end) = self.end_from_outside(now) {
                return Ok(Next::Close(end));
            }
            if !self.freed.is_empty() {
                evict_at = None;
                if let Some(end) = self.let_go_on().await? {
                    return Ok(Next::Close(end));
                }
            }
            if let Some(delivery) = self.take_ready(now)? {
                if let Some(end) = self.stop_waiting().await? {
                    return Ok(Next::Close(end));
                }
                evict_at = None;
                match self.deliver(delivery).await? {
                    Some(input) => return Ok(Next::Input(input)),
                    None => continue,
                }
            }
            if self.open.is_empty() {
                let error = ErrorInfo::new("internal", "the script is blocked with no operation open");
                return Ok(Next::Close(End::Failed(error)));
            }
            let held = self.open.is_held();
            if held {
                keep = keep.or_else(|| self.inner.keep_machine());
            }
            // The machine of a job that is held cannot be dropped: where many are kept, it keeps its place too.
            let may_wait = evict_at.is_none() && (!held || keep.is_some());
            if may_wait && self.start_waiting().await? && !held {
                keep = keep.or_else(|| self.inner.keep_machine());
                evict_at = Some(Instant::now() + self.idle_time(now, keep.is_some()));
            }
            let due = until(self.next_due(), now);
            let evict = evict_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(86_400));
            tokio::select! {
                // What has come is looked at before the job is left to itself.
                biased;
                Some(report) = self.results.recv() => self.performed(report),
                changed = self.poke.changed() => if changed.is_err() { return Err(Stop::Shutdown) },
                () = tokio::time::sleep(due) => {}
                () = tokio::time::sleep_until(evict), if evict_at.is_some() => return Ok(Next::Evict),
            }
        }
    }

    /// Reads what came from outside since the last look, if anything did: signals, decisions, a request to cancel.
    pub(super) fn look(&mut self) -> Result<(), Stop> {
        let (count, shutdown) = {
            let poke = self.poke.borrow_and_update();
            (poke.count, poke.shutdown)
        };
        if shutdown {
            return Err(Stop::Shutdown);
        }
        if count == self.seen_pokes {
            return Ok(());
        }
        self.seen_pokes = count;
        loop {
            let events = self.inner.log.read_stream(&StreamId::Job(self.id), self.seen_version, LOOK_EVENTS)?;
            let Some(last) = events.last() else { return Ok(()) };
            self.seen_version = last.version;
            events.iter().for_each(|event| self.inbox.note(event));
        }
    }

    /// How the job ends whatever its script does, if it does.
    pub(super) fn end_from_outside(&mut self, now: Timestamp) -> Option<End> {
        match self.inbox.cancel.take() {
            Some(request) => Some(End::Cancelled(request)),
            None => self.is_late(now).then_some(End::TimedOut),
        }
    }

    /// Whether the job's own time is up.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Records that the job waits, where all that is open waits, and gives the place back. Gives whether it waits.
    async fn start_waiting(&mut self) -> Result<bool, Stop> {
        let Some((path, wait)) = self.open.all_waiting() else { return Ok(false) };
        if !self.waiting {
            let event = JobWaiting {
                reason: wait.reason,
                step: Some(path.to_string()),
                name: wait.name,
                title: wait.title,
                until: wait.due,
            };
            let cause = self.open.get(&path).map(|open| Cause::At(open.position));
            let event = NewEvent { cause, ..self.step_event(EventBody::JobWaiting(event), &path) };
            let appended = self.append(vec![event]).await?;
            self.inbox.wait_from(appended.last_position);
            self.waiting = true;
            self.inner.tell(Message::Waiting(self.id));
        }
        Ok(true)
    }

    /// Takes a place again, and records that the job goes on. Gives how it ends, where it does so meanwhile.
    pub(super) async fn stop_waiting(&mut self) -> Result<Option<End>, Stop> {
        if !self.waiting {
            return Ok(None);
        }
        let (grant, mut granted) = oneshot::channel();
        self.inner.tell(Message::WantsPlace(self.id, grant));
        loop {
            let now = (self.inner.options.clock)();
            if let Some(end) = self.end_from_outside(now) {
                return Ok(Some(end));
            }
            tokio::select! {
                biased;
                granted = &mut granted => {
                    granted.map_err(|_| Stop::Shutdown)?;
                    break;
                }
                changed = self.poke.changed() => changed.map_err(|_| Stop::Shutdown)?,
                () = tokio::time::sleep(until(self.deadline, now)) => {}
            }
            self.look()?;
        }
        self.resume(self.inbox.wakes()).await?;
        Ok(None)
    }

    /// Records that the job goes on, because of the event at `cause`, or because its time has come.
    pub(super) async fn resume(&mut self, cause: Option<u64>) -> Result<(), Stop> {
        let resumed = NewEvent { cause: cause.map(Cause::At), ..EventBody::JobResumed(JobResumed {}).into() };
        self.append(vec![resumed]).await?;
        self.waiting = false;
        Ok(())
    }

    /// How long a job that waits keeps its virtual machine: a while, where few do or something is due by then.
    fn idle_time(&self, now: Timestamp, few: bool) -> Duration {
        let idle = Duration::from_millis(self.inner.options.idle_evict_ms);
        let soon = self.next_due().is_some_and(|due| due <= now.plus_ms(self.inner.options.idle_evict_ms));
        if few || soon { idle } else { Duration::ZERO }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        [self.open.next_due(), self.deadline].into_iter().flatten().min()
    }
}

/// How long until something is due, a long while where nothing is.
pub(super) fn until(due: Option<Timestamp>, now: Timestamp) -> Duration {
    due.map_or(LONGEST, |due| {
        Duration::from_micros(due.as_micros().saturating_sub(now.as_micros()).max(0) as u64).min(LONGEST)
    })
}
