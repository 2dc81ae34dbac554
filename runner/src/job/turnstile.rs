//! Where an operation that is performed comes to wait for capacity: its job, if it has nothing else to do, gives its place
//! back, and takes one again before the operation goes on.

use super::{
    ActiveJob, Stop,
    close::End,
    open::{Doing, Wait},
    perform::{Performed, Report},
};
use moonlog_core::event::WaitKind;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What an operation waits for.
#[derive(Debug)]
pub(crate) struct Hold {
    /// What has too little room.
    pub(crate) name: String,
    /// Why, for people.
    pub(crate) title: String,
}

/// How an operation tells its job that it waits, and asks to go on.
#[derive(Clone)]
pub(crate) struct Turnstile {
    report: mpsc::UnboundedSender<Report>,
    path: Arc<str>,
    attempt: u32,
}

impl Turnstile {
    pub(super) fn new(report: mpsc::UnboundedSender<Report>, path: Arc<str>, attempt: u32) -> Self {
        Self { report, path, attempt }
    }

    /// It waits from now on.
    pub(crate) fn hold(&self, hold: Hold) {
        self.tell(Performed::Held(hold));
    }

    /// Comes when it may go on: its job holds a place.
    pub(crate) async fn go_on(&self) {
        let (free, freed) = oneshot::channel();
        self.tell(Performed::Freed(free));
        if freed.await.is_err() {
            // The job's task is over, and this one with it.
            std::future::pending::<()>().await;
        }
    }

    fn tell(&self, performed: Performed) {
        let _ = self.report.send(Report { path: self.path.clone(), attempt: self.attempt, performed });
    }
}

impl ActiveJob {
    /// An operation waits.
    pub(super) fn held(&mut self, path: &str, attempt: u32, hold: Hold) {
        if let Some(open) = self.open.get_mut(path).filter(|open| open.step.attempt == attempt) {
            let Hold { name, title } = hold;
            open.doing =
                Doing::Waiting(Wait { reason: WaitKind::Capacity, due: None, name: Some(name), title: Some(title) });
        }
    }

    /// An operation may go on, as soon as the job holds a place.
    pub(super) fn freed(&mut self, path: &str, attempt: u32, free: oneshot::Sender<()>) {
        if let Some(open) = self.open.get_mut(path).filter(|open| open.step.attempt == attempt) {
            open.doing = Doing::Performing;
        }
        self.freed.push(free);
    }

    /// Lets those go on that may. Gives how the job ends, where it does so meanwhile.
    pub(super) async fn let_go_on(&mut self) -> Result<Option<End>, Stop> {
        if self.freed.is_empty() {
            return Ok(None);
        }
        if let Some(end) = self.stop_waiting().await? {
            return Ok(Some(end));
        }
        for free in self.freed.drain(..) {
            let _ = free.send(());
        }
        Ok(None)
    }
}
