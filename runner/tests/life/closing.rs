//! Closing a session loses nothing: what is not committed or not merged is kept and named.

use crate::{
    place::Place,
    repository::{Repository, git},
};
use moonlog_core::{
    event::{EventBody, SessionClosed, StreamId, WorkspaceClosed, WorkspaceOrphanFound},
    id::SessionId,
    projection::WorkspaceStatus,
};
use moonlog_runner::workspace::WorkspaceSpec;
use std::fs;

fn close(place: &Place, session: &SessionId) -> WorkspaceClosed {
    let state = place.block_on(place.runner.close_session(session)).unwrap();
    let workspace = state.workspace.as_ref().unwrap();
    assert_eq!(workspace.status, WorkspaceStatus::Closed);
    WorkspaceClosed::clone(workspace.closed.as_ref().unwrap())
}

fn orphans(place: &Place) -> Vec<WorkspaceOrphanFound> {
    let events = place.runner.log().read_stream(&StreamId::System, 0, 1_000_000).unwrap();
    let orphan = |body: &EventBody| match body {
        EventBody::WorkspaceOrphanFound(found) => Some(found.clone()),
        _ => None,
    };
    events.iter().filter_map(|event| orphan(&event.body)).collect()
}

#[test]
fn what_is_clean_and_merged_goes() {
    let (place, repository) = (Place::start(), Repository::new());
    let before = repository.state();
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    let closed = close(&place, &session);
    assert!(closed.removed && closed.branch.is_none() && closed.uncommitted.is_empty(), "{closed:?}");
    assert!(!root.exists());
    assert_eq!(repository.state(), before);
}

#[test]
fn what_is_not_committed_is_kept_and_named() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    fs::write(root.join("new.txt"), "new\n").unwrap();
    fs::write(root.join("a.txt"), "changed\n").unwrap();
    let closed = close(&place, &session);
    assert!(!closed.removed && closed.note.is_some(), "{closed:?}");
    assert_eq!(closed.uncommitted, ["a.txt", "new.txt"]);
    assert_eq!(closed.branch, Some(format!("moonlog/{session}")));
    assert_eq!(fs::read_to_string(root.join("new.txt")).unwrap(), "new\n");
}

#[test]
fn what_is_not_merged_is_kept_on_its_branch() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    fs::write(root.join("new.txt"), "new\n").unwrap();
    git(&root, &["add", "."]);
    git(&root, &["commit", "--quiet", "-m", "work"]);
    let closed = close(&place, &session);
    let branch = format!("moonlog/{session}");
    assert!(closed.removed && !root.exists(), "{closed:?}");
    assert_eq!((closed.branch.as_deref(), closed.unmerged_commits), (Some(&*branch), 1));
    assert_eq!(repository.git(&["show", &format!("{branch}:new.txt")]), "new");
}

#[test]
fn commits_on_no_branch_keep_their_worktree() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    git(&root, &["checkout", "--quiet", "--detach"]);
    fs::write(root.join("new.txt"), "new\n").unwrap();
    git(&root, &["add", "."]);
    git(&root, &["commit", "--quiet", "-m", "work"]);
    let closed = close(&place, &session);
    assert!(!closed.removed && closed.note.unwrap().contains("1 commits are on no branch"));
    assert!(root.join("new.txt").exists());
}

#[test]
fn a_broken_worktree_is_kept_and_a_missing_one_is_forgotten() {
    let (place, repository) = (Place::start(), Repository::new());
    let (broken, missing) = (place.session(Some(repository.worktree())), place.session(Some(repository.worktree())));
    fs::remove_file(place.root(&broken).join(".git")).unwrap();
    fs::remove_dir_all(place.root(&missing)).unwrap();
    let closed = close(&place, &broken);
    assert!(!closed.removed && place.root(&broken).join("a.txt").exists(), "{closed:?}");
    let closed = close(&place, &missing);
    assert!(closed.removed && closed.branch.is_none(), "{closed:?}");
    assert!(!repository.state().contains(&missing.to_string()));
    // Neither is one whose repository is gone.
    let session = place.session(Some(repository.worktree()));
    drop(repository);
    let closed = close(&place, &session);
    assert!(!closed.removed && place.root(&session).join("a.txt").exists(), "{closed:?}");
}

#[test]
fn directories_stay_unless_they_are_empty_and_ours() {
    let place = Place::start();
    let folder = tempfile::tempdir().unwrap();
    let given = place.session(Some(WorkspaceSpec::Directory { path: Some(folder.path().to_owned()) }));
    assert!(!close(&place, &given).removed && folder.path().exists());
    let (empty, used) = (
        place.session(Some(WorkspaceSpec::Directory { path: None })),
        place.session(Some(WorkspaceSpec::Directory { path: None })),
    );
    fs::write(place.root(&used).join("file"), "x").unwrap();
    assert!(close(&place, &empty).removed && !place.root(&empty).exists());
    assert!(!close(&place, &used).removed && place.root(&used).exists());
}

#[test]
fn closing_ends_the_session_s_processes() {
    let place = Place::start();
    let session = place.session(None);
    let job = place.submit_with("local p = process('sleep', {'60'}) return p.id", |s| s.session = Some(session));
    place.ended(&job);
    place.block_on(place.runner.close_session(&session)).unwrap();
    assert!(place.state(&session).processes.is_empty());
    assert!(place.runner.processes().running().is_empty());
}

#[test]
fn a_session_that_was_being_closed_is_closed_at_the_next_start() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    place.append_to(StreamId::Session(session), EventBody::SessionClosed(SessionClosed {}));
    let storage = place.storage.clone();
    let place = place.kill(storage.unsynced());
    place.until("it is closed", || place.state(&session).is_settled().then_some(()));
    assert!(!root.exists());
}

#[test]
fn orphans_are_found_at_the_start() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let folder = place.root(&session).parent().unwrap().to_owned();
    // Worktrees of sessions that this log never heard of: one clean, one with work in it, one with a commit.
    let names = [1, 2, 3].map(|n| SessionId::from_bytes([n; 16]));
    for name in names {
        let path = folder.join(name.to_string());
        let branch = format!("moonlog/{name}");
        repository.git(&["worktree", "add", "--quiet", "--lock", "-b", &branch, path.to_str().unwrap()]);
    }
    let [clean, dirty, unmerged] = names.map(|name| folder.join(name.to_string()));
    fs::write(dirty.join("new.txt"), "new\n").unwrap();
    fs::write(unmerged.join("new.txt"), "new\n").unwrap();
    git(&unmerged, &["add", "."]);
    git(&unmerged, &["commit", "--quiet", "-m", "work"]);
    let storage = place.storage.clone();
    let place = place.kill(storage.unsynced());
    let mut found = place.until("all are found", || Some(orphans(&place)).filter(|found| found.len() == 3));
    found.sort_by_key(|orphan| orphan.owner);
    assert_eq!(found.iter().map(|orphan| orphan.owner).collect::<Vec<_>>(), names.map(Some));
    assert_eq!(found.iter().map(|orphan| orphan.kept.removed).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(found[1].kept.uncommitted, ["new.txt"]);
    assert_eq!(found[2].kept.unmerged_commits, 1);
    assert!(!clean.exists() && dirty.exists() && unmerged.exists());
    assert!(place.root(&session).join("a.txt").exists(), "a session's own is left alone");
}
