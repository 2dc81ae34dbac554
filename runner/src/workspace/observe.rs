//! Looking after sessions that something happened in: their worktrees are scanned, so that what processes changed is
//! known, and sessions that changed the same files are told of each other. Told is only what is new, by what the log
//! holds; so a start tells nothing twice.

use super::Workspaces;
use moonlog_core::{
    collision::{Collision, collisions},
    error_info::ErrorInfo,
    event::{Event, EventBody, StreamId, WorkspaceCollisionDetected},
    id::SessionId,
    projection::{SessionState, SessionStatus, WorkspaceKind, WorkspaceStatus},
};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{Semaphore, mpsc, watch};

/// How many sessions are looked after at once.
const AT_ONCE: usize = 4;

/// The sessions to look after.
#[derive(Debug)]
pub(super) struct Observed {
    sender: mpsc::UnboundedSender<SessionId>,
    /// Taken by the task that does it; a server that only answers has none.
    receiver: Mutex<Option<mpsc::UnboundedReceiver<SessionId>>>,
    /// Those that are in the channel, each once, and whether their worktrees are to be scanned.
    waiting: Mutex<HashMap<SessionId, bool>>,
    /// What is told takes turns.
    telling: tokio::sync::Mutex<()>,
}

impl Default for Observed {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver: Mutex::new(Some(receiver)), waiting: Mutex::default(), telling: Default::default() }
    }
}

impl Observed {
    fn look_after(&self, session: SessionId, scan: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.get(&session).is_none() {
            // Nobody listens any more where the server stops.
            let _ = self.sender.send(session);
        }
        *waiting.entry(session).or_default() |= scan;
    }

    fn begins(&self, session: &SessionId) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(session).unwrap_or(false)
    }
}

impl Workspaces {
    /// Notes what has been folded.
    pub(crate) fn hear(&self, events: &[Arc<Event>]) {
        for event in events.iter().filter(|event| event.origin.is_none()) {
            let scan = match event.body {
                EventBody::FileChanged(_) | EventBody::ProcessExited(_) | EventBody::WorkspaceCreated(_) => true,
                EventBody::WorkspaceScanned(_) => false,
                _ => continue,
            };
            // An agent has a session of its own, and works where its job does.
            let of_job = |job| self.shared.views.with(|all| all.job(job).and_then(|job| job.submitted.session));
            let of_job = event.job.as_ref().and_then(of_job).filter(|session| event.session != Some(*session));
            let sessions = event.session.into_iter().chain(of_job);
            sessions.for_each(|session| self.shared.observed.look_after(session, scan));
        }
    }

    /// Begins to look after sessions, first after all that are open. What a dead server left is tidied up before.
    pub(crate) fn begin(&self, mut stopped: watch::Receiver<bool>) {
        let receiver = self.shared.observed.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = receiver else { return };
        let this = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = this.observe(&mut receiver) => {}
            }
        });
    }

    async fn observe(&self, receiver: &mut mpsc::UnboundedReceiver<SessionId>) {
        self.tidy_up().await;
        let open = |session: &&Arc<SessionState>| session.workspace.is_some();
        let sessions: Vec<_> =
            self.shared.views.with(|all| all.sessions().open().filter(open).map(|session| session.id).collect());
        sessions.into_iter().for_each(|session| self.shared.observed.look_after(session, true));
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(session) = receiver.recv().await {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let this = self.clone();
            tokio::spawn(async move {
                let scan = this.shared.observed.begins(&session);
                if let Err(error) = this.look_after(&session, scan).await {
                    tracing::warn!(%session, %error, "the session's workspace could not be looked at");
                }
                drop(permit);
            });
        }
    }

    async fn look_after(&self, session: &SessionId, scan: bool) -> Result<(), ErrorInfo> {
        let state = self.session(session)?;
        let Some(workspace) = state.workspace.as_ref().filter(|_| state.status == SessionStatus::Open) else {
            return Ok(());
        };
        if scan && workspace.kind == WorkspaceKind::Worktree {
            let _turn = self.shared.sessions.of(*session).await;
            let state = self.session(session)?;
            match &state.workspace {
                Some(workspace)
                    if workspace.status == WorkspaceStatus::Ready
                        && state.status == SessionStatus::Open
                        && Path::new(workspace.path()).join(".git").is_file() =>
                {
                    self.scan(&state, workspace).await?;
                }
                _ => return Ok(()),
            }
        }
        self.tell_collisions(session).await
    }

    /// Tells of the collisions of a session that were not told, or have come closer or moved apart.
    pub(super) async fn tell_collisions(&self, session: &SessionId) -> Result<(), ErrorInfo> {
        let _turn = self.shared.observed.telling.lock().await;
        let open: Vec<_> = self.shared.views.with(|all| all.sessions().open().cloned().collect());
        let Some(state) = open.iter().find(|state| state.id == *session) else { return Ok(()) };
        let by_id: BTreeMap<SessionId, &Arc<SessionState>> = open.iter().map(|state| (state.id, state)).collect();
        let is_new = |collision: &Collision| {
            let told = by_id.get(&collision.session);
            let told = told.and_then(|state| state.collisions.get(&(collision.path.clone(), collision.with)));
            told != Some(&collision.proximity)
        };
        let mut news: BTreeMap<SessionId, Vec<EventBody>> = BTreeMap::new();
        for collision in collisions(state, open.iter().map(|state| &**state)).into_iter().filter(is_new) {
            let told = WorkspaceCollisionDetected {
                path: collision.path.to_string(),
                with: collision.with,
                proximity: collision.proximity.to_string(),
            };
            news.entry(collision.session).or_default().push(EventBody::WorkspaceCollisionDetected(told));
        }
        for (session, bodies) in news {
            self.append(StreamId::Session(session), bodies.into_iter().map(Into::into).collect()).await?;
        }
        Ok(())
    }
}
