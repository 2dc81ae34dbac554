//! Workspaces are made once, found again, and made anew where they are lost.

use crate::{
    place::Place,
    repository::{Repository, git, lines},
};
use moonlog_core::{
    decide::CreateSession,
    event::EventBody,
    id::SessionId,
    projection::{WorkspaceKind, WorkspaceStatus},
};
use moonlog_runner::{
    CommandError,
    workspace::{Workspace, WorkspaceSpec},
};
use std::fs;

fn ensure(place: &Place, session: &SessionId) -> Workspace {
    place.block_on(place.runner.workspaces().ensure(session, None)).unwrap()
}

fn refused(place: &Place, spec: WorkspaceSpec) -> String {
    match place.block_on(place.runner.create_session(CreateSession::default(), Some(spec))) {
        Err(CommandError::Invalid(error)) => error.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_gets_a_worktree_on_its_own_branch() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let names = ["session.created", "workspace.requested", "workspace.created"];
    assert_eq!(place.session_names(&session)[..3], names);
    let root = place.root(&session);
    assert_eq!(fs::read_to_string(root.join("a.txt")).unwrap(), lines(&[]));
    assert_eq!(git(&root, &["branch", "--show-current"]), format!("moonlog/{session}"));
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    let state = place.state(&session);
    let workspace = state.workspace.as_ref().unwrap();
    assert_eq!((workspace.kind, workspace.status), (WorkspaceKind::Worktree, WorkspaceStatus::Ready));
    assert_eq!(workspace.requested.base.as_deref(), Some("refs/heads/main"));
    assert_eq!(workspace.base_commit, Some(repository.git(&["rev-parse", "main"])));
}

#[test]
fn of_ten_that_ask_at_once_one_makes_it() {
    let (place, repository) = (Place::start(), Repository::new());
    for spec in [repository.worktree(), WorkspaceSpec::Directory { path: None }] {
        let session = place.session(None);
        let workspaces = place.runner.workspaces();
        let all = place.block_on(async {
            let calls = (0..10).map(|_| {
                let (workspaces, spec) = (workspaces.clone(), spec.clone());
                tokio::spawn(async move { workspaces.ensure(&session, Some(spec)).await.unwrap() })
            });
            futures_util::future::join_all(calls.collect::<Vec<_>>()).await
        });
        let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
        assert_eq!(all.iter().filter(|workspace| workspace.created && workspace.status == "created").count(), 1);
        assert_eq!(all.iter().filter(|w| !w.created && w.status == "already_exists").count(), 9);
        assert!(all.iter().all(|workspace| workspace.path == all[0].path && !workspace.recreated));
        let count = |name| place.session_names(&session).into_iter().filter(|other| *other == name).count();
        assert_eq!((count("workspace.requested"), count("workspace.created")), (1, 1));
    }
}

#[test]
fn whoever_stops_waiting_does_not_stop_it() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(None);
    place.block_on(async {
        let call = place.runner.workspaces().ensure(&session, Some(repository.worktree()));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1), call).await;
    });
    let is_ready = || place.state(&session).workspace.as_ref().is_some_and(|w| w.status == WorkspaceStatus::Ready);
    place.until("it is made", || is_ready().then_some(()));
    assert_eq!(ensure(&place, &session).status, "already_exists");
}

#[test]
fn a_deleted_worktree_is_made_anew_with_what_was_committed() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    fs::write(root.join("new.txt"), "committed\n").unwrap();
    git(&root, &["add", "new.txt"]);
    git(&root, &["commit", "--quiet", "-m", "work"]);
    fs::remove_dir_all(&root).unwrap();
    let again = ensure(&place, &session);
    assert!(again.created && again.recreated && again.status == "created" && again.set_aside.is_none(), "{again:?}");
    assert_eq!(fs::read_to_string(root.join("new.txt")).unwrap(), "committed\n");
    assert_eq!(place.changes(&session), [("new.txt".into(), "created")]);
    assert_eq!(ensure(&place, &session).status, "already_exists");
}

#[test]
fn what_a_broken_worktree_holds_is_set_aside() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    fs::write(root.join("precious.txt"), "not committed\n").unwrap();
    fs::remove_file(root.join(".git")).unwrap();
    let again = ensure(&place, &session);
    assert!(again.recreated, "{again:?}");
    let aside = again.set_aside.unwrap();
    assert_eq!(fs::read_to_string(format!("{aside}/precious.txt")).unwrap(), "not committed\n");
    assert!(!root.join("precious.txt").exists() && root.join("a.txt").exists());
    assert_eq!(git(&root, &["status", "--porcelain"]), "");
}

#[test]
fn a_repository_that_is_away_for_a_while_breaks_nothing() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    fs::write(root.join("precious.txt"), "not committed\n").unwrap();
    let (here, away) = (repository.path().join(".git"), repository.path().join("away"));
    fs::rename(&here, &away).unwrap();
    let failed = place.block_on(place.runner.workspaces().ensure(&session, None));
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(place.state(&session).workspace.as_ref().unwrap().status, WorkspaceStatus::Failed);
    fs::rename(&away, &here).unwrap();
    assert_eq!(ensure(&place, &session).status, "already_exists");
    assert_eq!(fs::read_to_string(root.join("precious.txt")).unwrap(), "not committed\n");
    assert_eq!(place.changes(&session), [("precious.txt".into(), "created")]);
}

#[test]
fn a_request_that_a_dying_server_left_is_carried_out() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    let requested = place.session_events(&session).iter().find_map(|event| match &event.body {
        EventBody::WorkspaceRequested(requested) => Some(requested.clone()),
        _ => None,
    });
    // As if it had died in the middle of the checkout.
    let other = place.session(None);
    let path = root.with_file_name(other.to_string());
    let branch = format!("moonlog/{other}");
    repository.git(&["worktree", "add", "--quiet", "-b", &branch, path.to_str().unwrap()]);
    fs::remove_file(path.join("a.txt")).unwrap();
    let mut requested = requested.unwrap();
    requested.path = path.to_str().unwrap().into();
    requested.branch = Some(branch);
    place.append_to(moonlog_core::event::StreamId::Session(other), EventBody::WorkspaceRequested(requested));
    let place = place.restart();
    let made = ensure(&place, &other);
    assert!(made.created && !made.recreated, "{made:?}");
    assert_eq!(git(&path, &["status", "--porcelain"]), "");
}

#[test]
fn repositories_that_cannot_be_used_are_refused_with_the_reason() {
    let place = Place::start();
    let repository = Repository::new();
    let plain = tempfile::tempdir().unwrap();
    let at = |path: &std::path::Path| WorkspaceSpec::Worktree { repository: path.to_owned(), base: None };
    assert_eq!(refused(&place, at(Repository::empty().path())), "repository_without_commits");
    assert_eq!(refused(&place, at(plain.path())), "not_a_repository");
    assert_eq!(refused(&place, at(&plain.path().join("no"))), "no_such_directory");
    assert_eq!(refused(&place, at(&repository.path().join("a.txt"))), "not_a_directory");
    let wrong = WorkspaceSpec::Worktree { repository: repository.path().to_owned(), base: Some("no".into()) };
    assert_eq!(refused(&place, wrong), "no_such_ref");
    let option = WorkspaceSpec::Worktree { repository: repository.path().to_owned(), base: Some("--all".into()) };
    assert_eq!(refused(&place, option), "no_such_ref");
    assert_eq!(refused(&place, WorkspaceSpec::Directory { path: Some(plain.path().join("no")) }), "no_such_directory");
    assert_eq!(place.runner.views().with(|all| all.sessions().iter().count()), 0, "nothing was recorded");
}

#[test]
fn a_session_keeps_the_workspace_that_it_has() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let ask = |spec| place.block_on(place.runner.workspaces().ensure(&session, Some(spec)));
    assert_eq!(ask(repository.worktree()).unwrap().status, "already_exists");
    for other in [Repository::new().worktree(), WorkspaceSpec::Directory { path: None }] {
        assert!(matches!(ask(other).unwrap_err().code.as_str(), "workspace_bound" | "no_such_directory"));
    }
}

#[test]
fn bare_repositories_and_folders_of_one_will_do() {
    let (place, repository) = (Place::start(), Repository::new());
    let bare = tempfile::tempdir().unwrap();
    git(bare.path(), &["clone", "--quiet", "--bare", repository.path().to_str().unwrap(), "bare.git"]);
    for folder in [bare.path().join("bare.git"), repository.path().join("src")] {
        let session = place.session(Some(WorkspaceSpec::Worktree { repository: folder, base: Some("main".into()) }));
        let root = place.root(&session);
        assert!(root.join("src/b.txt").exists());
        fs::write(root.join("a.txt"), "changed\n").unwrap();
        assert_eq!(place.changes(&session), [("a.txt".into(), "edited")]);
        let merged = place.block_on(place.runner.workspaces().merge(&session)).unwrap();
        assert_eq!((merged.how.as_str(), merged.files), ("fast_forward", vec!["a.txt".to_owned()]));
    }
    assert_eq!(git(&bare.path().join("bare.git"), &["show", "main:a.txt"]), "changed");
    assert_eq!(fs::read_to_string(repository.path().join("a.txt")).unwrap(), "changed\n", "the checkout moved along");
}

#[test]
fn a_job_of_a_session_works_in_its_workspace() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let run = |source: &str| place.submit_with(source, |submit| submit.session = Some(session));
    let job = run("return exec('pwd').stdout .. sh('echo made > made.txt; ls').stdout");
    let shown = place.result(&job);
    let root = place.root(&session);
    assert!(shown.contains(root.to_str().unwrap()) && shown.contains("made.txt"), "{shown}");
    assert!(place.events(&job).iter().all(|event| event.session == Some(session)), "{}", place.listing());
    // Also where it was deleted meanwhile.
    fs::remove_dir_all(&root).unwrap();
    assert!(place.result(&run("return exec('pwd').stdout")).contains(root.to_str().unwrap()));
    // What processes changed is known when they have ended.
    place.result(&run("return sh('echo x >> a.txt').ok"));
    place.until("it was looked at", || place.state(&session).changes.contains_key("a.txt").then_some(()));
}

#[test]
fn closed_sessions_and_unknown_ones_take_no_jobs() {
    let place = Place::start();
    let session = place.session(None);
    let submit = |session| {
        let source = moonlog_runner::ScriptSource::Script { source: "return 1".into(), name: None };
        let submit = moonlog_runner::Submit { session: Some(session), ..moonlog_runner::Submit::new(source) };
        place.block_on(place.runner.submit(submit))
    };
    let waits = place.submit_with("return wait_for('go')", |submit| submit.session = Some(session));
    let refused = place.block_on(place.runner.close_session(&session)).unwrap_err();
    assert!(matches!(&refused, CommandError::Conflict(error) if error.code == "session_busy"), "{refused}");
    place.cancel(&waits);
    place.ended(&waits);
    place.block_on(place.runner.close_session(&session)).unwrap();
    assert_eq!(submit(session).unwrap_err().code(), "session_closed");
    assert_eq!(submit(SessionId::from_bytes([9; 16])).unwrap_err().code(), "no_such_session");
    let again = place.block_on(place.runner.close_session(&session)).unwrap_err();
    assert!(matches!(&again, CommandError::Conflict(error) if error.code == "session_closed"), "{again}");
}

#[test]
fn what_is_known_of_sessions_outlives_the_server() {
    let (place, repository) = (Place::start(), Repository::new());
    let open = place.session(Some(repository.worktree()));
    let closed = place.session(Some(repository.worktree()));
    fs::write(place.root(&open).join("a.txt"), "changed\n").unwrap();
    assert_eq!(place.changes(&open).len(), 1);
    place.block_on(place.runner.close_session(&closed)).unwrap();
    let before = [&open, &closed].map(|session| place.state(session).view());
    let place = place.restart();
    assert_eq!([&open, &closed].map(|session| place.state(session).view()), before);
    let storage = place.storage.clone();
    let place = place.kill(storage.unsynced());
    assert_eq!([&open, &closed].map(|session| place.state(session).view()), before);
    assert_eq!(place.changes(&open).len(), 1);
}
