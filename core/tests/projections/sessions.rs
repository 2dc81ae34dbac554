//! What is known of a session after small histories.

use crate::given::*;
use moonlog_core::{decide::*, error_info::ErrorInfo, event::*, id::Hash, projection::*};

fn session(bodies: impl IntoIterator<Item = EventBody>) -> SessionState {
    let events = std::iter::once(session_created()).chain(bodies).map(NewEvent::from).collect();
    SessionState::fold(sequence([(StreamId::Session(session_id(1)), events)])).unwrap()
}

fn pending(session: &SessionState) -> Vec<(String, FileOp)> {
    session.changes.iter().map(|(path, change)| (path.to_string(), change.op)).collect()
}

#[test]
fn changes_of_a_file_come_to_one() {
    let (created, edited, deleted) = ("created", "edited", "deleted");
    let change = |op: &str, before, after| file_changed("a", op, "", (before, after));
    let table = [
        (vec![change(created, None, Some(1)), change(edited, Some(1), Some(2))], Some(FileOp::Created)),
        (vec![change(created, None, Some(1)), change(deleted, Some(1), None)], None),
        (vec![change(edited, Some(1), Some(2)), change(edited, Some(2), Some(3))], Some(FileOp::Edited)),
        (vec![change(edited, Some(1), Some(2)), change(edited, Some(2), Some(1))], None),
        (vec![change(edited, Some(1), Some(2)), change(deleted, Some(2), None)], Some(FileOp::Deleted)),
        (vec![change(deleted, Some(1), None), change(created, None, Some(2))], Some(FileOp::Edited)),
        (vec![change(deleted, Some(1), None), change(created, None, Some(1))], None),
    ];
    for (changes, expected) in table {
        let state = session(changes.clone());
        assert_eq!(state.changes.get("a").map(|change| change.op), expected, "{changes:?}");
    }
    let state = session([change(edited, Some(1), Some(2)), change(edited, Some(2), Some(3))]);
    let change = &state.changes["a"];
    assert_eq!((change.before_hash, change.after_hash), (Some(Hash::of(&[1])), Some(Hash::of(&[3]))));
    assert_eq!((change.position, change.edits.len()), (3, 2));
}

#[test]
fn a_scan_stands_for_all_that_was_known() {
    let file = ScannedFile { path: "b".into(), op: "created".into(), lines: vec![], after_hash: Some(Hash::of(&[9])) };
    let scanned = WorkspaceScanned { base_commit: "abc".into(), files: vec![file], omitted: 3 };
    let collision = |path: &str| {
        let with = session_id(2);
        let proximity = "same_line".to_owned();
        EventBody::WorkspaceCollisionDetected(WorkspaceCollisionDetected { path: path.into(), with, proximity })
    };
    let state = session([
        workspace_requested("worktree"),
        workspace_created("worktree"),
        file_changed("a", "edited", "", (Some(1), Some(2))),
        file_changed("b", "created", "", (None, Some(9))),
        collision("a"),
        collision("b"),
        EventBody::WorkspaceScanned(scanned),
    ]);
    assert_eq!(pending(&state), [("b".into(), FileOp::Created)]);
    assert_eq!(state.changes["b"].position, 5, "it was known as it is");
    assert_eq!(state.collisions.keys().map(|(path, _)| &**path).collect::<Vec<_>>(), ["b"]);
    assert_eq!(state.workspace.unwrap().omitted, 3);
}

#[test]
fn what_was_merged_or_reverted_is_pending_no_more() {
    let edits = || ["a", "b"].map(|path| file_changed(path, "edited", "", (Some(1), Some(2))));
    let reverted = EventBody::WorkspaceReverted(WorkspaceReverted { paths: vec!["a".into()] });
    let state = session(edits().into_iter().chain([reverted]));
    assert_eq!(pending(&state), [("b".into(), FileOp::Edited)]);
    let merged = EventBody::WorkspaceMerged(WorkspaceMerged {
        branch: "moonlog/s".into(),
        into: "refs/heads/main".into(),
        how: "fast_forward".into(),
        commit: "def".into(),
        head: "def".into(),
        saved: None,
        files: vec!["a".into()],
    });
    let begin = [workspace_requested("worktree"), workspace_created("worktree")];
    let state = session(begin.into_iter().chain(edits()).chain([merged]));
    assert_eq!(pending(&state), []);
    assert_eq!(state.workspace.unwrap().base_commit.as_deref(), Some("def"));
}

#[test]
fn a_session_is_closed_once_and_when_nothing_runs() {
    let closed = || EventBody::SessionClosed(SessionClosed {});
    let refused = |state: &SessionState| ErrorInfo::from(decide_close_session(state).unwrap_err()).code;
    assert_eq!(decide_close_session(&session([])).unwrap(), [closed()]);
    assert_eq!(refused(&session([closed()])), "session_closed");
    let mut submission = submission();
    submission.session = Some(session_id(1));
    let in_session = |body: EventBody| NewEvent { session: Some(session_id(1)), ..body.into() };
    let mut appends = vec![
        (StreamId::Session(session_id(1)), vec![session_created().into()]),
        (StreamId::Job(job_id(1)), vec![in_session(EventBody::JobSubmitted(submission.into()))]),
    ];
    let state = |appends: &Vec<_>| SessionState::fold(sequence(appends.clone())).unwrap();
    assert_eq!(refused(&state(&appends)), "session_busy");
    appends.push((StreamId::Job(job_id(1)), vec![in_session(completed())]));
    assert!(decide_close_session(&state(&appends)).is_ok());
    // A closed session stays until its workspace is closed too.
    let workspace = [workspace_requested("directory"), workspace_created("directory"), closed()];
    assert!(session([closed()]).is_settled());
    assert!(!session(workspace.clone()).is_settled());
    let end = EventBody::WorkspaceClosed(WorkspaceClosed { path: "/w".into(), ..WorkspaceClosed::default() });
    assert!(session(workspace.into_iter().chain([end])).is_settled());
}
