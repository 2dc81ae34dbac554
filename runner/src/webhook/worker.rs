//! A webhook at work: finds what it wants in the log, posts it, and records what came of it.

use super::{
    WebhookOptions,
    post::{Failed, Posted, post},
    recorded::{Tried, record},
    sign,
};
use crate::{http::HttpPolicy, inner::Inner};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Event, EventBody, NewEvent, StreamId, WebhookConfigured},
    log::{Append, Expected, ReadError},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
};

/// How many events one read takes.
const READ_EVENTS: usize = 512;
/// How long to wait before what could not be read or recorded is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The longest sleep: a clock that was set forward is noticed after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long posts that are under way may take when the server stops. They are made again otherwise.
const DRAIN: Duration = Duration::from_secs(3);

/// The webhooks of a server.
pub(crate) struct Workers {
    /// Told when a delivery is asked for again.
    pub(crate) changed: Notify,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Default for Workers {
    fn default() -> Self {
        Self { changed: Notify::new(), stop: watch::Sender::new(false), tasks: Mutex::default() }
    }
}

impl Workers {
    /// Begins to post what each webhook of the configuration wants.
    pub(crate) fn begin(inner: &Arc<Inner>) {
        let workers = &inner.webhooks;
        let mut tasks = workers.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, options) in &inner.options.webhooks {
            let worker = Worker::new(inner.clone(), name, options);
            tasks.push(tokio::spawn(worker.run(workers.stop.subscribe())));
        }
    }

    /// Ends them: what is under way may come to its end.
    pub(crate) async fn end(&self) {
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let all = futures_util::future::join_all(tasks);
        if tokio::time::timeout(DRAIN + Duration::from_secs(1), all).await.is_err() {
            tracing::warn!("a webhook did not stop in time");
        }
    }
}

impl Inner {
    /// What has changed in the configuration of webhooks since the last server.
    pub(crate) fn webhooks_configured(&self) -> Vec<EventBody> {
        let configured = &self.options.webhooks;
        let now = self.views.with(|all| {
            let known = all.webhooks().iter();
            known
                .map(|state| (state.name.clone(), state.types().map(String::from).collect()))
                .collect::<BTreeMap<_, _>>()
        });
        let sorted = |types: &[String]| types.iter().cloned().collect::<BTreeSet<String>>();
        let gone = now
            .iter()
            .filter(|(name, types): &(_, &BTreeSet<String>)| !types.is_empty() && !configured.contains_key(*name));
        let gone = gone.map(|(name, _)| (name.clone(), BTreeSet::new()));
        let set = configured.iter().map(|(name, options)| (name.clone(), sorted(&options.types)));
        let changed = set.filter(|(name, types)| now.get(name) != Some(types)).chain(gone);
        changed
            .map(|(webhook, types)| {
                EventBody::WebhookConfigured(WebhookConfigured { webhook, types: types.into_iter().collect() })
            })
            .collect()
    }
}

struct Worker {
    inner: Arc<Inner>,
    name: String,
    options: Arc<WebhookOptions>,
    /// Up to where the log was looked through.
    looked: u64,
    /// What was found and has no record yet.
    unrecorded: BTreeSet<u64>,
    /// Of these, what was not posted yet.
    found: VecDeque<u64>,
    /// What is being posted.
    under_way: BTreeSet<u64>,
    posts: JoinSet<Tried>,
}

impl Worker {
    fn new(inner: Arc<Inner>, name: &str, options: &WebhookOptions) -> Self {
        let looked = inner.views.with(|all| all.webhooks().get(name).map_or(0, |state| state.recorded_until));
        Self {
            inner,
            name: name.to_owned(),
            options: Arc::new(options.clone()),
            looked,
            unrecorded: BTreeSet::new(),
            found: VecDeque::new(),
            under_way: BTreeSet::new(),
            posts: JoinSet::new(),
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut applied = self.inner.views.watch_applied();
        loop {
            applied.borrow_and_update();
            let wait = match self.go_on() {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(webhook = self.name, %error, "events could not be read; it is tried again");
                    TRY_AGAIN
                }
            };
            let tried = tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(tried) = self.posts.join_next() => tried.ok(),
                changed = applied.changed(), if !self.is_full() => if changed.is_ok() { None } else { return },
                () = self.inner.webhooks.changed.notified() => None,
                () = tokio::time::sleep(wait) => None,
            };
            if let Some(tried) = tried
                && !self.record(tried).await
            {
                return;
            }
        }
        let drain = async {
            while let Some(tried) = self.posts.join_next().await {
                if let Ok(tried) = tried
                    && !self.record(tried).await
                {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(DRAIN, drain).await;
    }

    /// Looks for more where there is room, and begins what is due. Gives how long nothing else is.
    fn go_on(&mut self) -> Result<Duration, ReadError> {
        self.look()?;
        let now = (self.inner.options.clock)();
        let mut next: Option<Timestamp> = None;
        let due = self.inner.views.with(|all| {
            let Some(state) = all.webhooks().get(&self.name) else { return Vec::new() };
            let mut due = Vec::new();
            for (event, open) in state.open.iter().filter(|(event, _)| !self.under_way.contains(*event)) {
                if open.due <= now {
                    due.push((*event, open.attempt + 1));
                } else {
                    next = Some(next.map_or(open.due, |next| next.min(open.due)));
                }
            }
            due
        });
        for (event, attempt) in due {
            if self.under_way.len() < self.options.concurrency {
                self.begin(event, attempt)?;
            }
        }
        while self.under_way.len() < self.options.concurrency {
            let Some(event) = self.found.pop_front() else { break };
            self.begin(event, 1)?;
        }
        let until = |next: Timestamp| next.as_micros().saturating_sub(now.as_micros());
        let wait = next.map(|next| Duration::from_micros(u64::try_from(until(next)).unwrap_or(0)));
        Ok(wait.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN))
    }

    /// Whether so much is held here that further events wait in the log.
    fn is_full(&self) -> bool {
        self.held() >= self.options.window
    }

    /// What is on its way, and what is to be tried again.
    fn held(&self) -> usize {
        let open = self.inner.views.with(|all| all.webhooks().get(&self.name).map_or(0, |state| state.open.len()));
        self.unrecorded.len() + open
    }

    fn look(&mut self) -> Result<(), ReadError> {
        let applied = self.inner.views.applied();
        while self.looked < applied && !self.is_full() {
            let events = self.inner.log.read(self.looked, READ_EVENTS)?;
            if events.is_empty() {
                // Removed since.
                self.looked = applied.min(self.looked + READ_EVENTS as u64);
                continue;
            }
            let wanted = self.inner.views.with(|all| {
                let state = all.webhooks().get(&self.name);
                let is_wanted = |event: &&Arc<Event>| {
                    event.origin.is_none()
                        && state.is_some_and(|state| {
                            state.wants(event.position, event.body.name()) && !state.has_record(event.position)
                        })
                };
                let known = events.iter().filter(|event| event.position <= applied);
                known.filter(is_wanted).map(|event| event.position).collect::<Vec<_>>()
            });
            let last = events.last().map_or(applied, |event| event.position.min(applied));
            let room = self.options.window.saturating_sub(self.held()).max(1);
            // No further than there is room for.
            self.looked = if wanted.len() > room { wanted[room - 1] } else { last };
            for position in wanted.into_iter().take(room) {
                if self.unrecorded.insert(position) {
                    self.found.push_back(position);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, position: u64, attempt: u32) -> Result<(), ReadError> {
        let event = self.inner.log.event(position)?;
        self.under_way.insert(position);
        let (name, options) = (self.name.clone(), self.options.clone());
        let (policy, clock): (HttpPolicy, _) = (self.inner.options.http.clone(), self.inner.options.clock.clone());
        self.posts.spawn(async move {
            let Some(event) = event else { return removed(position, attempt) };
            let id = sign::id_of(&name, &event);
            let body = event.to_json(options.inline_max_bytes);
            let posted = post(&options, &policy, &id, body, clock()).await;
            Tried { event: position, id, attempt, posted }
        });
        Ok(())
    }

    /// Records what came of a try, and of all others that have ended. False where nothing can be recorded any more.
    async fn record(&mut self, first: Tried) -> bool {
        let mut events = vec![self.event_of(first)];
        while let Some(Ok(tried)) = self.posts.try_join_next() {
            events.push(self.event_of(tried));
        }
        self.inner.log.ready().await;
        match self.inner.log.append(Append::new(StreamId::System, Expected::Any, events)) {
            Ok(appended) => self.inner.applied(appended.last_position).await.is_ok(),
            Err(error) => {
                tracing::warn!(webhook = self.name, %error, "a delivery was not recorded; it is made again");
                false
            }
        }
    }

    fn event_of(&mut self, tried: Tried) -> NewEvent {
        let event = tried.event;
        self.under_way.remove(&event);
        self.unrecorded.remove(&event);
        let until = self.unrecorded.first().map_or(self.looked, |first| first - 1);
        let spread = self.inner.new_id().as_bytes()[15];
        NewEvent::new(record(&self.name, &self.options, tried, until, spread)).cause(event)
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Nobody can stop it any more where the other end is gone: then it is over too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The event was removed before it was delivered.
fn removed(event: u64, attempt: u32) -> Tried {
    let error = ErrorInfo::new("event_removed", "the event was removed from the log before it was delivered");
    let failed = Some(Failed { error, is_final: true, retry_after_ms: None });
    Tried { event, id: "removed".into(), attempt, posted: Posted { status: None, latency_ms: 0, failed } }
}
