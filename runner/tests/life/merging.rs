//! What sessions changed is listed, reverted and merged; nothing is ever half done.

use crate::{
    place::Place,
    repository::{Repository, git, lines},
};
use moonlog_core::id::SessionId;
use moonlog_runner::workspace::{Merged, Revert, WorkspaceSpec};
use std::fs;

fn merge(place: &Place, session: &SessionId) -> Result<Merged, moonlog_core::error_info::ErrorInfo> {
    place.block_on(place.runner.workspaces().merge(session))
}

fn revert(place: &Place, session: &SessionId, which: Revert) -> Result<Vec<String>, String> {
    place.block_on(place.runner.workspaces().revert(session, which)).map_err(|error| error.code)
}

fn paths(paths: &[&str]) -> Revert {
    Revert::Paths(paths.iter().map(|path| (*path).to_owned()).collect())
}

#[test]
fn changes_of_every_kind_are_listed_with_diffs() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    fs::write(root.join("committed.txt"), "1\n").unwrap();
    git(&root, &["add", "."]);
    git(&root, &["commit", "--quiet", "-m", "one"]);
    fs::write(root.join("staged.txt"), "2\n").unwrap();
    git(&root, &["add", "."]);
    fs::write(root.join("un tracked\t\"x\".txt"), "3\n").unwrap();
    fs::write(root.join("binary"), [0, 159, 146, 150]).unwrap();
    fs::write(root.join("a.txt"), lines(&[(3, "three")])).unwrap();
    fs::remove_file(root.join("src/b.txt")).unwrap();
    fs::write(root.join(".gitignore"), "ignored\n").unwrap();
    fs::write(root.join("ignored"), "no").unwrap();
    let expected = [
        (".gitignore", "created"),
        ("a.txt", "edited"),
        ("binary", "created"),
        ("committed.txt", "created"),
        ("src/b.txt", "deleted"),
        ("staged.txt", "created"),
        ("un tracked\t\"x\".txt", "created"),
    ];
    assert_eq!(place.changes(&session), expected.map(|(path, op)| (path.to_owned(), op)));
    assert!(place.diff(&session, "a.txt").contains("\n-line 3\n+three\n"));
    assert!(place.diff(&session, "un tracked\t\"x\".txt").contains("\n+3\n"));
    assert!(place.diff(&session, "binary").contains("Binary files"));
    assert_eq!(git(&root, &["diff", "--cached", "--name-only"]), "staged.txt", "the index is as it was");
    // The same again says nothing new.
    let events = place.session_names(&session).len();
    place.changes(&session);
    assert_eq!(place.session_names(&session).len(), events);
    assert_eq!(place.state(&session).changes.len(), 7);
}

#[test]
fn listed_changes_of_a_worktree_are_reverted() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
    fs::create_dir(root.join("made")).unwrap();
    write("made/new.txt", "new\n");
    write("a.txt", "changed\n");
    fs::remove_file(root.join("src/b.txt")).unwrap();
    assert_eq!(place.changes(&session).len(), 3);
    assert_eq!(revert(&place, &session, paths(&["a.txt", "no.txt"])), Err("not_changed".into()));
    write("a.txt", "changed again\n");
    assert_eq!(revert(&place, &session, paths(&["a.txt", "src/b.txt"])), Err("file_changed".into()));
    assert!(!root.join("src/b.txt").exists(), "all or nothing");
    assert_eq!(revert(&place, &session, paths(&["src/b.txt"])), Ok(vec!["src/b.txt".into()]));
    assert_eq!(fs::read_to_string(root.join("src/b.txt")).unwrap(), lines(&[]));
    // Not listed yet: `all` leaves it alone.
    assert_eq!(place.changes(&session).len(), 2);
    write("later.txt", "later\n");
    assert_eq!(revert(&place, &session, Revert::All).unwrap(), ["a.txt", "made/new.txt"]);
    assert!(!root.join("made").exists());
    assert_eq!(git(&root, &["status", "--porcelain"]), "?? later.txt");
    assert_eq!(place.changes(&session), [("later.txt".into(), "created")]);
}

#[test]
fn recorded_changes_of_a_directory_are_reverted() {
    let place = Place::start();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), lines(&[])).unwrap();
    fs::write(folder.path().join("gone.txt"), "was here\n").unwrap();
    let session = place.session(Some(WorkspaceSpec::Directory { path: Some(folder.path().to_owned()) }));
    place.edit(&session, "a.txt", Some(&lines(&[(3, "three")])));
    place.edit(&session, "a.txt", Some(&lines(&[(3, "three"), (17, "seventeen")])));
    place.edit(&session, "gone.txt", None);
    place.edit(&session, "new/file.txt", Some("new\n"));
    place.edit(&session, "new/file.txt", Some("newer\n"));
    let expected = [("a.txt", "edited"), ("gone.txt", "deleted"), ("new/file.txt", "created")];
    assert_eq!(place.changes(&session), expected.map(|(path, op)| (path.to_owned(), op)));
    let diff = place.diff(&session, "a.txt");
    assert!(diff.contains("-line 3\n+three") && diff.contains("-line 17\n+seventeen"), "{diff}");
    assert!(place.diff(&session, "new/file.txt").starts_with("--- /dev/null\n+++ b/new/file.txt\n"));
    fs::write(folder.path().join("gone.txt"), "back\n").unwrap();
    assert_eq!(revert(&place, &session, Revert::All), Err("file_changed".into()));
    assert_eq!(revert(&place, &session, paths(&["a.txt", "new/file.txt"])).unwrap().len(), 2);
    assert_eq!(fs::read_to_string(folder.path().join("a.txt")).unwrap(), lines(&[]));
    assert!(!folder.path().join("new").exists());
    fs::remove_file(folder.path().join("gone.txt")).unwrap();
    assert_eq!(revert(&place, &session, Revert::All).unwrap(), ["gone.txt"]);
    assert_eq!(fs::read_to_string(folder.path().join("gone.txt")).unwrap(), "was here\n");
    assert_eq!(place.changes(&session), []);
    assert_eq!(merge(&place, &session).unwrap_err().code, "not_mergeable");
}

#[test]
fn work_is_committed_and_merged() {
    let (place, repository) = (Place::start(), Repository::new());
    let (one, two) = (place.session(Some(repository.worktree())), place.session(Some(repository.worktree())));
    fs::write(place.root(&one).join("a.txt"), lines(&[(3, "three")])).unwrap();
    fs::write(place.root(&two).join("src/b.txt"), lines(&[(4, "four")])).unwrap();
    let first = merge(&place, &one).unwrap();
    assert_eq!((first.how.as_str(), first.into.as_str()), ("fast_forward", "refs/heads/main"));
    assert_eq!(first.saved.as_deref(), Some(first.commit.as_str()));
    assert_eq!(
        repository.git(&["log", "-1", "--format=%an %s"]),
        format!("moonlog Save the work of moonlog session {one}")
    );
    let second = merge(&place, &two).unwrap();
    assert_eq!((second.how.as_str(), &second.files), ("merge_commit", &vec!["src/b.txt".to_owned()]));
    assert_eq!(repository.git(&["log", "-1", "--format=%s"]), format!("Merge moonlog session {two}"));
    assert_eq!(fs::read_to_string(repository.path().join("a.txt")).unwrap(), lines(&[(3, "three")]));
    assert_eq!(fs::read_to_string(repository.path().join("src/b.txt")).unwrap(), lines(&[(4, "four")]));
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    for session in [one, two] {
        assert_eq!(place.changes(&session), [], "what is merged is pending no more");
        assert_eq!(git(&place.root(&session), &["status", "--porcelain"]), "");
        assert_eq!(merge(&place, &session).unwrap().how, "up_to_date");
        assert!(place.session_names(&session).contains(&"workspace.merged"));
    }
}

#[test]
fn a_merge_with_conflicts_changes_nothing() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    let root = place.root(&session);
    fs::write(root.join("a.txt"), lines(&[(3, "theirs")])).unwrap();
    fs::write(root.join("new.txt"), "new\n").unwrap();
    git(&root, &["add", "new.txt"]);
    fs::write(repository.path().join("a.txt"), lines(&[(3, "ours")])).unwrap();
    repository.commit("ours");
    place.changes(&session);
    let before = (repository.state(), git(&root, &["status", "--porcelain"]), place.session_names(&session));
    let error = merge(&place, &session).unwrap_err();
    assert_eq!(error.code, "merge_conflict");
    assert_eq!(error.details.unwrap().to_value()["files"], serde_json::json!(["a.txt"]));
    assert_eq!((repository.state(), git(&root, &["status", "--porcelain"]), place.session_names(&session)), before);
    // Solved in the worktree, it goes through.
    fs::write(root.join("a.txt"), lines(&[(3, "ours"), (4, "theirs")])).unwrap();
    git(&root, &["add", "."]);
    git(&root, &["commit", "--quiet", "-m", "work"]);
    git(&root, &["merge", "--quiet", "-s", "ours", "-m", "take main", "main"]);
    assert_eq!(merge(&place, &session).unwrap().how, "fast_forward");
}

#[test]
fn what_is_in_the_way_in_the_checkout_stays() {
    let (place, repository) = (Place::start(), Repository::new());
    let session = place.session(Some(repository.worktree()));
    fs::write(place.root(&session).join("a.txt"), lines(&[(3, "three")])).unwrap();
    fs::write(repository.path().join("a.txt"), "somebody is at it\n").unwrap();
    let before = repository.state();
    assert_eq!(merge(&place, &session).unwrap_err().code, "base_not_clean");
    assert_eq!(repository.state(), before);
    assert_eq!(place.changes(&session), [("a.txt".into(), "edited")]);
    // Work on other files is not in the way.
    repository.git(&["checkout", "--quiet", "a.txt"]);
    fs::write(repository.path().join("src/b.txt"), "somebody is at it\n").unwrap();
    assert_eq!(merge(&place, &session).unwrap().how, "fast_forward");
    assert_eq!(repository.git(&["status", "--porcelain"]), " M src/b.txt");
}

#[test]
fn a_commit_without_a_branch_is_merged_nowhere() {
    let (place, repository) = (Place::start(), Repository::new());
    repository.git(&["checkout", "--quiet", "--detach"]);
    let session = place.session(Some(repository.worktree()));
    fs::write(place.root(&session).join("a.txt"), "changed\n").unwrap();
    assert_eq!(merge(&place, &session).unwrap_err().code, "not_mergeable");
    assert_eq!(place.changes(&session), [("a.txt".into(), "edited")]);
}
