//! The dispatcher: decides which job gets a place next, and wakes jobs whose event has come.
//!
//! One task owns all of it. It hears of durable events from the projector, and of what became of jobs from their
//! tasks. What it holds is derived: at a start it is built from the projections. `turns`, `keys` and `timers` are the
//! parts of it that need no runner.

mod keys;
mod recover;
mod timers;
mod turns;
mod work;

use crate::{
    inner::Inner,
    job::{self, Leave, Poke},
    rate::StartRates,
};
use keys::{Contender, Keys};
use moonlog_core::{
    event::{Event, EventBody},
    id::JobId,
    projection::{JobState, JobStatus},
    time::Timestamp,
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError},
    time::Duration,
};
use timers::Timers;
use tokio::sync::{mpsc, oneshot, watch};
use turns::{Place, Ready, Turns};
use work::Work;

/// When the end of a job is tried again whose time is up and that could not be ended.
const TRY_AGAIN_MS: u64 = 10_000;

/// What the dispatcher hears.
pub(crate) enum Message {
    /// This job was just submitted, and may begin before that is durable.
    Ahead(Box<JobState>),
    /// These events are durable and folded.
    Applied(Arc<Vec<Arc<Event>>>),
    /// A job has recorded that it waits, and gives its place back.
    Waiting(JobId),
    /// A job that kept its virtual machine while it waited wants a place again.
    WantsPlace(JobId, oneshot::Sender<()>),
    /// A job's task is over. `pokes`: how many pokes it had seen.
    Left { job: JobId, leave: Leave, pokes: u64 },
    /// Start no job any more, and say when all tasks are over.
    Shutdown(oneshot::Sender<()>),
}

struct Resident {
    poke: watch::Sender<Poke>,
    pokes: u64,
    queue: Arc<str>,
    holds_place: bool,
}

pub(crate) struct Dispatcher {
    inner: Arc<Inner>,
    inbox: mpsc::UnboundedReceiver<Message>,
    turns: Turns,
    keys: Keys,
    timers: Timers,
    /// When jobs of which key may start again.
    key_holds: BTreeSet<(Timestamp, String)>,
    residents: HashMap<JobId, Resident>,
    /// Jobs that began before their submission was durable, and of which the projections have not told yet.
    ahead: HashSet<JobId>,
    /// Whom to wake when a child ends.
    parents: HashMap<JobId, JobId>,
    /// Told when all tasks are over; from when it is there, none begins.
    shutdown: Option<oneshot::Sender<()>>,
}

impl Dispatcher {
    pub(crate) fn new(inner: Arc<Inner>, inbox: mpsc::UnboundedReceiver<Message>) -> Self {
        let turns = Turns::new(inner.options.concurrency, inner.options.queues.clone());
        let mut dispatcher = Self {
            inner,
            inbox,
            turns,
            keys: Keys::default(),
            timers: Timers::default(),
            key_holds: BTreeSet::new(),
            residents: HashMap::new(),
            ahead: HashSet::new(),
            parents: HashMap::new(),
            shutdown: None,
        };
        dispatcher.recover();
        dispatcher
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
                // Messages may come all the time.
                biased;
                () = tokio::time::sleep(wait) => self.fire_timers(),
                message = self.inbox.recv() => match message {
                    Some(message) => self.hear(message),
                    None => return,
                },
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.hear(message);
            }
        }
    }

    fn now(&self) -> Timestamp {
        (self.inner.options.clock)()
    }

    /// The job, while it has not ended.
    fn live(&self, job: &JobId) -> Option<Arc<JobState>> {
        self.inner.views.with(|all| all.job(job).cloned()).filter(|job| job.ended_at.is_none())
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Ahead(state) => self.start_ahead(*state),
            Message::Applied(events) => events.iter().for_each(|event| self.applied(event)),
            Message::Waiting(job) => self.release_place(&job),
            Message::WantsPlace(job, grant) => match self.live(&job) {
                Some(state) => {
                    let place = Place::of(&state);
                    self.turns.push(place.queue, place.turn, Ready::Grant(grant));
                }
                // The task sees that its grant was dropped, and gives up.
                None => drop(grant),
            },
            Message::Left { job, leave, pokes } => self.left(job, leave, pokes),
            Message::Shutdown(done) => {
                self.shutdown = Some(done);
                let mut residents: Vec<_> = self.residents.iter().collect();
                residents.sort_by_key(|(job, _)| **job);
                for (_, resident) in residents {
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
                EventBody::QueuePaused(change) => self.turns.set_paused(&change.queue, true),
                EventBody::QueueResumed(change) => self.turns.set_paused(&change.queue, false),
                _ => {}
            }
            return;
        };
        match &event.body {
            EventBody::JobSubmitted(_) if self.ahead.remove(&job) => {}
            EventBody::JobSubmitted(submitted) => {
                if let Some(parent) = &submitted.parent {
                    self.parents.insert(job, parent.job);
                }
                if let Some(state) = self.live(&job) {
                    self.enqueue_start(&state);
                }
            }
            EventBody::JobSignalled(_)
            | EventBody::ToolApprovalDecided(_)
            | EventBody::JobCancelRequested(_)
            | EventBody::ProcessExited(_) => {
                self.wake(&job);
            }
            body if body.is_terminal() => self.ended(&job),
            _ => {}
        }
    }

    fn ended(&mut self, job: &JobId) {
        self.timers.set(*job, None);
        let queue = self.turns.remove(job);
        if let Some(queue) = queue.or_else(|| self.keys.parked_in(job)) {
            let next = self.keys.dropped(job, &queue);
            self.contend(next);
        }
        if let Some(parent) = self.parents.remove(job) {
            self.wake(&parent);
        }
    }

    /// Something came that a job may be waiting for.
    fn wake(&mut self, job: &JobId) {
        if let Some(resident) = self.residents.get_mut(job) {
            resident.pokes += 1;
            resident.poke.send_modify(|poke| poke.count += 1);
            return;
        }
        let now = self.now();
        let Some((state, work)) = self.inner.views.with(|all| {
            let state = all.job(job).filter(|job| job.ended_at.is_none() && !job.submitted.imported)?;
            Some((state.clone(), Work::of(state, now, all)))
        }) else {
            return;
        };
        match work {
            Work::None => {}
            Work::Close => {
                self.turns.remove(job);
                self.spawn(*job, Place::of(&state).queue, false);
            }
            Work::GoOn if self.turns.contains(job) => {}
            Work::GoOn => {
                let place = Place::of(&state);
                self.turns.push(place.queue, place.turn, Ready::Resume);
            }
        }
    }

    fn left(&mut self, job: JobId, leave: Leave, pokes: u64) {
        self.release_place(&job);
        // A place that it wanted and did not wait for.
        self.turns.remove(&job);
        let Some(resident) = self.residents.remove(&job) else { return };
        match leave {
            Leave::Ended => self.release_key(&job),
            Leave::AttemptEnded => {
                self.release_key(&job);
                if let Some(state) = self.live(&job) {
                    self.enqueue_start(&state);
                }
                return;
            }
            Leave::Evicted { due } => self.timers.set(job, due),
            Leave::Abandoned => {
                // It may end when its time is up, whatever keeps it from going on; not where nothing can be recorded. Where its
                // time was up before, that was tried just now.
                let again = self.now().plus_ms(TRY_AGAIN_MS);
                let deadline = self.live(&job).and_then(|state| state.deadline());
                let due = deadline.filter(|_| self.inner.log.is_poisoned().is_none());
                self.timers.set(job, due.map(|due| if due <= self.now() { again } else { due }));
            }
        }
        // A poke that the task did not see any more must not be lost.
        if resident.pokes != pokes {
            self.wake(&job);
        }
    }

    fn release_key(&mut self, job: &JobId) {
        let contenders = self.keys.release(job);
        self.contend(contenders);
    }

    fn contend(&mut self, contenders: impl IntoIterator<Item = Contender>) {
        for (queue, turn) in contenders {
            self.turns.push(queue, turn, Ready::Start);
        }
    }

    /// Lets a queued job wait for its time, its key, or its place.
    fn enqueue_start(&mut self, job: &JobState) {
        let now = self.now();
        if job.cancel_requested.is_some() || job.deadline().is_some_and(|deadline| deadline <= now) {
            return self.wake(&job.id);
        }
        if let Some(at) = self.inner.not_before(job) {
            return self.timers.set(job.id, Some(job.deadline().map_or(at, |deadline| deadline.min(at))));
        }
        self.timers.set(job.id, job.deadline());
        let place = Place::of(job);
        match place.key {
            Some(key) if self.keys.is_held(&key, &job.id) => self.keys.park(&key, place.queue, place.turn),
            _ => self.turns.push(place.queue, place.turn, Ready::Start),
        }
    }

    fn until_next_timer(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(60);
        let hold = self.key_holds.first().map(|(until, _)| *until);
        [self.timers.next(), self.turns.next_held(self.now()), hold].into_iter().flatten().min().map_or(
            LONGEST,
            |due| {
                let micros = due.as_micros().saturating_sub(self.now().as_micros()).max(0);
                Duration::from_micros(micros as u64).min(LONGEST)
            },
        )
    }

    fn fire_timers(&mut self) {
        let now = self.now();
        while let Some((until, key)) = self.key_holds.pop_first() {
            if until > now {
                self.key_holds.insert((until, key));
                break;
            }
            let contenders = self.keys.first_of(&key);
            self.contend(contenders);
        }
        while let Some(job) = self.timers.take_due(now) {
            if self.residents.contains_key(&job) {
                continue;
            }
            let Some(state) = self.live(&job) else { continue };
            if state.status == JobStatus::Queued {
                self.enqueue_start(&state);
            } else {
                // It may still be waiting for a place by then.
                self.timers.set(job, state.deadline().filter(|deadline| *deadline > now));
                self.wake(&job);
            }
        }
    }

    /// Gives places away while there are any.
    fn dispatch(&mut self) {
        if self.shutdown.is_some() {
            return;
        }
        while let Some((queue, turn, ready)) = self.turns.next(self.now()) {
            let job = turn.2;
            match ready {
                Ready::Start => self.start(job, queue, turn),
                Ready::Resume => self.spawn(job, queue, true),
                Ready::Grant(grant) => {
                    if let Some(resident) = self.residents.get_mut(&job)
                        && !resident.holds_place
                        && grant.send(()).is_ok()
                    {
                        resident.holds_place = true;
                        self.turns.take_place(&queue);
                    }
                }
            }
        }
    }

    fn start(&mut self, job: JobId, queue: Arc<str>, turn: turns::Turn) {
        let Some(state) = self.live(&job).filter(|state| state.status == JobStatus::Queued) else {
            let next = self.keys.dropped(&job, &queue);
            return self.contend(next);
        };
        if let Some(key) = &state.submitted.concurrency_key {
            let now = self.now();
            if let Some(until) = self.rates(|rates| rates.key_free_at(&queue, key, now)) {
                self.key_holds.insert((until, key.clone()));
                return self.keys.park(key, queue, turn);
            }
            if !self.keys.take(key, job) {
                return self.keys.park(key, queue, turn);
            }
        }
        if self.residents.contains_key(&job) {
            return;
        }
        self.count_start(&queue, state.submitted.concurrency_key.as_deref());
        self.spawn(job, queue, true);
    }

    /// Begins a job at once whose submission is not durable yet, where nobody waits for a place and one is free. Any other is
    /// queued when the submission is.
    fn start_ahead(&mut self, state: JobState) {
        let Place { queue, .. } = Place::of(&state);
        if self.shutdown.is_some() || !self.turns.has_free_place(&queue, self.now()) {
            return self.inner.log.hurry(state.submitted_position);
        }
        self.ahead.insert(state.id);
        self.count_start(&queue, None);
        self.spawn_at(state.id, queue, true, Some(state));
    }

    fn count_start(&mut self, queue: &Arc<str>, key: Option<&str>) {
        let now = self.now();
        let until = self.rates(|rates| {
            rates.started(queue, key, now);
            rates.queue_free_at(queue, now)
        });
        self.turns.hold(queue, until);
    }

    fn rates<T>(&self, look: impl FnOnce(&mut StartRates) -> T) -> T {
        look(&mut self.inner.start_rates.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a job's task, with a place or, where it is only to be closed, without.
    fn spawn(&mut self, job: JobId, queue: Arc<str>, with_place: bool) {
        self.spawn_at(job, queue, with_place, None);
    }

    /// The same for a job whose state the projections do not have yet.
    fn spawn_at(&mut self, job: JobId, queue: Arc<str>, with_place: bool, ahead: Option<JobState>) {
        if self.residents.contains_key(&job) || self.shutdown.is_some() {
            return;
        }
        let (poke, poked) = watch::channel(Poke::default());
        if with_place {
            self.turns.take_place(&queue);
        }
        self.timers.set(job, None);
        self.residents.insert(job, Resident { poke, pokes: 0, queue, holds_place: with_place });
        tokio::spawn(job::run(self.inner.clone(), job, poked, ahead));
    }

    fn release_place(&mut self, job: &JobId) {
        if let Some(resident) = self.residents.get_mut(job)
            && resident.holds_place
        {
            resident.holds_place = false;
            self.turns.give_back(&resident.queue);
        }
    }
}
