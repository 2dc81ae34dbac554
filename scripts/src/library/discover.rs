//! Workflows by name: the first folder that has a name wins, the built-in library comes last.

use super::Problem;
use moonlog_core::{id::Hash, json::Json};
use std::{path::PathBuf, sync::Arc};

/// Where a workflow comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From inside the binary.
    Builtin,
    /// A file.
    File(PathBuf),
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

/// The workflows of some folders and of the binary. Cheap to clone; files that changed are read again.
#[derive(Clone)]
pub struct Library {
    folders: Arc<[PathBuf]>,
}

impl Library {
    /// The library of `folders`, the first of which wins, and of the built-in workflows. A folder that is not there is empty.
    pub fn new(folders: Vec<PathBuf>) -> Self {
        Self { folders: folders.into() }
    }

    /// Everything, in the order of the names.
    pub fn list(&self) -> Vec<Entry> {
        let _ = &self.folders;
        todo!()
    }

    /// The workflow of a name.
    pub fn get(&self, _name: &str) -> Option<Arc<Workflow>> {
        todo!()
    }
}
