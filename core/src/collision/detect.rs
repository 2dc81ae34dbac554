//! Which files two sessions have both changed.

use super::{Proximity, proximity, touched::touched};
use crate::{
    diff::Replaced,
    event::Lines,
    id::SessionId,
    projection::{PendingChange, SessionState, SessionStatus, WorkspaceKind, WorkspaceState},
};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a session is to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The session that is told.
    pub session: SessionId,
    /// The file, relative to its workspace.
    pub path: Arc<str>,
    /// The other session.
    pub with: SessionId,
    /// How close.
    pub proximity: Proximity,
}

/// What makes two files the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum FileKey<'a> {
    /// A path in a repository, in whichever worktree.
    InRepository(&'a str, &'a str),
    /// A path on the disk.
    OnDisk(PathBuf),
}

/// A file that a session has changed.
type Changed<'a> = (&'a SessionState, &'a Arc<str>, &'a PendingChange);

/// All collisions of `session` with `others`, each told to both sides.
pub fn collisions<'a>(session: &SessionState, others: impl IntoIterator<Item = &'a SessionState>) -> Vec<Collision> {
    let own: HashMap<FileKey<'_>, Changed<'_>> = changed(session).collect();
    let mut shared: BTreeMap<&Arc<str>, Vec<Changed<'_>>> = BTreeMap::new();
    if own.is_empty() {
        return Vec::new();
    }
    for other in others.into_iter().filter(|other| other.id != session.id) {
        for (key, theirs) in changed(other) {
            if let Some((_, path, _)) = own.get(&key) {
                shared.entry(*path).or_default().push(theirs);
            }
        }
    }
    let mut all = Vec::new();
    for (path, theirs) in shared {
        let Some(mine) = session.changes.get(path) else { continue };
        for ((other, their_path, _), proximity) in theirs.iter().zip(proximities(mine, &theirs)) {
            let told = |session, path: &Arc<str>, with| Collision { session, path: path.clone(), with, proximity };
            all.push(told(session.id, path, other.id));
            all.push(told(other.id, their_path, session.id));
        }
    }
    all
}

/// The files that a session has changed, where they can be compared.
fn changed(session: &SessionState) -> impl Iterator<Item = (FileKey<'_>, Changed<'_>)> {
    let workspace = session.workspace.as_deref().filter(|_| session.status == SessionStatus::Open);
    workspace.into_iter().flat_map(move |workspace| {
        let changes = session.changes.iter();
        changes.filter_map(move |(path, change)| Some((key(workspace, path, change)?, (session, path, &**change))))
    })
}

fn key<'a>(workspace: &'a WorkspaceState, path: &'a str, change: &PendingChange) -> Option<FileKey<'a>> {
    match workspace.kind {
        // Told by a tool a moment ago: a look at the worktree will say which lines.
        WorkspaceKind::Worktree if change.lines.is_none() => None,
        WorkspaceKind::Worktree => Some(FileKey::InRepository(workspace.requested.repository.as_deref()?, path)),
        WorkspaceKind::Directory => Some(FileKey::OnDisk(Path::new(workspace.path()).join(path))),
    }
}

/// How close a change is to each of those of others in the same file.
fn proximities(mine: &PendingChange, theirs: &[Changed<'_>]) -> Vec<Proximity> {
    if mine.lines.is_some() {
        let all = [Replaced::ALL.lines];
        let of = |change: &PendingChange| change.lines.clone().unwrap_or_else(|| all.to_vec());
        return theirs.iter().map(|(.., theirs)| proximity(&of(mine), &of(theirs))).collect();
    }
    // One file under several sessions: what counts is where their lines are now.
    let edits: Vec<_> = std::iter::once(mine).chain(theirs.iter().map(|(.., change)| *change)).collect();
    let touched = touched(&edits.iter().map(|change| &*change.edits).collect::<Vec<_>>());
    let lines: Vec<Vec<Lines>> = touched
        .into_iter()
        .zip(edits)
        .map(|(lines, change)| if change.edits_dropped { vec![Replaced::ALL.lines] } else { lines })
        .collect();
    lines[1..].iter().map(|theirs| proximity(&lines[0], theirs)).collect()
}
