//! Workflows by name: the first folder that has a name wins, the built-in library comes last.

use super::{Problem, check, link, link_beside, source_file::read_source};
use moonlog_core::{id::Hash, json::Json};
use rust_embed::RustEmbed;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

/// How many files of a folder are looked at where nobody says.
const FILES_MAX: usize = 1_000;

/// Where a workflow comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From inside the binary.
    Builtin,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("built-in"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// A script with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its phases.
    pub phases: Vec<String>,
    /// The JSON Schema of its arguments.
    pub args_schema: Option<Json>,
    /// The script.
    pub source: Arc<str>,
    /// The hash of `source`.
    pub hash: Hash,
    /// Where it comes from.
    pub origin: Origin,
    /// Those of the same name that it hides.
    pub shadows: Vec<Origin>,
}

/// A file that is no workflow because something is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The file's stem.
    pub name: String,
    /// The file.
    pub origin: Origin,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// What a listing shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A workflow.
    Workflow(Arc<Workflow>),
    /// A broken file; it hides nothing.
    Broken(Broken),
}

impl Entry {
    /// The name it stands under.
    pub fn name(&self) -> &str {
        match self {
            Self::Workflow(workflow) => &workflow.name,
            Self::Broken(broken) => &broken.name,
        }
    }
}

#[derive(RustEmbed)]
#[folder = "library/"]
struct Builtin;

/// The workflows of some folders and of the binary. Cheap to clone; files that changed are read again.
#[derive(Clone)]
pub struct Library {
    folders: Arc<[PathBuf]>,
    /// How many files of each folder are looked at.
    files_max: usize,
    read: Arc<Mutex<HashMap<PathBuf, ReadFile>>>,
}

/// What tells a file from itself after a change: one that is written anew, or put in its place, has another time of change
/// or another number, also where its size and its own time are as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    number: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        Some(Self {
            number: about.ino(),
            bytes: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }
}

/// A file as it was when it was last read.
#[derive(Clone)]
struct ReadFile {
    stamp: Option<Stamp>,
    /// The modules that it requires, where they would stand beside it.
    modules: Vec<(PathBuf, Option<Stamp>)>,
    found: Result<Arc<Workflow>, Broken>,
}

impl Library {
    /// The library of `folders`, the first of which wins, and of the built-in workflows. A folder that is not there is
    /// empty.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders: folders.into(), files_max: FILES_MAX, read: Arc::default() }
    }

    /// The same, with at most so many files of each folder: each is evaluated, which takes its time.
    #[must_use]
    pub fn at_most(self, files_max: usize) -> Self {
        Self { files_max, ..self }
    }

    /// Everything, in the order of the names.
    pub fn list(&self) -> Vec<Entry> {
        let mut workflows: BTreeMap<String, Workflow> = BTreeMap::new();
        let mut broken = Vec::new();
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in &*self.folders {
            let mut scripts = scripts_in(folder);
            if scripts.len() > self.files_max {
                broken.push(Entry::Broken(too_many(folder, scripts.len(), self.files_max)));
                scripts.truncate(self.files_max);
            }
            files.extend(scripts);
        }
        self.forget_others(&files);
        let found = files.iter().map(|path| self.read(path)).chain(builtin().iter().cloned().map(Ok));
        for found in found {
            match found {
                Ok(workflow) => match workflows.get_mut(&workflow.name) {
                    Some(winner) => winner.shadows.push(workflow.origin.clone()),
                    None => drop(workflows.insert(workflow.name.clone(), Workflow::clone(&workflow))),
                },
                Err(found) => broken.push(Entry::Broken(found)),
            }
        }
        let mut entries: Vec<Entry> =
            workflows.into_values().map(|workflow| Entry::Workflow(workflow.into())).collect();
        entries.append(&mut broken);
        entries.sort_by(|a, b| a.name().cmp(b.name()));
        entries
    }

    /// The workflow of a name.
    pub fn get(&self, name: &str) -> Option<Arc<Workflow>> {
        self.list().into_iter().find_map(|entry| match entry {
            Entry::Workflow(workflow) if workflow.name == name => Some(workflow),
            _ => None,
        })
    }

    /// The broken file of a name.
    pub fn broken(&self, name: &str) -> Option<Broken> {
        self.list().into_iter().find_map(|entry| match entry {
            Entry::Broken(broken) if broken.name == name => Some(broken),
            _ => None,
        })
    }

    /// The names of all workflows.
    pub fn names(&self) -> Vec<String> {
        let workflows = self.list().into_iter().filter(|entry| matches!(entry, Entry::Workflow(_)));
        workflows.map(|entry| entry.name().to_owned()).collect()
    }

    /// Lets go of files that are not there any more.
    fn forget_others(&self, files: &[PathBuf]) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.len() > files.len() {
            let there: HashSet<&PathBuf> = files.iter().collect();
            read.retain(|path, _| there.contains(path));
        }
    }

    /// A file, from memory where it has not changed.
    fn read(&self, path: &Path) -> Result<Arc<Workflow>, Broken> {
        let stamp = Stamp::of(path);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(path)
            && known.stamp == stamp
            && stamp.is_some()
            && known.modules.iter().all(|(path, stamp)| Stamp::of(path) == *stamp)
        {
            return known.found.clone();
        }
        let mut modules = Vec::new();
        let found = read_file(path, &mut modules);
        read.insert(path.to_owned(), ReadFile { stamp, modules, found: found.clone() });
        found
    }
}

/// What stands for the files of a folder that are not looked at.
fn too_many(folder: &Path, count: usize, max: usize) -> Broken {
    let message = format!(
        "the folder has {count} scripts, and {max} are looked at, in the order of their names: move some elsewhere, or raise \
         limits.workflows"
    );
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Broken { name, origin: Origin::File(folder.to_owned()), problems: vec![Problem { line: None, message }] }
}

/// The scripts of a folder in the order of their names.
fn scripts_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_script = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("lua" | "luau")) && !path.is_dir() && !path.to_string_lossy().ends_with(".d.luau")
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_script).collect();
    paths.sort();
    paths
}

/// Reads a workflow, and notes what it requires: as it was just before that was read.
fn read_file(path: &Path, modules: &mut Vec<(PathBuf, Option<Stamp>)>) -> Result<Arc<Workflow>, Broken> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let origin = Origin::File(path.to_owned());
    let broken = |line, message: String| Broken {
        name: stem.clone(),
        origin: origin.clone(),
        problems: vec![Problem { line, message }],
    };
    let folder = path.parent().unwrap_or(path);
    let source = read_source(path, folder).map_err(|error| broken(error.line, error.message))?;
    // What changes between the look and the read is read again next time.
    let looked_for = link_beside(&source, folder).looked_for;
    modules.extend(looked_for.into_iter().map(|path| (path.clone(), Stamp::of(&path))));
    workflow(&stem, &link_beside(&source, folder).source, origin.clone())
}

/// A source with a name, evaluated.
fn workflow(stem: &str, source: &str, origin: Origin) -> Result<Arc<Workflow>, Broken> {
    let broken = |problems| Broken { name: stem.to_owned(), origin: origin.clone(), problems };
    let info = check(stem, source).map_err(broken)?;
    if let Some(raised) = info.raised {
        return Err(broken(vec![raised]));
    }
    Ok(Arc::new(Workflow {
        name: info.name.unwrap_or_else(|| stem.to_owned()),
        description: info.description,
        phases: info.phases,
        args_schema: info.args_schema,
        source: source.into(),
        hash: Hash::of(source.as_bytes()),
        origin: origin.clone(),
        shadows: Vec::new(),
    }))
}

/// The workflows inside the binary, evaluated once.
fn builtin() -> &'static [Arc<Workflow>] {
    static BUILTIN: OnceLock<Vec<Arc<Workflow>>> = OnceLock::new();
    BUILTIN.get_or_init(|| {
        let sources = Builtin::iter().filter_map(|file| {
            // What stands in a folder of its own is a module.
            let stem = file.strip_suffix(".luau").filter(|stem| !stem.contains('/'))?.to_owned();
            let source = String::from_utf8(Builtin::get(&file)?.data.into_owned()).ok()?;
            Some((stem, link(&source).into_owned()))
        });
        let built = sources.map(|(stem, source)| workflow(&stem, &source, Origin::Builtin));
        built
            .filter_map(|built| {
                built.inspect_err(|broken| tracing::error!(?broken, "a built-in workflow is broken")).ok()
            })
            .collect()
    })
}
