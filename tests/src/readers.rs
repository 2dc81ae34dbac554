//! Readers of server-sent events that were not written here: `curl`, and packages of npm and PyPI, which are installed
//! into the target folder once. Where one cannot be had, that is said loudly, and the others are what remains.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What npm is asked for.
const NPM: [&str; 4] =
    ["eventsource@4.1.1", "eventsource-parser@3.1.1", "@copilotkit/aimock@1.43.0", "openai-mock-api@0.4.0"];
/// What pip is asked for.
const PYPI: [&str; 2] = ["httpx-sse==0.4.3", "httpx==0.28.1"];

/// A kind of reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `curl -N`, started again with `Last-Event-ID`.
    Curl,
    /// npm's `eventsource`.
    EventSource,
    /// npm's `eventsource-parser`.
    EventSourceParser,
    /// PyPI's `httpx-sse`.
    HttpxSse,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Curl, Self::EventSource, Self::EventSourceParser, Self::HttpxSse];
}

/// A reader that runs, and what it has told so far. It is killed when this is dropped.
pub struct Reader {
    /// Which one.
    pub kind: Kind,
    running: Running,
    told: Told,
}

/// The process of now; `None` once the reader is dropped.
type Running = Arc<Mutex<Option<Child>>>;
/// `{id, type, data}` for each event, and `{closed}` at the end.
type Told = Arc<Mutex<Vec<Value>>>;

impl Reader {
    /// Starts a reader of the feed at `url`; `None`, said loudly, where it cannot be had here. `types`: the types of
    /// event that there may be.
    ///
    /// # Panics
    /// Where it is there and does not start.
    pub fn start(kind: Kind, url: &str, types: &[&str]) -> Option<Self> {
        let mut command = match kind {
            Kind::Curl => return curl(url),
            Kind::EventSource => {
                let mut command = Command::new("node");
                command.arg(npm()?.join("eventsource.mjs")).arg(url).arg(types.join(","));
                command
            }
            Kind::EventSourceParser => {
                let mut command = Command::new("node");
                command.arg(npm()?.join("eventsource_parser.mjs")).arg(url);
                command
            }
            Kind::HttpxSse => {
                let mut command = Command::new(pypi()?);
                command.arg(source("httpx_sse_reader.py")).arg(url);
                command
            }
        };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the reader starts");
        let stdout = child.stdout.take().expect("its output");
        let reader = Self { kind, running: Arc::new(Mutex::new(Some(child))), told: Told::default() };
        let told = reader.told.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The last line of one that is killed may be half of one.
                let Ok(event) = serde_json::from_str(&line) else { return };
                told.lock().expect("what was told").push(event);
            }
        });
        Some(reader)
    }

    /// What it has told.
    ///
    /// # Panics
    /// Where the thread that reads it has.
    pub fn told(&self) -> Vec<Value> {
        self.told.lock().expect("what was told").clone()
    }

    /// How much it has told.
    ///
    /// # Panics
    /// Where the thread that reads it has.
    pub fn count(&self) -> usize {
        self.told.lock().expect("what was told").len()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.lock().expect("the process").take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `curl -N`, started again with `Last-Event-ID` until the server says that there is no more. What it prints is taken
/// apart by the three rules that are needed here: fields stand before a colon, an empty line ends an event, and only an
/// event that was ended counts.
fn curl(url: &str) -> Option<Reader> {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        skipped("curl");
        return None;
    }
    let start = {
        let url = url.to_owned();
        move |last: &str| {
            let mut command = Command::new("curl");
            command.args(["-sN", "--noproxy", "*", "-w", "%{stderr}%{http_code}", "-H", "accept: text/event-stream"]);
            command.arg("-H").arg(format!("last-event-id: {last}")).arg(&url);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("curl starts")
        }
    };
    let reader = Reader { kind: Kind::Curl, running: Arc::new(Mutex::new(Some(start("")))), told: Told::default() };
    let (running, told) = (reader.running.clone(), reader.told.clone());
    std::thread::spawn(move || {
        let mut last = String::new();
        loop {
            let Some((stdout, mut stderr)) = running
                .lock()
                .expect("the process")
                .as_mut()
                .map(|child| (child.stdout.take().expect("its output"), child.stderr.take().expect("its errors")))
            else {
                return;
            };
            let mut event = serde_json::Map::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match line.split_once(": ") {
                    Some(("id", id)) => {
                        event.insert("id".into(), id.into());
                    }
                    Some(("event", name)) => {
                        event.insert("type".into(), name.into());
                    }
                    Some(("data", data)) => {
                        event.insert("data".into(), data.into());
                    }
                    _ if line.is_empty() => {
                        let event = std::mem::take(&mut event);
                        if let Some(id) = event.get("id") {
                            id.as_str().expect("a text").clone_into(&mut last);
                        }
                        if event.contains_key("data") {
                            told.lock().expect("what was told").push(event.into());
                        }
                    }
                    _ => {}
                }
            }
            let mut status = String::new();
            let _ = stderr.read_to_string(&mut status);
            if status == "204" {
                told.lock().expect("what was told").push(json!({ "closed": 204 }));
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
            let mut running = running.lock().expect("the process");
            let Some(mut old) = running.take() else { return };
            let _ = old.wait();
            *running = Some(start(&last));
        }
    });
    Some(reader)
}

/// The folder with npm's packages, and the scripts that import them.
pub(crate) fn npm() -> Option<PathBuf> {
    let folder = installed("npm", &NPM, |folder| {
        std::fs::write(folder.join("package.json"), r#"{ "private": true, "type": "module" }"#).ok()?;
        let mut install = Command::new("npm");
        install.args(["install", "--no-audit", "--no-fund", "--silent"]).args(NPM).current_dir(folder);
        install.stdout(Stdio::null()).status().ok()?.success().then_some(())
    })?;
    // Modules look for packages beside themselves.
    for script in ["eventsource.mjs", "eventsource_parser.mjs"] {
        std::fs::copy(source(script), folder.join(script)).expect("a script is copied");
    }
    Some(folder)
}

/// The Python that has PyPI's packages.
fn pypi() -> Option<PathBuf> {
    installed_python("pypi", &PYPI)
}

/// A Python of its own with these packages, in the folder `name`.
pub(crate) fn installed_python(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let folder = installed(name, packages, |folder| {
        let made = Command::new("python3").args(["-m", "venv", "."]).current_dir(folder).status().ok()?;
        let mut install = Command::new(folder.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        (made.success() && install.status().ok()?.success()).then_some(())
    })?;
    Some(folder.join("bin/python"))
}

fn source(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("readers").join(script)
}

/// The folder under `target/readers` that `install` has filled, now or earlier.
fn installed(name: &str, packages: &[&str], install: impl FnOnce(&Path) -> Option<()>) -> Option<PathBuf> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().expect("no installation panicked");
    let test = std::env::current_exe().expect("a test has a path");
    let target = test.ancestors().nth(3).expect("the target folder");
    let folder = target.join("readers").join(name);
    // Written last, and changed with what is asked for.
    let mark = folder.join("installed");
    let wanted = format!("{packages:?}");
    if std::fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
        return Some(folder);
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder in target");
    match install(&folder) {
        Some(()) => {
            std::fs::write(&mark, wanted).expect("the mark is written");
            Some(folder)
        }
        None => {
            skipped(name);
            None
        }
    }
}

/// Not through the test's own output, which is shown of failed tests alone.
fn skipped(what: &str) {
    let line = format!("\n!!! SKIPPED: {what} is not there, or cannot be installed from here: not read with it !!!\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
