//! A real git repository, and sessions that work in it.

use crate::place::Place;
use moonlog_core::{
    decide::CreateSession,
    event::{Event, EventBody, FileChanged, NewEvent, StreamId},
    id::{Hash, SessionId},
    log::{Append, Expected},
    projection::SessionState,
};
use moonlog_runner::workspace::WorkspaceSpec;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

pub struct Repository(tempfile::TempDir);

/// What git writes, where it succeeds.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgSign=false"]);
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Twenty numbered lines, some of them replaced.
pub fn lines(replaced: &[(usize, &str)]) -> String {
    let line =
        |n: usize| replaced.iter().find(|(at, _)| *at == n).map_or(format!("line {n}"), |(_, text)| (*text).into());
    (1..=20).map(|n| line(n) + "\n").collect()
}

impl Repository {
    /// One with `a.txt` and `src/b.txt` in one commit on `main`.
    pub fn new() -> Self {
        let this = Self::empty();
        fs::create_dir(this.path().join("src")).unwrap();
        fs::write(this.path().join("a.txt"), lines(&[])).unwrap();
        fs::write(this.path().join("src/b.txt"), lines(&[])).unwrap();
        this.commit("first");
        this
    }

    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "--initial-branch=main"]);
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(self.path(), arguments)
    }

    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn worktree(&self) -> WorkspaceSpec {
        WorkspaceSpec::Worktree { repository: self.path().to_owned(), base: None }
    }

    /// All that there is: branches with their commits, worktrees, and the state of the checkout.
    pub fn state(&self) -> String {
        ["for-each-ref", "worktree list", "status --porcelain", "stash list"]
            .map(|command| self.git(&command.split(' ').collect::<Vec<_>>()))
            .join("\n--\n")
    }
}

impl Place {
    pub fn session(&self, spec: Option<WorkspaceSpec>) -> SessionId {
        self.block_on(self.runner.create_session(CreateSession::default(), spec)).unwrap().id
    }

    pub fn state(&self, session: &SessionId) -> Arc<SessionState> {
        self.runner.session(session).unwrap().unwrap()
    }

    /// Where a session works.
    pub fn root(&self, session: &SessionId) -> PathBuf {
        PathBuf::from(self.state(session).workspace.as_ref().unwrap().path())
    }

    /// The paths of what a session has changed, with what became of each.
    pub fn changes(&self, session: &SessionId) -> Vec<(String, &'static str)> {
        let changes = self.block_on(self.runner.workspaces().changes(session)).unwrap();
        changes.items.into_iter().map(|change| (change.path, change.op.as_str())).collect()
    }

    /// The diff of one file that a session has changed.
    pub fn diff(&self, session: &SessionId, path: &str) -> String {
        let changes = self.block_on(self.runner.workspaces().changes(session)).unwrap();
        changes.items.into_iter().find(|change| change.path == path).unwrap().diff.unwrap()
    }

    pub fn session_events(&self, session: &SessionId) -> Vec<Arc<Event>> {
        self.runner.log().read_stream(&StreamId::Session(*session), 0, 1_000_000).unwrap()
    }

    pub fn session_names(&self, session: &SessionId) -> Vec<&'static str> {
        self.session_events(session).iter().map(|event| event.body.name()).collect()
    }

    /// Writes a file as a tool does: with an event that has the diff.
    pub fn edit(&self, session: &SessionId, path: &str, content: Option<&str>) {
        let at = self.root(session).join(path);
        let before = fs::read_to_string(&at).ok();
        match content {
            Some(content) => {
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(&at, content).unwrap();
            }
            None => fs::remove_file(&at).unwrap(),
        }
        let side = |text: &Option<String>| text.clone().unwrap_or_default();
        let after = content.map(str::to_owned);
        let (old, new) = (side(&before), side(&after));
        let diff = similar::TextDiff::from_lines(old.as_str(), new.as_str());
        let op = match (&before, &after) {
            (None, _) => "created",
            (_, None) => "deleted",
            _ => "edited",
        };
        let changed = FileChanged {
            path: path.into(),
            op: op.into(),
            diff: diff.unified_diff().context_radius(3).header("a", "b").to_string(),
            before_hash: before.map(|text| Hash::of(text.as_bytes())),
            after_hash: after.map(|text| Hash::of(text.as_bytes())),
        };
        self.append_to(StreamId::Session(*session), EventBody::FileChanged(changed));
    }

    /// Appends an event, and returns when it is folded.
    pub fn append_to(&self, stream: StreamId, body: EventBody) {
        let event = NewEvent::new(body);
        let position = self.runner.log().append(Append::new(stream, Expected::Any, vec![event])).unwrap().last_position;
        self.until("it is folded", || (self.runner.views().applied() >= position).then_some(()));
    }
}
