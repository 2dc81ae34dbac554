//! The places for connections. Where all are taken, a connection that has long asked nothing, has not sent what it began to ask, or does not take its
//! answer, gives its place to the next: so whoever opens many and leaves them keeps nobody out. Feeds, and requests that are being
//! worked on, keep theirs.

use super::request::BodyStream;
use bytes::Bytes;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_stream::Stream;

/// All connections.
pub struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    entered: AtomicU64,
    /// How long a connection keeps its place whatever it does.
    keeps: Duration,
}

/// What a connection does.
pub struct Activity {
    begun: Instant,
    /// When it was last accepted, asked something or took a piece of an answer, in milliseconds from then on. That something came of a
    /// request does not count: it may come byte by byte.
    since_ms: AtomicU64,
    /// Whether it waits for the server, or for what will happen.
    busy: AtomicBool,
    yields: Notify,
}

impl Activity {
    fn new() -> Self {
        Self { begun: Instant::now(), since_ms: AtomicU64::new(0), busy: AtomicBool::new(false), yields: Notify::new() }
    }

    /// Something was asked or taken.
    pub fn moved(&self) {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since_ms.store(ms, Ordering::Relaxed);
    }

    /// Whether it is the server that is waited for.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }

    /// Returns when its place is wanted by another.
    pub async fn yields(&self) {
        loop {
            self.yields.notified().await;
            // It may have asked something in between.
            if self.idle().is_some() {
                return;
            }
        }
    }

    /// For how long it has kept its place for nothing.
    fn idle(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.since_ms.load(Ordering::Relaxed));
        (!self.busy.load(Ordering::Relaxed)).then(|| self.begun.elapsed().saturating_sub(since))
    }
}

/// A connection's place, given back when this is dropped.
pub struct Place {
    connections: Arc<Connections>,
    number: u64,
    /// What the connection does.
    pub activity: Arc<Activity>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// So many places.
    pub fn new(places: usize, keeps: Duration) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { places, open: Mutex::default(), entered: AtomicU64::new(0), keeps })
    }

    /// A place for a connection that was accepted, as soon as there is one. `None` where there will be none any more.
    pub async fn enter(self: &Arc<Self>) -> Option<Place> {
        loop {
            if let Ok(permit) = self.places.clone().try_acquire_owned() {
                return Some(self.place(permit));
            }
            let wait = match self.idlest() {
                Some((connection, idle)) if idle >= self.keeps => {
                    connection.yields.notify_one();
                    self.keeps
                }
                Some((_, idle)) => self.keeps - idle,
                None => self.keeps,
            };
            tokio::select! {
                permit = self.places.clone().acquire_owned() => return permit.ok().map(|permit| self.place(permit)),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let number = self.entered.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity::new());
        self.open().insert(number, activity.clone());
        Place { connections: self.clone(), number, activity, _permit: permit }
    }

    fn idlest(&self) -> Option<(Arc<Activity>, Duration)> {
        let open = self.open();
        let idle = open.values().filter_map(|activity| Some((activity, activity.idle()?)));
        idle.max_by_key(|(_, idle)| *idle).map(|(activity, idle)| (activity.clone(), idle))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().remove(&self.number);
    }
}

/// A body as it arrives: while it does not, nobody is busy with its request.
pub struct Arriving {
    body: BodyStream,
    activity: Arc<Activity>,
}

impl Arriving {
    /// `body`, of a request on the connection that does `activity`.
    pub fn new(body: BodyStream, activity: Arc<Activity>) -> Self {
        Self { body, activity }
    }
}

impl Stream for Arriving {
    type Item = Result<Bytes, warp::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.body.as_mut().poll_next(cx);
        self.activity.set_busy(polled.is_ready());
        polled
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.activity.set_busy(true);
    }
}
