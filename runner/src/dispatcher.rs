//! The dispatcher: decides which job gets a place next, and wakes jobs whose event has come.
//!
//! One task owns all of it. It hears of durable events from the projector, and of what became of jobs from their
//! tasks. What it holds is derived: at a start it is built from the projections.

use crate::{
    job::{self, Leave, Poke},
    memory::Dropped,
    options::QueueOptions,
    runner::Inner,
};
use moonlog_core::{
    event::{Event, EventBody},
    id::JobId,
    projection::{JobState, JobStatus},
    time::Timestamp,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// What the dispatcher hears.
pub(crate) enum Message {
    /// These events are durable and folded.
    Applied(Vec<Arc<Event>>),
    /// A job has recorded that it waits, and gives its place back.
    Waiting(JobId),
    /// A job that kept its virtual machine while it waited wants a place again.
    WantsPlace(JobId, oneshot::Sender<()>),
    /// A job's task is over. `pokes`: how many pokes it had seen.
    Left { job: JobId, leave: Leave, pokes: u64 },
    /// Start no job any more, and say when all tasks are over.
    Shutdown(oneshot::Sender<()>),
}

/// Who waits for a place, in the order in which they get one: higher priority first, then the older one.
type Turn = (Reverse<i32>, u64, JobId);

enum Ready {
    /// A queued job.
    Start,
    /// A running or waiting job without a task.
    Resume,
    /// A waiting job whose task waits for this.
    Grant(oneshot::Sender<()>),
}

#[derive(Default)]
struct Queue {
    limits: QueueOptions,
    paused: bool,
    running: usize,
    ready: BTreeMap<Turn, Ready>,
}

struct Resident {
    poke: watch::Sender<Poke>,
    pokes: u64,
    queue: Arc<str>,
    holds_place: bool,
}

/// What decides a job's turn.
struct Place {
    queue: Arc<str>,
    turn: Turn,
    key: Option<String>,
}

impl Place {
    fn of(job: &JobState) -> Self {
        Self {
            queue: job.submitted.queue.as_str().into(),
            turn: (Reverse(job.submitted.priority), job.submitted_position, job.id),
            key: job.submitted.concurrency_key.clone(),
        }
    }
}

pub(crate) struct Dispatcher {
    inner: Arc<Inner>,
    inbox: mpsc::UnboundedReceiver<Message>,
    queues: HashMap<Arc<str>, Queue>,
    running: usize,
    residents: HashMap<JobId, Resident>,
    /// Jobs in some queue's `ready`.
    turns: HashMap<JobId, (Arc<str>, Turn)>,
    /// The job that holds a concurrency key, and those that wait for it.
    keys: HashMap<String, KeyState>,
    held_keys: HashMap<JobId, String>,
    timers: BTreeSet<(Timestamp, JobId)>,
    timer_of: HashMap<JobId, Timestamp>,
    /// Whom to wake when a child ends.
    parents: HashMap<JobId, JobId>,
    /// Virtual machines of jobs that wait.
    dropped: Dropped,
    shutdown: Option<oneshot::Sender<()>>,
}

struct KeyState {
    holder: JobId,
    waiting: BTreeSet<(Turn, Arc<str>)>,
}

impl Dispatcher {
    pub(crate) fn new(inner: Arc<Inner>, inbox: mpsc::UnboundedReceiver<Message>) -> Self {
        let mut dispatcher = Self {
            inner,
            inbox,
            queues: HashMap::new(),
            running: 0,
            residents: HashMap::new(),
            turns: HashMap::new(),
            keys: HashMap::new(),
            held_keys: HashMap::new(),
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
            parents: HashMap::new(),
            dropped: Dropped::default(),
            shutdown: None,
        };
        dispatcher.recover();
        dispatcher
    }

    /// Builds what is held here from the projections, at a start.
    fn recover(&mut self) {
        let now = self.now();
        let inner = self.inner.clone();
        inner.views.with(|projection| {
            for (name, queue) in projection.queues().iter() {
                self.queue(name).paused = queue.paused;
            }
            for job in projection.live_jobs().filter(|_| inner.options.resume_jobs) {
                if let Some(parent) = &job.submitted.parent {
                    self.parents.insert(job.id, parent.job);
                }
                match job.status {
                    _ if job.submitted.imported => {}
                    JobStatus::Queued => self.enqueue_start(Place::of(job), job.not_before(), now),
                    JobStatus::Running => {
                        self.hold_key(job);
                        self.enqueue(Place::of(job), Ready::Resume);
                    }
                    JobStatus::Waiting => {
                        self.hold_key(job);
                        self.set_timer(job.id, job.next_due());
                        if job.has_work(now, projection) {
                            self.enqueue(Place::of(job), Ready::Resume);
                        }
                    }
                    _ => {}
                }
            }
        });
    }

    pub(crate) async fn run(mut self) {
        loop {
            self.dispatch();
            if let Some(done) = self.shutdown.take_if(|_| self.residents.is_empty()) {
                let _ = done.send(());
                return;
            }
            let wait = self.until_next_timer();
            tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => self.hear(message),
                    None => return,
                },
                () = tokio::time::sleep(wait) => self.fire_timers(),
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.hear(message);
            }
        }
    }

    fn now(&self) -> Timestamp {
        (self.inner.options.clock)()
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Applied(events) => events.iter().for_each(|event| self.applied(event)),
            Message::Waiting(job) => self.release_place(&job),
            Message::WantsPlace(job, grant) => match self.inner.views.job(&job) {
                Ok(Some(state)) => self.enqueue(Place::of(&state), Ready::Grant(grant)),
                // The task sees that its grant was dropped, and gives up.
                _ => drop(grant),
            },
            Message::Left { job, leave, pokes } => self.left(job, leave, pokes),
            Message::Shutdown(done) => {
                self.shutdown = Some(done);
                for resident in self.residents.values() {
                    resident.poke.send_modify(|poke| poke.shutdown = true);
                }
            }
        }
    }

    fn applied(&mut self, event: &Event) {
        if event.origin.is_some() {
            return;
        }
        let Some(job) = event.job else {
            match &event.body {
                EventBody::QueuePaused(change) => self.queue(&Arc::from(change.queue.as_str())).paused = true,
                EventBody::QueueResumed(change) => self.queue(&Arc::from(change.queue.as_str())).paused = false,
                _ => {}
            }
            return;
        };
        match &event.body {
            EventBody::JobSubmitted(submitted) => {
                if let Some(parent) = &submitted.parent {
                    self.parents.insert(job, parent.job);
                }
                let place = Place {
                    queue: submitted.queue.as_str().into(),
                    turn: (Reverse(submitted.priority), event.position, job),
                    key: submitted.concurrency_key.clone(),
                };
                self.enqueue_start(place, submitted.run_at, event.time);
            }
            // The task of the failed attempt may not have left yet: then `left` sees to it.
            EventBody::JobRetryScheduled(retry) if !self.residents.contains_key(&job) => {
                self.set_timer(job, Some(event.time.plus_ms(retry.wait_ms)));
            }
            EventBody::JobSignalled(_)
            | EventBody::ToolApprovalDecided(_)
            | EventBody::JobCancelRequested(_)
            | EventBody::ProcessExited(_) => {
                self.wake(&job);
            }
            body if body.is_terminal() => {
                self.set_timer(job, None);
                self.drop_turn(&job);
                if let Some(parent) = self.parents.remove(&job) {
                    self.wake(&parent);
                }
            }
            _ => {}
        }
    }

    /// Something came that a job may be waiting for.
    fn wake(&mut self, job: &JobId) {
        if let Some(resident) = self.residents.get_mut(job) {
            resident.pokes += 1;
            resident.poke.send_modify(|poke| poke.count += 1);
            return;
        }
        if self.turns.contains_key(job) {
            return;
        }
        if let Ok(Some(state)) = self.inner.views.job(job)
            && matches!(state.status, JobStatus::Waiting | JobStatus::Running)
            && !state.submitted.imported
        {
            self.enqueue(Place::of(&state), Ready::Resume);
        }
    }

    fn left(&mut self, job: JobId, leave: Leave, pokes: u64) {
        self.release_place(&job);
        let Some(resident) = self.residents.remove(&job) else { return };
        match leave {
            Leave::Ended => {
                self.release_key(&job);
                if let Ok(Some(state)) = self.inner.views.job(&job)
                    && state.status == JobStatus::Queued
                {
                    let now = self.now();
                    self.enqueue_start(Place::of(&state), state.not_before(), now);
                }
            }
            Leave::Evicted { due } => {
                self.dropped.one();
                self.set_timer(job, due);
                // A poke that the task did not see any more must not be lost.
                if resident.pokes != pokes {
                    self.wake(&job);
                }
            }
            Leave::Abandoned => {}
        }
    }

    fn queue(&mut self, name: &Arc<str>) -> &mut Queue {
        let options = &self.inner.options;
        self.queues.entry(name.clone()).or_insert_with(|| Queue {
            limits: options.queues.get(&**name).cloned().unwrap_or_default(),
            ..Queue::default()
        })
    }

    fn enqueue_start(&mut self, place: Place, not_before: Option<Timestamp>, now: Timestamp) {
        match not_before {
            Some(at) if at > now => self.set_timer(place.turn.2, Some(at)),
            _ => self.enqueue(place, Ready::Start),
        }
    }

    fn enqueue(&mut self, place: Place, ready: Ready) {
        let job = place.turn.2;
        if let Some(key) = place.key
            && matches!(ready, Ready::Start)
            && let Some(state) = self.keys.get_mut(&key)
            && state.holder != job
        {
            state.waiting.insert((place.turn, place.queue));
            return;
        }
        self.turns.insert(job, (place.queue.clone(), place.turn));
        self.queue(&place.queue).ready.insert(place.turn, ready);
    }

    fn drop_turn(&mut self, job: &JobId) {
        if let Some((queue, turn)) = self.turns.remove(job) {
            self.queue(&queue).ready.remove(&turn);
        }
    }

    fn set_timer(&mut self, job: JobId, due: Option<Timestamp>) {
        if let Some(old) = self.timer_of.remove(&job) {
            self.timers.remove(&(old, job));
        }
        if let Some(due) = due {
            self.timer_of.insert(job, due);
            self.timers.insert((due, job));
        }
    }

    fn until_next_timer(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(60);
        self.timers.first().map_or(LONGEST, |(due, _)| {
            let now = self.now();
            // A millisecond's remainder counts as one, so that the timer is due when we look.
            let micros = due.as_micros().saturating_sub(now.as_micros()).max(0);
            Duration::from_micros(micros as u64).min(LONGEST)
        })
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        while let Some(&(due, job)) = self.timers.first() {
            if due > now {
                break;
            }
            self.set_timer(job, None);
            match self.inner.views.job(&job) {
                Ok(Some(state)) if state.status == JobStatus::Queued => {
                    self.enqueue(Place::of(&state), Ready::Start);
                }
                Ok(Some(_)) => self.wake(&job),
                _ => {}
            }
        }
    }

    /// Gives places away while there are any.
    fn dispatch(&mut self) {
        if self.shutdown.is_some() {
            return;
        }
        while self.running < self.inner.options.concurrency {
            let Some((queue, turn)) = self.next_turn() else { return };
            let Some(ready) = self.queue(&queue).ready.remove(&turn) else { return };
            let job = turn.2;
            self.turns.remove(&job);
            match ready {
                Ready::Start => self.start(job, queue, turn),
                Ready::Resume => self.spawn(job, queue),
                Ready::Grant(grant) => {
                    if let Some(resident) = self.residents.get_mut(&job)
                        && !resident.holds_place
                        && grant.send(()).is_ok()
                    {
                        resident.holds_place = true;
                        self.running += 1;
                        self.queue(&queue).running += 1;
                    }
                }
            }
        }
    }

    /// The first in turn over all queues that have a free place. A paused queue starts no job, but lets those that it
    /// has started go on.
    fn next_turn(&self) -> Option<(Arc<str>, Turn)> {
        let mut best: Option<(Arc<str>, Turn)> = None;
        for (name, queue) in &self.queues {
            if queue.running >= queue.limits.concurrency {
                continue;
            }
            let first = if queue.paused {
                queue.ready.iter().find(|(_, ready)| !matches!(ready, Ready::Start))
            } else {
                queue.ready.first_key_value()
            };
            if let Some((turn, _)) = first
                && best.as_ref().is_none_or(|(_, other)| turn < other)
            {
                best = Some((name.clone(), *turn));
            }
        }
        best
    }

    fn start(&mut self, job: JobId, queue: Arc<str>, turn: Turn) {
        let Ok(Some(state)) = self.inner.views.job(&job) else { return };
        if state.status != JobStatus::Queued {
            return;
        }
        if let Some(key) = &state.submitted.concurrency_key {
            match self.keys.get_mut(key) {
                Some(holder) if holder.holder != job => {
                    holder.waiting.insert((turn, queue));
                    return;
                }
                _ => self.hold_key(&state),
            }
        }
        self.spawn(job, queue);
    }

    fn hold_key(&mut self, job: &JobState) {
        if let Some(key) = &job.submitted.concurrency_key {
            self.held_keys.insert(job.id, key.clone());
            self.keys
                .entry(key.clone())
                .or_insert_with(|| KeyState { holder: job.id, waiting: BTreeSet::new() })
                .holder = job.id;
        }
    }

    fn release_key(&mut self, job: &JobId) {
        let Some(key) = self.held_keys.remove(job) else { return };
        let Some(state) = self.keys.remove(&key) else { return };
        // All of them contend again: the first in turn will hold the key, the others come back here.
        for (turn, queue) in state.waiting {
            self.turns.insert(turn.2, (queue.clone(), turn));
            self.queue(&queue).ready.insert(turn, Ready::Start);
        }
    }

    fn spawn(&mut self, job: JobId, queue: Arc<str>) {
        if self.residents.contains_key(&job) {
            return;
        }
        let (poke, poked) = watch::channel(Poke::default());
        self.running += 1;
        self.queue(&queue).running += 1;
        self.set_timer(job, None);
        self.residents.insert(job, Resident { poke, pokes: 0, queue, holds_place: true });
        tokio::spawn(job::run(self.inner.clone(), job, poked));
    }

    fn release_place(&mut self, job: &JobId) {
        if let Some(resident) = self.residents.get_mut(job)
            && resident.holds_place
        {
            resident.holds_place = false;
            let queue = resident.queue.clone();
            self.running -= 1;
            self.queue(&queue).running -= 1;
        }
    }
}
