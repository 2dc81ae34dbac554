//! Sessions in random histories: they come, work in workspaces, and are closed.

use crate::{given::*, history::Appends};
use moonlog_core::{error_info::ErrorInfo, event::*, id::SessionId};

#[derive(Default)]
pub struct SessionWorld(Vec<Session>);

struct Session {
    id: SessionId,
    closed: bool,
    workspace: Option<&'static str>,
}

impl SessionWorld {
    /// An open session for a job, mostly.
    pub fn any_open(&self, which: usize) -> Option<SessionId> {
        let open: Vec<_> = self.0.iter().filter(|session| !session.closed).collect();
        open.get(which % (open.len() + 1)).map(|session| session.id)
    }

    /// Does something with a session; `busy` ones are not closed.
    pub fn act(&mut self, which: usize, how: u8, busy: impl Fn(SessionId) -> bool) -> Appends {
        if self.0.is_empty() || how.is_multiple_of(12) {
            let id = session_id(self.0.len() as u64 + 1);
            self.0.push(Session { id, closed: false, workspace: None });
            let mut events = vec![session_created().into()];
            if how > 100 {
                let labels = [("team".to_owned(), format!("t{}", how % 4))].into();
                events
                    .push(EventBody::SessionDescribed(SessionDescribed { title: Some("Work".into()), labels }).into());
            }
            return vec![(StreamId::Session(id), events)];
        }
        let at = which % self.0.len();
        let other = self.0[(which + 1) % self.0.len()].id;
        let session = &mut self.0[at];
        let Some(bodies) = session.events(how, other, busy(session.id)) else { return Vec::new() };
        vec![(StreamId::Session(session.id), bodies.into_iter().map(NewEvent::from).collect())]
    }
}

impl Session {
    fn events(&mut self, how: u8, other: SessionId, busy: bool) -> Option<Vec<EventBody>> {
        if self.closed {
            // Its workspace's end may come later.
            let kept = WorkspaceClosed { path: "/w".into(), removed: how & 1 == 1, ..WorkspaceClosed::default() };
            return self.workspace.take().map(|_| vec![EventBody::WorkspaceClosed(kept)]);
        }
        let path = ["a.rs", "b.rs", "c/d.rs"][usize::from(how % 3)];
        Some(match how % 12 {
            1 | 2 => {
                let kind = ["worktree", "directory"][usize::from(how % 2)];
                self.workspace = Some(kind);
                let end = match how > 200 {
                    true => EventBody::WorkspaceFailed(WorkspaceFailed { error: ErrorInfo::new("git_failed", "no") }),
                    false => workspace_created(kind),
                };
                vec![workspace_requested(kind), end]
            }
            3 => {
                if busy {
                    return None;
                }
                self.closed = true;
                vec![EventBody::SessionClosed(SessionClosed {})]
            }
            4 => {
                let file = |path: &str, start| ScannedFile {
                    path: path.into(),
                    op: "edited".into(),
                    lines: vec![Lines { start, count: 1 }],
                    after_hash: None,
                };
                let files = (0..u32::from(how % 5)).map(|n| file(&format!("{n}.rs"), n)).collect();
                vec![EventBody::WorkspaceScanned(WorkspaceScanned { base_commit: "abc".into(), files, omitted: 0 })]
            }
            5 => vec![EventBody::WorkspaceReverted(WorkspaceReverted { paths: vec![path.into()] })],
            6 => vec![EventBody::WorkspaceCollisionDetected(WorkspaceCollisionDetected {
                path: path.into(),
                with: other,
                proximity: ["same_line", "different_area"][usize::from(how & 1)].into(),
            })],
            7 if how > 200 => vec![EventBody::WorkspaceMerged(WorkspaceMerged {
                branch: "moonlog/s".into(),
                into: "refs/heads/main".into(),
                how: "fast_forward".into(),
                commit: "def".into(),
                head: "def".into(),
                saved: None,
                files: Vec::new(),
            })],
            n => {
                let (op, hashes) = match n % 3 {
                    0 => ("created", (None, Some(how / 64))),
                    1 => ("deleted", (Some(how / 64), None)),
                    _ => ("edited", (Some(how / 64), Some(how / 32))),
                };
                vec![file_changed(path, op, "@@ -1 +1 @@\n-a\n+b\n", hashes)]
            }
        })
    }
}
