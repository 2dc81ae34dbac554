//! A folder with a configuration whose model plays what a test wants, and the binary that runs workflows in it.

use moonlog_tests::moonlog;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// See the module.
pub struct Stage {
    folder: TempDir,
}

/// What a command said.
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Stage {
    /// A folder without a model.
    pub fn bare() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder whose model plays these turns.
    pub fn new(turns: &Value) -> Self {
        Self::with(turns, "")
    }

    /// The same, with more in its configuration.
    pub fn with(turns: &Value, more: &str) -> Self {
        let stage = Self::bare();
        stage.write("turns.json", &turns.to_string());
        stage.write("moonlog.toml", &format!("[models.main]\nprovider = \"scripted\"\nfile = \"turns.json\"\n{more}"));
        stage
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A repository in the folder with these files in its first commit.
    pub fn repository(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).unwrap();
        self.git(name, &["init", "--quiet", "-b", "main"]);
        for (file, content) in files {
            self.write(&format!("{name}/{file}"), content);
        }
        self.git(name, &["add", "--all"]);
        self.git(name, &["commit", "--quiet", "-m", "First"]);
        path
    }

    pub fn git(&self, folder: &str, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(self.path().join(folder)).args(args).env("HOME", self.path());
        for (name, value) in [("NAME", "Ann Author"), ("EMAIL", "ann@example.com")] {
            command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
        }
        let said = Said::of(command.output().unwrap());
        assert!(said.ok, "git {args:?}: {}", said.err);
        said.out.trim_end().to_owned()
    }

    pub fn run(&self, args: &[&str]) -> Said {
        let mut command = Command::new(moonlog());
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.env("HOME", self.path()).env("TMPDIR", self.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MOONLOG_")) {
            command.env_remove(name);
        }
        Said::of(command.output().unwrap())
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let said = self.run(args);
        assert!(said.ok, "{args:?}\n{}\n{}", said.out, said.err);
        said.out
    }

    /// Runs a workflow to its end, gives its result, and looks whether its log replays and is sound.
    pub fn workflow(&self, name: &str, args: &Value) -> Value {
        let out = self.ok(&["run", name, "--args", &args.to_string(), "--json", "--quiet"]);
        let job = self.job_of(name);
        let replayed = self.ok(&["replay", &job]);
        assert!(replayed.contains("is deterministic"), "{replayed}");
        assert!(self.ok(&["verify"]).starts_with("the log is sound"));
        serde_json::from_str(&out).unwrap()
    }

    /// The same; its log becomes the recorded one where that is asked for.
    pub fn recorded(&self, name: &str, args: &Value) -> Value {
        let result = self.workflow(name, args);
        if recording() {
            let bundle = bundle(name);
            fs::create_dir_all(bundle.parent().unwrap()).unwrap();
            self.ok(&["export", &self.job_of(name), "-o", bundle.to_str().unwrap()]);
        }
        result
    }

    /// The newest job of a workflow.
    pub fn job_of(&self, workflow: &str) -> String {
        let jobs: Value = serde_json::from_str(&self.ok(&["jobs", "--json"])).unwrap();
        let jobs = jobs["items"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["workflow"] == workflow);
        job.and_then(|job| job["id"].as_str()).unwrap().to_owned()
    }

    /// The events of a job of one type.
    pub fn events(&self, job: &str, kind: &str) -> Vec<Value> {
        let out = self.ok(&["events", job, "--types", kind, "--json"]);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Whether logs are recorded now, and not compared.
pub fn recording() -> bool {
    std::env::var_os("WRITE_RECORDED").is_some_and(|value| value == "1")
}

/// Where the recorded log of a workflow is.
pub fn bundle(workflow: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded").join(format!("{workflow}.bundle"))
}

/// Whether a report has all of these in it.
#[track_caller]
pub fn has(report: &Value, parts: &[&str]) {
    let markdown = report["markdown"].as_str().unwrap_or_else(|| panic!("no report in {report}"));
    for part in parts {
        assert!(markdown.contains(part), "`{part}` is not in\n{markdown}");
    }
}
