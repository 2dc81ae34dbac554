//! Where a session stands, and what may follow: a closed set, and a table of the steps between them.

use super::{SessionState, SessionStatus};
use serde::Serialize;
use std::fmt;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionPhase {
    /// It waits for a message.
    Idle,
    /// A job of it runs.
    Running,
    /// A turn of it waits for a person.
    Waiting,
    /// It was put away, and can be taken out again.
    Archived,
    /// It is over, and stays to be read.
    Closed,
}

use SessionPhase::{Archived, Closed, Idle, Running, Waiting};

impl SessionPhase {
    /// All of them.
    pub const ALL: [Self; 5] = [Idle, Running, Waiting, Archived, Closed];

    /// What may follow what; nothing else does.
    const FOLLOWS: [(Self, Self); 9] = [
        (Idle, Running),
        (Running, Waiting),
        (Waiting, Running),
        (Running, Idle),
        (Waiting, Idle),
        (Idle, Archived),
        (Archived, Idle),
        (Idle, Closed),
        (Archived, Closed),
    ];

    /// Whether `next` may follow.
    pub fn may_become(self, next: Self) -> bool {
        Self::FOLLOWS.contains(&(self, next))
    }
}

impl fmt::Display for SessionPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Idle => "idle",
            Running => "running",
            Waiting => "waiting",
            Archived => "archived",
            Closed => "closed",
        })
    }
}

impl SessionState {
    /// Where it stands.
    pub fn phase(&self) -> SessionPhase {
        match self.status {
            SessionStatus::Closed => Closed,
            SessionStatus::Archived => Archived,
            SessionStatus::Open if self.jobs.is_empty() && self.chat.busy.is_none() => Idle,
            SessionStatus::Open if self.chat.approvals.is_empty() => Running,
            SessionStatus::Open => Waiting,
        }
    }
}
